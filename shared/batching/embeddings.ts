import { objectOf } from '../inference/answer.ts';
import type { Json, JsonObject } from '../journal/json.ts';
import { canonicalJson } from '../journal/json.ts';
import { apportion, type Packable } from './pack.ts';

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

/** Estimated tokens of some inputs: a token array is its length, text a token in three bytes (on the safe side). */
export function estimateInputs(inputs: readonly Json[]): Packable {
  const tokens = (input: Json) =>
    Array.isArray(input) ? input.length : Math.ceil(Buffer.byteLength(String(input)) / 3);
  return { items: inputs.length, tokens: inputs.reduce((sum: number, input) => sum + tokens(input), 0) };
}

/**
 * Gives each line of a packed call its own answer, as if it had been called alone: its embeddings counted from 0, its
 * share of the tokens. `undefined` if the answer does not hold exactly one embedding for each input, in whatever order.
 */
export function unpackEmbeddings(answer: Json, lines: readonly Packable[]): JsonObject[] | undefined {
  const body = objectOf(answer);
  const total = lines.reduce((sum, { items }) => sum + items, 0);
  if (body === undefined || !Array.isArray(body.data) || body.data.length !== total) return undefined;
  const byIndex: JsonObject[] = new Array(total);
  for (const item of body.data) {
    const embedding = objectOf(item);
    const index = embedding?.index;
    if (typeof index !== 'number' || !Number.isInteger(index) || index < 0 || index >= total) return undefined;
    if (byIndex[index] !== undefined || !isVector(embedding!.embedding)) return undefined;
    byIndex[index] = embedding!;
  }
  const used = objectOf(body.usage)?.prompt_tokens;
  const shares = apportion(
    typeof used === 'number' && used >= 0 ? Math.floor(used) : 0,
    lines.map(({ tokens }) => tokens),
  );
  let from = 0;
  return lines.map(({ items }, i) => {
    const data = byIndex.slice(from, from + items).map((item, index) => ({ ...item, index }));
    from += items;
    const tokens = shares[i]!;
    return { ...body, object: 'list', data, usage: { prompt_tokens: tokens, total_tokens: tokens } };
  });
}

function isVector(value: Json | undefined): boolean {
  return typeof value === 'string' ? value !== '' : Array.isArray(value) && value.length > 0;
}
