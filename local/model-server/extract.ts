/** Words so common that sharing them says nothing about what a sentence is about. */
const COMMON = new Set(
  (
    'a an and are as at be been but by can did do does for from had has have he her his how i if in is it its many much ' +
    'of on or she so than that the their them then there they this to was we were what when where which who will with ' +
    'you your'
  ).split(' '),
);

/** Longest text looked at, in characters from its start: an answer to a book need not read all of it. */
const TEXT_CHARS_MAX = 200_000;

/** The sentences of a text, trimmed, none empty. A full stop inside a number does not end one. */
export function splitSentences(text: string): string[] {
  return text
    .slice(0, TEXT_CHARS_MAX)
    .split('\n')
    .flatMap((row) => row.split(/(?<=[.!?]["')\]]?)\s+|(?<=[。！？])/u))
    .map((sentence) => sentence.trim())
    .filter((sentence) => sentence !== '');
}

/**
 * The sentence of `text` that shares most with what is asked: its question (the last sentence that ends in a question
 * mark, or else the last one) and `hint`, say a system message. Rare words weigh more, long sentences less. Always the
 * same for the same input; '' only if the text is blank.
 */
export function extractAnswer(text: string, hint = ''): string {
  const sentences = splitSentences(text);
  if (sentences.length < 2) return sentences[0] ?? '';
  const asked = sentences.findLastIndex((sentence) => /[?？]["')\]]?$/u.test(sentence));
  const questionAt = asked === -1 ? sentences.length - 1 : asked;
  const wanted = new Set([...termsOf(sentences[questionAt] ?? ''), ...termsOf(hint)]);
  const terms = sentences.map((sentence) => new Set(termsOf(sentence)));
  const seenIn = new Map<string, number>();
  for (const set of terms) for (const term of set) seenIn.set(term, (seenIn.get(term) ?? 0) + 1);

  let best = questionAt === 0 ? 1 : 0;
  let bestScore = 0;
  for (const [index, set] of terms.entries()) {
    if (index === questionAt) continue;
    let shared = 0;
    for (const term of set) {
      if (wanted.has(term)) shared += Math.log(1 + sentences.length / (seenIn.get(term) ?? 1));
    }
    const score = shared / (1 + Math.log(1 + set.size));
    if (score > bestScore) {
      best = index;
      bestScore = score;
    }
  }
  return sentences[best] ?? '';
}

function termsOf(text: string): string[] {
  const words = text.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? [];
  return words.filter((word) => !COMMON.has(word));
}
