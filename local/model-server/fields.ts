import { missing, Refusal, unsupported, wrongType, wrongValue } from './refusal.ts';

/** A parsed JSON object whose members nobody has looked at yet. */
export type Fields = Readonly<Record<string, unknown>>;

/** Longest model name: names are kept in counters, so their length must have a bound. */
const MODEL_CHARS_MAX = 256;

/** True for a JSON object (not an array, not null). */
export function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/**
 * The body of a call as an object.
 * @throws Refusal 400 if it is anything else.
 */
export function readBody(text: string): Fields {
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch (cause) {
    throw new Refusal(400, {
      message: `We could not parse the JSON body of your request: ${(cause as Error).message}`,
      code: 'invalid_json',
    });
  }
  if (!isFields(body)) throw wrongType('body', 'an object', body);
  return body;
}

/**
 * The name in `model`.
 * @throws Refusal 400 if it is absent, empty, or no string.
 */
export function readModel(body: Fields): string {
  const { model } = body;
  if (model === undefined || model === null) throw missing('model');
  if (typeof model !== 'string') throw wrongType('model', 'a string', model);
  if (model === '') throw wrongValue('model', 'must not be empty.');
  if (model.length > MODEL_CHARS_MAX) throw wrongValue('model', `must have at most ${MODEL_CHARS_MAX} characters.`);
  return model;
}

/**
 * A whole number within bounds, or null where it is absent or null.
 * @throws Refusal 400 with the codes OpenAI uses.
 */
export function readInteger(body: Fields, param: string, min: number, max: number): number | null {
  const value = body[param];
  if (value === undefined || value === null) return null;
  if (!Number.isInteger(value)) throw wrongType(param, 'an integer', value);
  const integer = value as number;
  if (integer < min) {
    const why = `integer below minimum value. Expected a value >= ${min}, but got ${integer} instead.`;
    throw wrongValue(param, why, 'integer_below_min_value');
  }
  if (integer > max) {
    const why = `integer above maximum value. Expected a value <= ${max}, but got ${integer} instead.`;
    throw wrongValue(param, why, 'integer_above_max_value');
  }
  return integer;
}

/**
 * A number within bounds, or null where it is absent or null.
 * @throws Refusal 400.
 */
export function readNumber(body: Fields, param: string, min: number, max: number): number | null {
  const value = body[param];
  if (value === undefined || value === null) return null;
  if (typeof value !== 'number') throw wrongType(param, 'a decimal', value);
  if (value < min || value > max) {
    throw wrongValue(
      param,
      `expected a value from ${min} to ${max}, but got ${value} instead.`,
      'decimal_out_of_range',
    );
  }
  return value;
}

/**
 * One of the words a required member may be.
 * @throws Refusal 400.
 */
export function readWord(value: unknown, param: string, supported: readonly string[]): string {
  if (value === undefined) throw missing(param);
  if (typeof value !== 'string' || !supported.includes(value)) throw unsupported(param, value, supported);
  return value;
}

/**
 * Whether a format (`response_format` of chat completions, `text.format` of responses) asks for a JSON object.
 * @throws Refusal 400 for a JSON schema, which this server cannot follow, and for what is no format
 */
export function readJsonFormat(format: unknown, param: string): boolean {
  if (format === undefined || format === null) return false;
  if (!isFields(format)) throw wrongType(param, 'an object', format);
  return readWord(format.type, `${param}.type`, ['text', 'json_object']) === 'json_object';
}

/**
 * Refuses `stream: true`: this server answers whole bodies only, and lines of a batch may not ask for a stream.
 * @throws Refusal 400.
 */
export function refuseStream(body: Fields): void {
  if (body.stream === true) {
    throw wrongValue('stream', 'this server does not stream; leave it out or set it to false.', 'unsupported_value');
  }
}

/**
 * `text` wanted as the content of a message: a string, or parts of which those with a `text` count.
 * @throws Refusal 400 if a part has no type, or is of a type not in `types`.
 */
export function readContent(content: unknown, param: string, types: readonly string[]): string {
  if (typeof content === 'string') return content;
  if (content === undefined) throw missing(param);
  if (!Array.isArray(content)) throw wrongType(param, 'a string or an array of content parts', content);
  return content.map((part, index) => readPart(part, `${param}[${index}]`, types)).join('\n');
}

function readPart(part: unknown, param: string, types: readonly string[]): string {
  if (!isFields(part)) throw wrongType(param, 'an object', part);
  if (!readWord(part.type, `${param}.type`, types).endsWith('text')) return '';
  if (typeof part.text !== 'string') throw wrongType(`${param}.text`, 'a string', part.text);
  return part.text;
}
