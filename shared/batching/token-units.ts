import type { Json, JsonObject } from '../journal/json.ts';

/**
 * What tokenizers cut text by, counted in one pass: nearly every tokenizer of today first splits at words, digits,
 * marks and line ends, and then spends some tokens on each piece, more on scripts that it saw less of. So pieces tell
 * far more than bytes do.
 */
export const tokenUnits = [
  /** Runs of Latin letters: words. */
  'words',
  /** The same in a text with marked letters: in other languages than English a word is more tokens. */
  'foreignWords',
  /** Letters of a run beyond the eighth: long words are cut. */
  'longLetters',
  /** Latin letters with a mark, or beyond ASCII. */
  'markedLetters',
  /** Digits, by threes. */
  'digits',
  /** Runs of marks and symbols, a long one by fours. */
  'marks',
  /** Line ends, and runs of several spaces. */
  'breaks',
  'greek',
  /** Letters of Cyrillic and Armenian. */
  'cyrillic',
  /** Han, Kana, Hangul, and full-width forms. */
  'eastAsian',
  /** Letters of Arabic, Hebrew and their neighbours. */
  'arabic',
  /** Letters of all other scripts of the basic plane: Indic, Thai, Georgian, … */
  'otherLetters',
  /** Code points beyond the basic plane: emoji, rare Han. */
  'astral',
  /** Messages, each with a frame around it that is not in the text; the answer's own frame is one more. */
  'frames',
  /** Pictures and the like: their tokens come from their size, which is not looked at. */
  'images',
] as const;
export type TokenUnits = Record<(typeof tokenUnits)[number], number>;

export function noUnits(): TokenUnits {
  return {
    words: 0,
    foreignWords: 0,
    longLetters: 0,
    markedLetters: 0,
    digits: 0,
    marks: 0,
    breaks: 0,
    greek: 0,
    cyrillic: 0,
    eastAsian: 0,
    arabic: 0,
    otherLetters: 0,
    astral: 0,
    frames: 0,
    images: 0,
  };
}

/** Letters of a run that are free of further charge. */
const longFrom = 8;

/** One marked letter in so many words makes a text foreign: a café alone does not. */
const foreignFrom = 20;

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

/** Adds the units of `text` to `into`. */
export function countUnits(text: string, into: TokenUnits): void {
  const [wordsBefore, markedBefore] = [into.words, into.markedLetters];
  let kind: number = none;
  let length = 0;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    let next: number;
    if (code < 0x80) next = asciiKinds[code]!;
    else if (code < 0x370 || (code >= 0x1e00 && code < 0x1f00)) {
      // Before U+00C0, and between U+02B0 and the accents, lie signs and not letters.
      next = code < 0xc0 || (code >= 0x2b0 && code < 0x300) ? mark : letter;
      if (next === letter) into.markedLetters += 1;
    } else if (code >= 0x2000 && code < 0x2c00) next = mark;
    else {
      next = none;
      if (code >= 0xd800 && code < 0xdc00) {
        into.astral += 1;
        i += 1;
      } else if (code < 0x400) into.greek += 1;
      else if (code < 0x590) into.cyrillic += 1;
      else if (code < 0x900) into.arabic += 1;
      else if ((code >= 0x2e80 && code < 0xa000) || (code >= 0xac00 && code < 0xd7b0) || code >= 0xf900)
        into.eastAsian += 1;
      else into.otherLetters += 1;
    }
    if (next === kind) {
      length += 1;
      continue;
    }
    if (kind !== none) endRun(kind, length, into);
    kind = next;
    length = 1;
  }
  if (kind !== none) endRun(kind, length, into);
  const words = into.words - wordsBefore;
  if ((into.markedLetters - markedBefore) * foreignFrom < words) return;
  into.words -= words;
  into.foreignWords += words;
}

function endRun(kind: number, length: number, into: TokenUnits): void {
  if (kind === letter) {
    into.words += 1;
    if (length > longFrom) into.longLetters += length - longFrom;
  } else if (kind === digit) into.digits += Math.ceil(length / 3);
  else if (kind === mark) into.marks += Math.ceil(length / 4);
  // One space belongs to the word after it.
  else if (kind === lineEnd || length > 1) into.breaks += 1;
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
