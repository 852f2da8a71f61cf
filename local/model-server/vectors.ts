/** Decimal places kept: finer than a 32-bit float can tell apart near 1, and short when written as JSON. */
const PLACES = 1e7;

/**
 * Feature-hashing embedding: each word and each pair of neighbours adds +1 or -1 (its sign comes from its hash) in one of
 * `dimensions` places; pairs weigh half. The result has length 1. The same text gives the same vector on every machine,
 * and texts that share words point the same way.
 *
 * @param dimensions whole number ≥ 1
 */
export function embedText(text: string, dimensions: number): Float64Array {
  return embedWords(text.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? [text], dimensions);
}

/** {@link embedText} for a text that comes as token numbers. */
export function embedTokens(tokens: readonly number[], dimensions: number): Float64Array {
  return embedWords(
    tokens.map((token) => `#${token}`),
    dimensions,
  );
}

function embedWords(words: readonly string[], dimensions: number): Float64Array {
  const vector = new Float64Array(dimensions);
  let previous = '';
  for (const word of words) {
    addFeature(vector, hash(word, 0x811c9dc5), 1);
    if (previous !== '') addFeature(vector, hash(word, hash(previous, 0x9747b28c)), 0.5);
    previous = word;
  }
  return normalised(vector);
}

function addFeature(vector: Float64Array, hashed: number, weight: number): void {
  const place = (hashed >>> 1) % vector.length;
  vector[place] = (vector[place] ?? 0) + ((hashed & 1) === 0 ? weight : -weight);
}

function normalised(vector: Float64Array): Float64Array {
  let squares = 0;
  for (const value of vector) squares += value * value;
  // Features of opposite sign may cancel out entirely; a vector of length 0 would have no direction.
  if (squares === 0) vector[0] = squares = 1;
  const length = Math.sqrt(squares);
  for (let place = 0; place < vector.length; place++) {
    vector[place] = Math.round(((vector[place] ?? 0) / length) * PLACES) / PLACES;
  }
  return vector;
}

/** FNV-1a over UTF-16 code units with a murmur finish, which FNV needs for its lower bits. */
function hash(text: string, seed: number): number {
  let h = seed;
  for (let at = 0; at < text.length; at++) h = Math.imul(h ^ text.charCodeAt(at), 0x01000193);
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

/** A vector as `encoding_format: 'base64'` shows it: little-endian 32-bit floats. */
export function toBase64(vector: Float64Array): string {
  const bytes = Buffer.allocUnsafe(vector.length * 4);
  for (let place = 0; place < vector.length; place++) bytes.writeFloatLE(vector[place] ?? 0, place * 4);
  return bytes.toString('base64');
}
