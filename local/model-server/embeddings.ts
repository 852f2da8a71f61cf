import type { ModelBehaviour } from './behaviour.ts';
import type { Answer, ModelCall } from './call.ts';
import { type Fields, readInteger, readModel, readWord } from './fields.ts';
import { missing, Refusal, wrongType, wrongValue } from './refusal.ts';
import { countTokens } from './tokens.ts';
import { embedText, embedTokens, toBase64 } from './vectors.ts';

type Input = string | readonly number[];

const DIMENSIONS_MAX = 4_096;

/**
 * Reads an embeddings request.
 * @throws Refusal 400 for what OpenAI refuses too: empty or too many inputs, too many tokens in one or in all
 */
export function readEmbeddings(body: Fields, behaviour: ModelBehaviour): ModelCall {
  const model = readModel(body);
  const inputs = readInputs(body.input, behaviour.inputsMax);
  const dimensions = readInteger(body, 'dimensions', 1, DIMENSIONS_MAX) ?? behaviour.dimensions;
  const base64 = readWord(body.encoding_format ?? 'float', 'encoding_format', ['float', 'base64']) === 'base64';
  const inputTokens = countInputs(inputs, behaviour);
  return {
    lines: inputs.map((input) => (typeof input === 'string' ? input : JSON.stringify(input))),
    inputTokens,
    outputTokensMax: 0,
    answer: () => answerEmbeddings(model, inputs, dimensions, base64, inputTokens),
  };
}

function answerEmbeddings(
  model: string,
  inputs: readonly Input[],
  dimensions: number,
  base64: boolean,
  inputTokens: number,
): Answer {
  const data = inputs.map((input, index) => {
    const vector = typeof input === 'string' ? embedText(input, dimensions) : embedTokens(input, dimensions);
    return { object: 'embedding', index, embedding: base64 ? toBase64(vector) : Array.from(vector) };
  });
  const usage = { prompt_tokens: inputTokens, total_tokens: inputTokens };
  return { body: { object: 'list', data, model, usage }, outputTokens: 0 };
}

function readInputs(input: unknown, inputsMax: number): Input[] {
  if (input === undefined || input === null) throw missing('input');
  if (typeof input === 'string') return [readText(input, 'input')];
  if (!Array.isArray(input)) throw wrongType('input', 'a string or an array', input);
  if (input.length === 0) throw wrongValue('input', 'must not be an empty array.', 'empty_array');
  if (typeof input[0] === 'number') return [readTokens(input, 'input')];
  if (input.length > inputsMax) {
    const why = `array too long. Expected an array with maximum length ${inputsMax}, but got an array with length ${input.length} instead.`;
    throw wrongValue('input', why, 'array_above_max_length');
  }
  return input.map((each, index) => {
    const param = `input[${index}]`;
    return Array.isArray(each) ? readTokens(each, param) : readText(each, param);
  });
}

function readText(text: unknown, param: string): string {
  if (typeof text !== 'string') throw wrongType(param, 'a string or an array of integers', text);
  if (text === '') throw wrongValue(param, 'input cannot be an empty string.', 'empty_string');
  return text;
}

function readTokens(tokens: readonly unknown[], param: string): readonly number[] {
  if (tokens.length === 0) throw wrongValue(param, 'must not be an empty array.', 'empty_array');
  const wrong = tokens.findIndex((token) => !Number.isInteger(token) || (token as number) < 0);
  if (wrong !== -1) throw wrongType(`${param}[${wrong}]`, 'a token number', tokens[wrong]);
  return tokens as readonly number[];
}

function countInputs(inputs: readonly Input[], { inputTokensMax, callTokensMax }: ModelBehaviour): number {
  let total = 0;
  for (const [index, input] of inputs.entries()) {
    const tokens = typeof input === 'string' ? countTokens(input) : input.length;
    if (tokens > inputTokensMax) {
      throw new Refusal(400, {
        message:
          `This model's maximum context length is ${inputTokensMax} tokens, however you requested ${tokens} tokens ` +
          `in input[${index}]. Please reduce the length of that input.`,
        param: 'input',
        code: 'context_length_exceeded',
      });
    }
    total += tokens;
  }
  if (total <= callTokensMax) return total;
  throw new Refusal(400, {
    message: `Requested ${total} tokens, max ${callTokensMax} tokens per request`,
    type: 'max_tokens_per_request',
    code: 'max_tokens_per_request',
  });
}
