import { objectOf } from '../inference/answer.ts';
import type { Json, JsonObject } from '../journal/json.ts';
import { canonicalJson } from '../journal/json.ts';
import { apportion, type Packable } from './pack.ts';
import { countUnits, noUnits, type TokenUnits, tokenUnits } from './token-units.ts';
import type { TokenEstimator } from './tokens.ts';

/** The inputs of one embeddings line, as an array; `undefined` where the line's `input` is nothing we can pack. */
export function embeddingInputs(body: JsonObject): Json[] | undefined {
  const { input } = body;
  if (typeof input === 'string') return [input];
  if (!Array.isArray(input) || input.length === 0) return undefined;
  if (input.every((item) => typeof item === 'string')) return input;
  if (input.every((item) => typeof item === 'number')) return [input];
  return input.every((item) => Array.isArray(item)) ? input : undefined;
}

/** Lines may share a call exactly when everything but their input is equal. */
export function packKey(body: JsonObject): string {
  return canonicalJson({ ...body, input: null });
}

/** What some inputs are to a tokenizer. Token arrays are counted as they are. */
export interface InputUnits {
  text: TokenUnits;
  /** Tokens that the client counted itself. */
  tokens: number;
  /** The units, or the tokens, of the input that is longest in bytes. */
  longest: TokenUnits | number;
}

export function countInputs(inputs: readonly Json[]): InputUnits {
  const text = noUnits();
  let tokens = 0;
  let longest: Json = '';
  for (const input of inputs) {
    if (Array.isArray(input)) tokens += input.length;
    else countUnits(String(input), text);
    if (lengthOf(input) > lengthOf(longest)) longest = input;
  }
  if (Array.isArray(longest)) return { text, tokens, longest: longest.length };
  if (inputs.length === 1) return { text, tokens, longest: text };
  const units = noUnits();
  countUnits(String(longest), units);
  return { text, tokens, longest: units };
}

/** All texts of a call, and what of `used` they account for. */
export function addUnits(all: readonly InputUnits[], used: number): [units: TokenUnits, tokens: number] {
  const sum = noUnits();
  let counted = 0;
  for (const { text, tokens } of all) {
    counted += tokens;
    for (const unit of tokenUnits) sum[unit] += text[unit];
  }
  return [sum, used - counted];
}

const lengthOf = (input: Json) => (Array.isArray(input) ? 4 * input.length : String(input).length);

/** Tokens of some inputs, as far as `estimator` can tell. */
export function estimateInputs(inputs: readonly Json[], units: InputUnits, estimator: TokenEstimator): Packable {
  const { text, tokens, longest } = units;
  const isText = inputs.some((input) => !Array.isArray(input));
  return {
    items: inputs.length,
    tokens: tokens + (isText ? estimator.estimate(text) : 0),
    largest: typeof longest === 'number' ? longest : estimator.estimate(longest),
  };
}

/** The inputs of several lines, each different one once, and for each line where its own are among them. */
export function distinctInputs(lines: readonly (readonly Json[])[]): { inputs: Json[]; positions: number[][] } {
  const known = new Map<string, number>();
  const inputs: Json[] = [];
  const positions = lines.map((line) =>
    line.map((input) => {
      // A text never looks like an array of tokens, since its JSON begins with a quote.
      const name = typeof input === 'string' ? input : `\u0000${JSON.stringify(input)}`;
      const at = known.get(name);
      if (at !== undefined) return at;
      known.set(name, inputs.length);
      inputs.push(input);
      return inputs.length - 1;
    }),
  );
  return { inputs, positions };
}

/**
 * Gives each line of a packed call its own answer, as if it had been called alone: its embeddings counted from 0, its
 * share of the tokens that were billed. `undefined` if the answer does not hold exactly one embedding for each input, in
 * whatever order, all of one length.
 * @param positions for each line, which inputs of the call are its own
 */
export function unpackEmbeddings(
  answer: Json,
  positions: readonly (readonly number[])[],
  lines: readonly Packable[],
): JsonObject[] | undefined {
  const body = objectOf(answer);
  const total = positions.reduce((most, own) => own.reduce((a, b) => Math.max(a, b + 1), most), 0);
  if (body === undefined || !Array.isArray(body.data) || body.data.length !== total) return undefined;
  const byIndex: JsonObject[] = new Array(total);
  let length: number | undefined;
  for (const item of body.data) {
    const embedding = objectOf(item);
    const index = embedding?.index;
    if (typeof index !== 'number' || !Number.isInteger(index) || index < 0 || index >= total) return undefined;
    const vector = embedding!.embedding;
    if (byIndex[index] !== undefined || !isVector(vector)) return undefined;
    length ??= vector.length;
    if (vector.length !== length) return undefined;
    byIndex[index] = embedding!;
  }
  const shares = apportion(
    promptTokens(answer),
    lines.map(({ tokens }) => tokens),
  );
  const common = Object.fromEntries(Object.entries(body).filter(([, value]) => isSmall(value)));
  return positions.map((own, i) => {
    const data = own.map((at, index) => ({ ...byIndex[at], index }));
    const tokens = shares[i]!;
    return { ...common, object: 'list', data, usage: { prompt_tokens: tokens, total_tokens: tokens } };
  });
}

/** What the usage says went in; 0 where it says nothing sensible. */
export function promptTokens(answer: Json): number {
  const used = objectOf(objectOf(answer)?.usage)?.prompt_tokens;
  return typeof used === 'number' && Number.isSafeInteger(used) && used >= 0 && used <= tokensMax ? used : 0;
}

const tokensMax = 1e12;

/** What one embedding takes of an answer: bytes and numbers. */
export function embeddingSize(answer: Json): { bytes: number; nodes: number } | undefined {
  const data = objectOf(answer)?.data;
  const first = Array.isArray(data) ? objectOf(data[0])?.embedding : undefined;
  if (!isVector(first)) return undefined;
  return { bytes: JSON.stringify(first).length + 60, nodes: typeof first === 'string' ? 4 : first.length + 4 };
}

/** Copied into the answer of every line, so none may be large. */
function isSmall(value: Json): boolean {
  return value === null || typeof value !== 'object' ? String(value).length <= 256 : false;
}

/** Numbers, or as many of them in base64. */
function isVector(value: Json | undefined): value is string | number[] {
  if (typeof value === 'string') return value !== '';
  return Array.isArray(value) && value.length > 0 && value.every((one) => typeof one === 'number');
}
