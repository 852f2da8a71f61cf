import type { Json, JsonObject } from '../journal/json.ts';

/** Units that are single letters: counted by their number, since their names are slow to look up for each letter. */
const letterUnits = [
  /** Latin letters with a mark, those of Western Europe: é, ñ, ü. */
  'latinMarked',
  /** All other Latin letters beyond ASCII: ł, ş, č. */
  'otherMarked',
  /** Those of Vietnamese, which carry two marks. */
  'vietnamese',
  'greek',
  'cyrillic',
  'han',
  'kana',
  'hangul',
  /** Letters of Arabic and its neighbours. */
  'arabic',
  'hebrew',
  /** Letters of the scripts of India. */
  'indic',
  /** Letters of Thai and Lao. */
  'thai',
  /** Letters of all other scripts of the basic plane: Armenian, Georgian, Khmer, Ethiopic, … */
  'otherLetters',
] as const;

/**
 * What tokenizers cut text by, counted in one pass: nearly every tokenizer of today first splits at words, digits,
 * marks and line ends, and then spends some tokens on each piece, more on scripts that it saw less of. So pieces tell
 * far more than bytes do.
 */
export const tokenUnits = [
  /** Runs of Latin letters: words. */
  'words',
  /** The same in a text that is not English: there a word is more tokens, the longer the more. */
  'foreignWords',
  /** Letters of a word beyond the eighth, in English: long words are cut. */
  'longLetters',
  /** Letters of a word beyond the fifth, in another language. */
  'foreignLong',
  /** Digits, by threes. */
  'digits',
  /** Runs of marks and symbols, a long one by fours. */
  'marks',
  /** Line ends, and runs of several spaces. */
  'breaks',
  ...letterUnits,
  /** Code points beyond the basic plane: emoji, rare Han. */
  'astral',
  /** Messages, each with a frame around it that is not in the text; the answer's own frame is one more. */
  'frames',
  /** Pictures and the like: their tokens come from their size, which is not looked at. */
  'images',
] as const;
type TokenUnit = (typeof tokenUnits)[number];
export type TokenUnits = Record<TokenUnit, number>;

const nothing = Object.fromEntries(tokenUnits.map((unit) => [unit, 0])) as TokenUnits;
export const noUnits = (): TokenUnits => ({ ...nothing });

/** Letters of a word that are free of further charge. */
const longFrom = { english: 8, foreign: 5 } as const;

/** One marked letter in so many words makes a text foreign: a café alone does not. */
const foreignFrom = 20;
/**
 * So does a text of at least so many words without one in eight of the commonest English ones, unless it is full of
 * marks, as code is.
 */
const wordsToTell = 8;
const englishFrom = 8;

/** What a run is made of; one number each, since the loop below sees every character of every line. */
const none = 0;
const letter = 1;
const digit = 2;
const mark = 3;
const space = 4;
const lineEnd = 5;

const asciiKinds = Uint8Array.from({ length: 0x80 }, (_, code) => {
  if (code === 0x0a || code === 0x0d) return lineEnd;
  if (code === 0x20 || code === 0x09) return space;
  const text = String.fromCharCode(code);
  return /[a-zA-Z]/.test(text) ? letter : /[0-9]/.test(text) ? digit : mark;
});

/** The number of a word of up to three letters, whatever their case: five bits for each letter. */
const shortWord = (number: number, code: number) => number * 32 + (code & 31);
const commonWords = new Uint8Array(32 ** 3);
for (const word of 'the of and to in is it for a or on as be are you by an if was at not has we he she his her how can do all who any no'.split(
  ' ',
))
  commonWords[[...word].reduce((number, one) => shortWord(number, one.charCodeAt(0)), 0)] = 1;

const numberOf = Object.fromEntries(letterUnits.map((unit, i) => [unit, i])) as Record<
  (typeof letterUnits)[number],
  number
>;
const { latinMarked, otherMarked, vietnamese, greek, cyrillic, han, kana, hangul, arabic, hebrew, indic, thai } =
  numberOf;
const otherLetters = numberOf.otherLetters;
const lettersFound = new Uint32Array(letterUnits.length);

/** Whose letter a character from U+0370 on is. */
function scriptOf(code: number): number {
  if (code < 0x400 || (code >= 0x1f00 && code < 0x2000)) return greek;
  if (code < 0x530) return cyrillic;
  if (code < 0x590) return otherLetters;
  if (code < 0x600) return hebrew;
  if (code < 0x900) return arabic;
  if (code < 0xe00) return indic;
  if (code < 0xf00) return thai;
  if (code >= 0x3040 && code < 0x3100) return kana;
  if ((code >= 0xac00 && code < 0xd7b0) || (code >= 0x1100 && code < 0x1200)) return hangul;
  return (code >= 0x2e80 && code < 0xa000) || code >= 0xf900 ? han : otherLetters;
}

