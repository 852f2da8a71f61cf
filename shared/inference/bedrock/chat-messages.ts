import { type Json, type JsonObject, parseBoundedJson } from '../../journal/json.ts';
import { lineBytesMax } from '../../limits.ts';
import { objectOf } from '../answer.ts';
import { CannotMap } from '../refusal.ts';
import type { ConverseBlock, ConverseMessage, ImageFormat } from './converse.ts';
import { absent, given, type Path, text, unsupported } from './read.ts';

/** The talk so far, as Converse wants it. */
export interface ChatTalk {
  messages: ConverseMessage[];
  system: { text: string }[];
  /** A tool was called, or has answered. */
  usesTools: boolean;
}

/**
 * Splits OpenAI messages into Converse's `system` and `messages`. Neighbours of one role become one message, as roles must
 * alternate there; tool results are part of the user's.
 * @throws CannotMap naming the message at fault
 */
export function chatMessages(value: Json | undefined): ChatTalk {
  if (!Array.isArray(value) || value.length === 0)
    throw new CannotMap('invalid_value', 'messages', 'messages must be a list that is not empty.');
  const talk: ChatTalk = { messages: [], system: [], usesTools: false };
  for (const [index, one] of value.entries()) {
    const path = `messages[${index}]`;
    const message = objectOf(one);
    if (message === undefined) throw new CannotMap('invalid_value', path, `${path} must be an object.`);
    add(talk, message, path);
  }
  return talk;
}

function add(talk: ChatTalk, message: JsonObject, path: Path): void {
  switch (message.role) {
    case 'system':
    case 'developer':
      absent(message, ['role', 'content'], path);
      // Converse has one place for them, ahead of the talk: one in its middle would change its meaning by moving.
      if (talk.messages.length > 0)
        throw unsupported(`${path}.role`, message.role, 'Bedrock Converse takes it only before all others.');
      talk.system.push(...texts(message.content, `${path}.content`));
      return;
    case 'user':
      absent(message, ['role', 'content'], path);
      append(talk, 'user', parts(message.content, `${path}.content`));
      return;
    case 'assistant': {
      absent(message, ['role', 'content', 'tool_calls'], path);
      const said = given(message.content) ? texts(message.content, `${path}.content`) : [];
      const calls = toolCalls(message.tool_calls, path);
      if (calls.length > 0) talk.usesTools = true;
      append(talk, 'assistant', [...said.filter((one) => one.text !== '' || calls.length === 0), ...calls]);
      return;
    }
    case 'tool': {
      absent(message, ['role', 'content', 'tool_call_id'], path);
      talk.usesTools = true;
      const toolUseId = text(message.tool_call_id, `${path}.tool_call_id`);
      append(talk, 'user', [{ toolResult: { toolUseId, content: texts(message.content, `${path}.content`) } }]);
      return;
    }
    default:
      throw unsupported(`${path}.role`, message.role ?? null, 'It may be system, developer, user, assistant or tool.');
  }
}

function append({ messages }: ChatTalk, role: ConverseMessage['role'], content: ConverseBlock[]): void {
  const last = messages.at(-1);
  if (last?.role === role) last.content.push(...content);
  else messages.push({ role, content });
}

function texts(content: Json | undefined, path: Path): { text: string }[] {
  if (typeof content === 'string') return [{ text: content }];
  return partsOf(content, path).map((part, index) => {
    if (part.type !== 'text')
      throw unsupported(`${path}[${index}].type`, part.type ?? null, 'Only text may stand here.');
    absent(part, ['type', 'text'], `${path}[${index}]`);
    return { text: text(part.text, `${path}[${index}].text`) };
  });
}

function parts(content: Json | undefined, path: Path): ConverseBlock[] {
  if (typeof content === 'string') return [{ text: content }];
  return partsOf(content, path).map((part, index): ConverseBlock => {
    const at = `${path}[${index}]`;
    if (part.type === 'image_url') return image(part, at);
    if (part.type !== 'text') throw unsupported(`${at}.type`, part.type ?? null, "It may be 'text' or 'image_url'.");
    absent(part, ['type', 'text'], at);
    return { text: text(part.text, `${at}.text`) };
  });
}

function partsOf(content: Json | undefined, path: Path): JsonObject[] {
  if (!Array.isArray(content)) throw new CannotMap('invalid_value', path, `${path} must be a text or a list of parts.`);
  return content.map((one, index) => {
    const part = objectOf(one);
    if (part === undefined) throw new CannotMap('invalid_value', `${path}[${index}]`, 'A part must be an object.');
    return part;
  });
}

/** @source https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ImageBlock.html (formats; 2026-11) */
const dataUrl = /^data:image\/(png|jpe?g|gif|webp);base64,([A-Za-z0-9+/]+={0,2})$/;

/** An image that came with the request. Addresses are not followed: the worker fetches nothing for a client. */
function image(part: JsonObject, path: Path): ConverseBlock {
  absent(part, ['type', 'image_url'], path);
  const source = objectOf(part.image_url);
  if (source === undefined) throw new CannotMap('invalid_value', `${path}.image_url`, 'It must be an object.');
  absent(source, ['url', ...(source.detail === 'auto' ? ['detail'] : [])], `${path}.image_url`);
  const url = text(source.url, `${path}.image_url.url`);
  const [, format, base64] = dataUrl.exec(url) ?? [];
  if (base64 === undefined)
    throw unsupported(
      `${path}.image_url.url`,
      url.slice(0, 40),
      'It must be a data: URL with a png, jpeg, gif or webp in base64; nothing is fetched.',
    );
  return {
    image: {
      format: (format === 'jpg' ? 'jpeg' : format) as ImageFormat,
      source: { bytes: new Uint8Array(Buffer.from(base64, 'base64')) },
    },
  };
}

function toolCalls(calls: Json | undefined, path: Path): ConverseBlock[] {
  if (!given(calls)) return [];
  if (!Array.isArray(calls)) throw new CannotMap('invalid_value', `${path}.tool_calls`, 'It must be a list.');
  return calls.map((one, index) => {
    const at = `${path}.tool_calls[${index}]`;
    const call = objectOf(one);
    if (call?.type !== 'function') throw unsupported(`${at}.type`, call?.type ?? null, "It must be 'function'.");
    const called = objectOf(call.function);
    const input = parsed(text(called?.arguments, `${at}.function.arguments`), `${at}.function.arguments`);
    return {
      toolUse: { toolUseId: text(call.id, `${at}.id`), name: text(called?.name, `${at}.function.name`), input },
    };
  });
}

function parsed(json: string, path: Path): JsonObject {
  const read = parseBoundedJson(Buffer.from(json, 'utf8'), { bytesMax: lineBytesMax });
  const object = 'fault' in read ? undefined : objectOf(read.value);
  if (object === undefined) throw new CannotMap('invalid_value', path, `${path} must be a JSON object.`);
  return object;
}
