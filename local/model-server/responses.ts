import type { Response, ResponseInputItem } from 'openai/resources/responses/responses';
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

const ROLES = ['user', 'assistant', 'system', 'developer'];
const PART_TYPES = ['input_text', 'output_text', 'input_image', 'input_file', 'input_audio', 'refusal'];

/**
 * Fewest tokens a response may be limited to; chat completions have no such rule.
 * @source "integer below minimum value. Expected a value >= 16", as quoted in vectorize-io/hindsight#58, December 2025
 */
const OUTPUT_TOKENS_MIN = 16;
const OUTPUT_TOKENS_MAX = 2 ** 31 - 1;
const TOKENS_PER_ITEM = 4;
const TOKENS_BEFORE_ANSWER = 3;

/** `output_text` is added by the `openai` client, the rest is what goes over the wire. */
type WireResponse = Omit<Response, 'output_text' | 'access_programs'>;

/** What a response repeats of its request. */
interface Kept {
  readonly instructions: string | null;
  readonly metadata: Record<string, string>;
}

interface Item {
  readonly role: string;
  readonly content: string;
}

/**
 * Reads a request for a response.
 * @throws Refusal 400 for what OpenAI refuses too, and for what needs state or streams: `stream`, `background`,
 * `previous_response_id`, `conversation`, JSON schemas
 */
export function readResponses(body: Fields, behaviour: ModelBehaviour): ModelCall {
  const model = readModel(body);
  const items = readInput(body.input);
  refuseStream(body);
  refuseState(body);
  const instructions = readInstructions(body.instructions);
  const metadata = readMetadata(body.metadata);
  readNumber(body, 'temperature', 0, 2);
  readNumber(body, 'top_p', 0, 1);
  const limits: GenerateLimits = {
    tokensMax: readInteger(body, 'max_output_tokens', OUTPUT_TOKENS_MIN, OUTPUT_TOKENS_MAX),
    stops: [],
    json: readTextFormat(body.text),
  };
  const inputTokens =
    items.reduce((sum, item) => sum + TOKENS_PER_ITEM + countTokens(item.content), TOKENS_BEFORE_ANSWER) +
    (instructions === null ? 0 : TOKENS_PER_ITEM + countTokens(instructions));
  checkContext(inputTokens, limits.tokensMax, behaviour.contextTokensMax, 'input');
  const texts = items.map((item) => item.content);
  return {
    lines: [(instructions === null ? texts : [instructions, ...texts]).join('\n')],
    inputTokens,
    outputTokensMax: limits.tokensMax ?? 0,
    answer: (context) =>
      answerResponse(model, { ...body, instructions, metadata }, items, inputTokens, limits, context),
  };
}

function answerResponse(
  model: string,
  request: Fields & Kept,
  items: readonly Item[],
  inputTokens: number,
  limits: GenerateLimits,
  context: AnswerContext,
): Answer {
  const asked = items.findLast((item) => item.role === 'user') ?? items.at(-1);
  const hints = items.filter((item) => item.role === 'system' || item.role === 'developer').map((item) => item.content);
  const { instructions, metadata } = request;
  const hint = instructions === null ? hints.join('\n') : [instructions, ...hints].join('\n');
  const { text, tokens, cut } = generate({ text: asked?.content ?? '', hint }, limits, context);
  const body: WireResponse = {
    id: `resp_${randomName(context.random.ids, 48)}`,
    object: 'response',
    created_at: unixSeconds(context.now),
    status: cut ? 'incomplete' : 'completed',
    background: false,
    completed_at: cut ? null : unixSeconds(context.now),
    error: null,
    incomplete_details: cut ? { reason: 'max_output_tokens' } : null,
    instructions,
    max_output_tokens: limits.tokensMax,
    max_tool_calls: null,
    model,
    output: [
      {
        id: `msg_${randomName(context.random.ids, 48)}`,
        type: 'message',
        status: cut ? 'incomplete' : 'completed',
        role: 'assistant',
        content: [{ type: 'output_text', annotations: [], logprobs: [], text }],
      },
    ],
    parallel_tool_calls: true,
    previous_response_id: null,
    prompt_cache_key: null,
    reasoning: { effort: null, summary: null },
    safety_identifier: null,
    service_tier: 'default',
    temperature: typeof request.temperature === 'number' ? request.temperature : 1,
    text: { format: { type: limits.json ? 'json_object' : 'text' } },
    tool_choice: 'auto',
    tools: [],
    top_logprobs: 0,
    top_p: typeof request.top_p === 'number' ? request.top_p : 1,
    truncation: 'disabled',
    usage: {
      input_tokens: inputTokens,
      input_tokens_details: { cached_tokens: 0, cache_write_tokens: 0 },
      output_tokens: tokens,
      output_tokens_details: { reasoning_tokens: 0 },
      total_tokens: inputTokens + tokens,
    },
    metadata,
  };
  return { body, outputTokens: tokens };
}

function readInput(input: unknown): Item[] {
  if (input === undefined || input === null) throw missing('input');
  if (typeof input === 'string') return [{ role: 'user', content: input }];
  if (!Array.isArray(input)) throw wrongType('input', 'a string or an array of objects', input);
  if (input.length === 0) {
    const why = 'empty array. Expected an array with minimum length 1, but got an empty array instead.';
    throw wrongValue('input', why, 'empty_array');
  }
  return input.map(readItem);
}

function readItem(item: unknown, index: number): Item {
  const param = `input[${index}]`;
  if (!isFields(item)) throw wrongType(param, 'an object', item);
  const type = (item.type ?? 'message') as ResponseInputItem['type'];
  if (type === 'function_call_output') {
    return { role: 'tool', content: readContent(item.output, `${param}.output`, PART_TYPES) };
  }
  if (type !== 'message') return { role: 'other', content: '' };
  const role = readWord(item.role, `${param}.role`, ROLES);
  return { role, content: readContent(item.content, `${param}.content`, PART_TYPES) };
}

function readInstructions(instructions: unknown): string | null {
  if (instructions === undefined || instructions === null) return null;
  if (typeof instructions !== 'string') throw wrongType('instructions', 'a string', instructions);
  return instructions;
}

function refuseState(body: Fields): void {
  if (body.background === true) {
    throw wrongValue('background', 'this server keeps no responses.', 'unsupported_value');
  }
  for (const param of ['previous_response_id', 'conversation']) {
    if (body[param] !== undefined && body[param] !== null) {
      throw wrongValue(param, 'this server keeps no responses.', 'unsupported_value');
    }
  }
}

function readTextFormat(text: unknown): boolean {
  if (text === undefined || text === null) return false;
  if (!isFields(text)) throw wrongType('text', 'an object', text);
  return readJsonFormat(text.format, 'text.format');
}

function readMetadata(metadata: unknown): Record<string, string> {
  if (metadata === undefined || metadata === null) return {};
  if (!isFields(metadata)) throw wrongType('metadata', 'an object', metadata);
  for (const [key, value] of Object.entries(metadata)) {
    if (typeof value !== 'string') throw wrongType(`metadata.${key.slice(0, 64)}`, 'a string', value);
  }
  return metadata as Record<string, string>;
}