/** Marks beyond those of Latin: of any script, of East Asia, and in full width. */
function isWideMark(code: number): boolean {
  if (code < 0x2000) return false;
  return (
    code < 0x2c00 ||
    (code >= 0x3000 && code < 0x3040) ||
    (code >= 0xff00 && code < 0xff10) ||
    (code >= 0xff1a && code <= 0xff20)
  );
}

function markedLetter(code: number): number {
  if (code < 0x100) return latinMarked;
  // Ơ, ơ, Ư, ư, and the block with all others of two marks.
  if (code >= 0x1e00 || code === 0x1a0 || code === 0x1a1 || code === 0x1af || code === 0x1b0) return vietnamese;
  return otherMarked;
}

/** Adds the units of `text` to `into`. */
export function countUnits(text: string, into: TokenUnits): void {
  let [words, longEnglish, longForeign, common, marked] = [0, 0, 0, 0, 0];
  const marksBefore = into.marks;
  lettersFound.fill(0);
  let kind: number = none;
  let length = 0;
  let word = 0;
  const endRun = () => {
    if (kind === letter) {
      words += 1;
      if (length <= 3) common += commonWords[word] ?? 0;
      else if (length > longFrom.foreign) {
        longForeign += length - longFrom.foreign;
        if (length > longFrom.english) longEnglish += length - longFrom.english;
      }
    } else if (kind === digit) into.digits += Math.ceil(length / 3);
    else if (kind === mark) into.marks += Math.ceil(length / 4);
    // One space belongs to the word after it.
    else if (kind === lineEnd || length > 1) into.breaks += 1;
  };
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    let next: number = none;
    if (code < 0x80) next = asciiKinds[code]!;
    else if (code < 0x370 || (code >= 0x1e00 && code < 0x1f00)) {
      // Before U+00C0, and between U+02B0 and the accents, lie signs and not letters.
      next = code < 0xc0 || (code >= 0x2b0 && code < 0x300) ? mark : letter;
      if (next === letter) {
        marked += 1;
        lettersFound[markedLetter(code)]! += 1;
      }
    } else if (isWideMark(code)) next = mark;
    else if (code >= 0xd800 && code < 0xdc00) {
      into.astral += 1;
      i += 1;
    } else lettersFound[scriptOf(code)]! += 1;
    if (next === kind) {
      length += 1;
      if (length <= 3) word = shortWord(word, code);
      continue;
    }
    if (kind !== none) endRun();
    kind = next;
    length = 1;
    word = code & 31;
  }
  if (kind !== none) endRun();
  for (let i = 0; i < letterUnits.length; i++) if (lettersFound[i]! > 0) into[letterUnits[i]!] += lettersFound[i]!;
  const isMarked = marked * foreignFrom >= words && marked > 0;
  const isStrange = words >= wordsToTell && common * englishFrom < words && (into.marks - marksBefore) * 2 < words;
  if (isMarked || isStrange) {
    into.foreignWords += words;
    into.foreignLong += longForeign;
  } else {
    into.words += words;
    into.longLetters += longEnglish;
  }
}

/** What of a request's body its model reads. The rest (temperature, user, metadata) costs no token. */
const readFields = ['messages', 'input', 'instructions', 'tools', 'response_format', 'text'];

/** The units of a chat or responses request. Its depth was checked where it came in. */
export function countRequest(body: JsonObject): TokenUnits {
  const units = noUnits();
  for (const field of readFields) {
    const value = body[field];
    if (value === undefined) continue;
    if (field === 'messages' || field === 'input') units.frames += 1 + (Array.isArray(value) ? value.length : 1);
    countValue(value, units);
  }
  return units;
}

function countValue(value: Json, units: TokenUnits): void {
  if (typeof value === 'string') {
    // Inline data is a picture, a sound or a document: never read as text.
    if (value.startsWith('data:')) units.images += 1;
    else countUnits(value, units);
  } else if (Array.isArray(value)) for (const item of value) countValue(item, units);
  else if (typeof value === 'object' && value !== null)
    for (const [key, item] of Object.entries(value)) if (key !== 'role' && key !== 'type') countValue(item, units);
}
