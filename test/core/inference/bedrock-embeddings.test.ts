import { describe, expect, test } from '@jest/globals';
import { embeddingFormatOf } from '../../../shared/inference/bedrock/embedding-formats.ts';
import { embeddingsAnswer, embeddingsPlan, embeddingVectors } from '../../../shared/inference/bedrock/embeddings.ts';
import type { CannotMap } from '../../../shared/inference/refusal.ts';
import type { Json, JsonObject } from '../../../shared/journal/json.ts';

const known = { format: null, inputType: 'search_document' } as const;
const titan = 'amazon.titan-embed-text-v2:0';
const cohere = 'cohere.embed-v4:0';
const plan = (body: JsonObject) => embeddingsPlan({ input: 'a', ...body }, known);

test.each([
  [titan, 'titan-v2'],
  ['amazon.titan-embed-text-v1', 'titan-v1'],
  ['amazon.titan-embed-g1-text-02', 'titan-v1'],
  ['cohere.embed-english-v3', 'cohere-v3'],
  ['cohere.embed-multilingual-v3', 'cohere-v3'],
  ['us.cohere.embed-v4:0', 'cohere-v4'],
  ['arn:aws:bedrock:us-east-1:1:application-inference-profile/abc', undefined],
  ['amazon.titan-embed-image-v1', undefined],
])('%s is spoken to as %s', (model, format) => {
  expect(embeddingFormatOf(model)).toBe(format);
});

describe('calls of InvokeModel', () => {
  test('Titan takes one text a call', () => {
    expect(plan({ model: titan, input: ['a', 'b'], dimensions: 256 }).calls).toEqual([
      { body: { inputText: 'a', dimensions: 256 }, inputs: 1 },
      { body: { inputText: 'b', dimensions: 256 }, inputs: 1 },
    ]);
  });

  test('Cohere takes 96, and is told to refuse what it would cut', () => {
    const input = Array.from({ length: 100 }, (_, i) => `text ${i}`);
    const { calls } = plan({ model: cohere, input, dimensions: 1536 });
    expect(calls.map(({ inputs }) => inputs)).toEqual([96, 4]);
    expect(calls[1]!.body).toEqual({
      texts: input.slice(96),
      input_type: 'search_document',
      embedding_types: ['float'],
      truncate: 'NONE',
      output_dimension: 1536,
    });
  });

  test('the map may say how an inference profile is spoken to', () => {
    const body = { model: 'arn:aws:bedrock:x', input: 'a' };
    expect(embeddingsPlan(body, { format: 'titan-v1', inputType: 'clustering' }).calls[0]!.body).toEqual({
      inputText: 'a',
    });
  });

  test.each<[string, JsonObject]>([
    ['model', { model: 'arn:aws:bedrock:x' }],
    ['dimensions', { model: titan, dimensions: 100 }],
    ['dimensions', { model: 'amazon.titan-embed-text-v1', dimensions: 1536 }],
    ['dimensions', { model: titan, dimensions: '256' }],
    ['encoding_format', { model: titan, encoding_format: 'binary' }],
    ['input', { model: titan, input: [1, 2, 3] }],
    ['input', { model: titan, input: [[1], [2]] }],
    ['input', { model: titan, input: [] }],
    ['user', { model: titan, user: 'u' }],
  ])('%s in %j is refused by name', (param, body) => {
    expect(() => plan(body)).toThrow(expect.objectContaining({ param }) as unknown as CannotMap);
  });
});

describe('their answers', () => {
  test.each<[string, Parameters<typeof embeddingVectors>[1], Json, number, unknown]>([
    [
      'Titan',
      'titan-v2',
      { embedding: [1, 2], inputTextTokenCount: 3, embeddingsByType: { float: [1, 2] } },
      1,
      { vectors: [[1, 2]], tokens: 3 },
    ],
    [
      'Cohere',
      'cohere-v3',
      { embeddings: [[1], [2]], texts: ['a', 'b'] },
      2,
      { vectors: [[1], [2]], tokens: undefined },
    ],
    [
      'Cohere by type',
      'cohere-v4',
      { embeddings: { float: [[1], [2]] } },
      2,
      { vectors: [[1], [2]], tokens: undefined },
    ],
    ['Cohere, one too few', 'cohere-v4', { embeddings: { float: [[1]] } }, 2, undefined],
    ['Titan without a vector', 'titan-v2', { embedding: [] }, 1, undefined],
    ['a vector of texts', 'titan-v1', { embedding: ['1'] }, 1, undefined],
    ['nothing', 'cohere-v4', null, 1, undefined],
  ])('%s', (_, format, answer, inputs, expected) => {
    expect(embeddingVectors(answer, format, inputs)).toEqual(expected);
  });

  test('base64 is 32-bit floats, least significant byte first', () => {
    const body = embeddingsAnswer({ modelId: 'm', isBase64: true }, [[1, -0.5]], 2);
    expect(body.data).toEqual([{ object: 'embedding', index: 0, embedding: 'AACAPwAAAL8=' }]);
    expect(body.usage).toEqual({ prompt_tokens: 2, total_tokens: 2 });
  });

  test('tokens that nobody counted are left out, not zero', () => {
    expect(embeddingsAnswer({ modelId: 'm', isBase64: false }, [[1]], undefined)).not.toHaveProperty('usage');
  });
});
