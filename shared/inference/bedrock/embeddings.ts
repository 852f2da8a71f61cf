import type { Json, JsonObject } from '../../journal/json.ts';
import { objectOf } from '../answer.ts';
import { CannotMap } from '../refusal.ts';
import { type EmbeddingFormat, embeddingFormatOf, embeddingRules, type InputType } from './embedding-formats.ts';
import { given, number, text } from './read.ts';

/** One line's request, cut into calls that the model takes. */
export interface EmbeddingsPlan {
  modelId: string;
  format: EmbeddingFormat;
  isBase64: boolean;
  /** Body of each call, and how many texts are in it. */
  calls: { body: JsonObject; inputs: number }[];
}

/**
 * An OpenAI embeddings request as calls of InvokeModel.
 * @throws CannotMap naming the member at fault
 */
export function embeddingsPlan(
  body: JsonObject,
  known: { format: EmbeddingFormat | null; inputType: InputType },
): EmbeddingsPlan {
  const modelId = text(body.model, 'model');
  const format = known.format ?? embeddingFormatOf(modelId);
  if (format === undefined)
    throw new CannotMap('unsupported_value', 'model', `How ${modelId} embeds is not known; the model map may say so.`);
  for (const [name, value] of Object.entries(body))
    if (!['model', 'input', 'dimensions', 'encoding_format'].includes(name) && given(value))
      throw new CannotMap(
        'unsupported_parameter',
        name,
        `Unsupported: '${name}'. Bedrock embeddings have no such thing.`,
      );
  const encoding = given(body.encoding_format) ? body.encoding_format : 'float';
  if (encoding !== 'float' && encoding !== 'base64')
    throw new CannotMap('invalid_value', 'encoding_format', "encoding_format must be 'float' or 'base64'.");
  const dimensions = dimensionsOf(body, format);
  const texts = inputsOf(body.input);
  const { inputsMax } = embeddingRules[format];
  const calls: EmbeddingsPlan['calls'] = [];
  for (let from = 0; from < texts.length; from += inputsMax) {
    const some = texts.slice(from, from + inputsMax);
    calls.push({ body: callBody(format, some, dimensions, known.inputType), inputs: some.length });
  }
  return { modelId, format, isBase64: encoding === 'base64', calls };
}

function dimensionsOf(body: JsonObject, format: EmbeddingFormat): number | undefined {
  if (!given(body.dimensions)) return undefined;
  const asked = number(body.dimensions, 'dimensions');
  const { dimensions } = embeddingRules[format];
  if (dimensions.includes(asked)) return asked;
  const rule = dimensions.length === 0 ? 'has but one size' : `takes ${dimensions.join(', ')}`;
  throw new CannotMap('unsupported_value', 'dimensions', `Unsupported: 'dimensions' = ${asked}. This model ${rule}.`);
}

function inputsOf(input: Json | undefined): string[] {
  const texts = typeof input === 'string' ? [input] : input;
  if (Array.isArray(texts) && texts.length > 0 && texts.every((one) => typeof one === 'string')) return texts;
  throw new CannotMap(
    'unsupported_value',
    'input',
    'input must be a text or a list of texts: Bedrock takes no tokens.',
  );
}

function callBody(
  format: EmbeddingFormat,
  texts: readonly string[],
  dimensions: number | undefined,
  inputType: InputType,
): JsonObject {
  if (format === 'titan-v1') return { inputText: texts[0]! };
  if (format === 'titan-v2') return { inputText: texts[0]!, ...(dimensions !== undefined && { dimensions }) };
  return {
    texts: [...texts],
    input_type: inputType,
    embedding_types: ['float'],
    // Both cut silently unless told otherwise; OpenAI refuses what is too long.
    truncate: 'NONE',
    ...(dimensions !== undefined && { output_dimension: dimensions }),
  };
}

/** The vectors of one call and what it says of its tokens; `undefined` if it is no answer of that many texts. */
export function embeddingVectors(
  answer: Json,
  format: EmbeddingFormat,
  inputs: number,
): { vectors: number[][]; tokens: number | undefined } | undefined {
  const body = objectOf(answer);
  if (format === 'titan-v1' || format === 'titan-v2') {
    const tokens = body?.inputTextTokenCount;
    if (!isVector(body?.embedding)) return undefined;
    return { vectors: [body.embedding], tokens: typeof tokens === 'number' ? tokens : undefined };
  }
  const found = objectOf(body?.embeddings)?.float ?? body?.embeddings;
  if (!Array.isArray(found) || found.length !== inputs || !found.every(isVector)) return undefined;
  return { vectors: found, tokens: undefined };
}

function isVector(value: Json | undefined): value is number[] {
  return Array.isArray(value) && value.length > 0 && value.every((one) => typeof one === 'number');
}

/** OpenAI's list of embeddings. `tokens` is left out where nobody counted them: nothing is made up. */
export function embeddingsAnswer(
  { modelId, isBase64 }: Pick<EmbeddingsPlan, 'modelId' | 'isBase64'>,
  vectors: readonly number[][],
  tokens: number | undefined,
): JsonObject {
  return {
    object: 'list',
    data: vectors.map((vector, index) => ({
      object: 'embedding',
      index,
      embedding: isBase64 ? base64Of(vector) : [...vector],
    })),
    model: modelId,
    ...(tokens !== undefined && { usage: { prompt_tokens: tokens, total_tokens: tokens } }),
  };
}

/** 32-bit floats, least significant byte first, as OpenAI packs them. */
function base64Of(vector: readonly number[]): string {
  const bytes = Buffer.alloc(vector.length * 4);
  for (const [i, value] of vector.entries()) bytes.writeFloatLE(value, i * 4);
  return bytes.toString('base64');
}
