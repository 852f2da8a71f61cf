/**
 * Pieces of about the size that byte-pair tokenizers make of English: a word of up to eight letters with the space before
 * it, up to three digits, up to four other signs, two letters of a script without capitals. Joined, they are the text.
 */
const TOKEN = / ?[\p{Lu}\p{Ll}\p{Lt}\p{Lm}]{1,8}| ?\p{N}{1,3}|\p{Lo}{1,2}| ?[^\s\p{L}\p{N}]{1,4}|\s{1,16}/gu;

/** The tokens of a text, in order; joining them gives the text back. */
export function splitTokens(text: string): string[] {
  return text.match(TOKEN) ?? [];
}

/** How many tokens {@link splitTokens} would make. */
export function countTokens(text: string): number {
  let count = 0;
  TOKEN.lastIndex = 0;
  while (TOKEN.test(text)) count++;
  return count;
}

/** The first `tokensMax` tokens of a text, how many were used, and whether anything was cut off. */
export function cutTokens(text: string, tokensMax: number): { text: string; tokens: number; cut: boolean } {
  const tokens = splitTokens(text);
  if (tokens.length <= tokensMax) return { text, tokens: tokens.length, cut: false };
  return { text: tokens.slice(0, tokensMax).join(''), tokens: tokensMax, cut: true };
}
