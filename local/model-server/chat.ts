import type { ChatCompletion } from 'openai/resources';
import { unixSeconds } from '../../shared/units.ts';
import type { ModelBehaviour } from './behaviour.ts';
import type { Answer, AnswerContext, ModelCall } from './call.ts';
import {
  type Fields,
  isFields,
  readContent,
  readInteger,
  readJsonFormat,
  readModel,
  readNumber,
  readWord,
  refuseStream,
} from './fields.ts';
import { checkContext, type GenerateLimits, generate } from './generate.ts';
import { randomName } from './random.ts';
import { missing, wrongType, wrongValue } from './refusal.ts';
import { countTokens } from './tokens.ts';

const ROLES = ['developer', 'system', 'user', 'assistant', 'tool', 'function'];
const PART_TYPES = ['text', 'image_url', 'input_audio', 'file', 'refusal'];
const TOKENS_MAX = 2 ** 31 - 1;
const STOPS_MAX = 4;

/**
 * Tokens that the chat format adds to each message, and before the answer.
 * @source https://cookbook.openai.com/examples/how_to_count_tokens_with_tiktoken, read August 2026
 */
const TOKENS_PER_MESSAGE = 4;
const TOKENS_BEFORE_ANSWER = 3;

interface Message {
  readonly role: string;
  readonly content: string;
}

/**
 * Reads a chat completion request.
 * @throws Refusal 400 for what OpenAI refuses too, and for `stream: true` and JSON schemas, which this server lacks
 */
export function readChat(body: Fields, behaviour: ModelBehaviour): ModelCall {
  const model = readModel(body);
  const messages = readMessages(body.messages);
  refuseStream(body);
  readNumber(body, 'temperature', 0, 2);
  readNumber(body, 'top_p', 0, 1);
  const choices = readInteger(body, 'n', 1, 128) ?? 1;
  const limits: GenerateLimits = {
    tokensMax:
      readInteger(body, 'max_completion_tokens', 1, TOKENS_MAX) ?? readInteger(body, 'max_tokens', 1, TOKENS_MAX),
    stops: readStops(body.stop),
    json: readJsonFormat(body.response_format, 'response_format'),
  };
  const inputTokens = messages.reduce(
    (sum, message) => sum + TOKENS_PER_MESSAGE + countTokens(message.content),
    TOKENS_BEFORE_ANSWER,
  );
  checkContext(inputTokens, limits.tokensMax, behaviour.contextTokensMax, 'messages');
  return {
    lines: [messages.map((message) => message.content).join('\n')],
    inputTokens,
    outputTokensMax: choices * (limits.tokensMax ?? 0),
    answer: (context) => answerChat(model, messages, choices, inputTokens, limits, context),
  };
}

function answerChat(
  model: string,
  messages: readonly Message[],
  choices: number,
  inputTokens: number,
  limits: GenerateLimits,
  context: AnswerContext,
): Answer {
  const asked = messages.findLast((message) => message.role === 'user') ?? messages.at(-1);
  const hints = messages.filter((message) => message.role === 'system' || message.role === 'developer');
  const prompt = { text: asked?.content ?? '', hint: hints.map((message) => message.content).join('\n') };
  const generated = Array.from({ length: choices }, () => generate(prompt, limits, context));
  const outputTokens = generated.reduce((sum, { tokens }) => sum + tokens, 0);
  const body: ChatCompletion = {
    id: `chatcmpl-${randomName(context.random.ids, 29)}`,
    object: 'chat.completion',
    created: unixSeconds(context.now),
    model,
    choices: generated.map(({ text, cut }, index) => ({
      index,
      message: { role: 'assistant', content: text, refusal: null, annotations: [] },
      logprobs: null,
      finish_reason: cut ? 'length' : 'stop',
    })),
    usage: {
      prompt_tokens: inputTokens,
      completion_tokens: outputTokens,
      total_tokens: inputTokens + outputTokens,
      prompt_tokens_details: { cached_tokens: 0, audio_tokens: 0 },
      completion_tokens_details: {
        reasoning_tokens: 0,
        audio_tokens: 0,
        accepted_prediction_tokens: 0,
        rejected_prediction_tokens: 0,
      },
    },
    service_tier: 'default',
    system_fingerprint: 'fp_holdfast_local',
  };
  return { body, outputTokens };
}

function readMessages(messages: unknown): Message[] {
  if (messages === undefined || messages === null) throw missing('messages');
  if (!Array.isArray(messages)) throw wrongType('messages', 'an array of objects', messages);
  if (messages.length === 0) {
    const why = 'empty array. Expected an array with minimum length 1, but got an empty array instead.';
    throw wrongValue('messages', why, 'empty_array');
  }
  return messages.map(readMessage);
}

function readMessage(message: unknown, index: number): Message {
  const param = `messages[${index}]`;
  if (!isFields(message)) throw wrongType(param, 'an object', message);
  const { content } = message;
  const role = readWord(message.role, `${param}.role`, ROLES);
  // An assistant that called tools said nothing itself.
  if (role === 'assistant' && (content === null || content === undefined)) return { role, content: '' };
  return { role, content: readContent(content, `${param}.content`, PART_TYPES) };
}

function readStops(stop: unknown): string[] {
  if (stop === undefined || stop === null) return [];
  const stops = Array.isArray(stop) ? stop : [stop];
  if (stops.length > STOPS_MAX) {
    const why = `array too long. Expected an array with maximum length ${STOPS_MAX}, but got an array with length ${stops.length} instead.`;
    throw wrongValue('stop', why, 'array_above_max_length');
  }
  for (const each of stops) {
    if (typeof each !== 'string') throw wrongType('stop', 'a string or an array of strings', each);
  }
  return stops.filter((each) => each !== '');
}
