import type { Json, JsonObject } from '../../journal/json.ts';
import { objectOf } from '../answer.ts';
import { CannotMap } from '../refusal.ts';
import { chatMessages } from './chat-messages.ts';
import type { ConverseRequest, ConverseTool, ConverseToolChoice } from './converse.ts';
import { absent, flag, given, number, type Path, text, unsupported } from './read.ts';

/**
 * Members that change nothing about the answer at the value that stands here (or `null`), so that leaving them out is
 * faithful. At any other value they are refused, like every member that is not known.
 */
const harmlessAt: Readonly<Record<string, Json>> = {
  stream: false,
  store: false,
  n: 1,
  logprobs: false,
  frequency_penalty: 0,
  presence_penalty: 0,
  parallel_tool_calls: true,
  service_tier: 'auto',
};

const carried = new Set([
  'model',
  'messages',
  'max_tokens',
  'max_completion_tokens',
  'temperature',
  'top_p',
  'stop',
  'tools',
  'tool_choice',
  'response_format',
  'metadata',
  'user',
]);

/**
 * An OpenAI chat request as a Converse request. What Converse cannot say is refused by name, never left out.
 * @throws CannotMap naming the member at fault
 */
export function converseRequest(body: JsonObject): ConverseRequest {
  for (const [name, value] of Object.entries(body))
    if (!carried.has(name) && value !== null && !(Object.hasOwn(harmlessAt, name) && harmlessAt[name] === value))
      throw unsupported(name, value, 'Bedrock Converse has nothing like it.');
  const { messages, system, usesTools } = chatMessages(body.messages);
  const request: ConverseRequest = { modelId: text(body.model, 'model'), messages };
  if (system.length > 0) request.system = system;
  const inference = inferenceConfig(body);
  if (Object.keys(inference).length > 0) request.inferenceConfig = inference;
  const tools = toolConfig(body, usesTools);
  if (tools !== undefined) request.toolConfig = tools;
  const format = outputConfig(body.response_format);
  if (format !== undefined) request.outputConfig = format;
  const metadata = requestMetadata(body);
  if (metadata !== undefined) request.requestMetadata = metadata;
  return request;
}

/**
 * Temperature and top_p are at most 1 there.
 * @source https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_InferenceConfiguration.html (2026-11)
 */
function inferenceConfig(body: JsonObject): NonNullable<ConverseRequest['inferenceConfig']> {
  const config: NonNullable<ConverseRequest['inferenceConfig']> = {};
  const maxTokens = oneOf(body, 'max_completion_tokens', 'max_tokens');
  if (maxTokens !== undefined) config.maxTokens = maxTokens;
  if (given(body.temperature)) config.temperature = share(body.temperature, 'temperature');
  if (given(body.top_p)) config.topP = share(body.top_p, 'top_p');
  if (given(body.stop))
    config.stopSequences = (Array.isArray(body.stop) ? body.stop : [body.stop]).map((one) => text(one, 'stop'));
  return config;
}

function oneOf(body: JsonObject, name: string, oldName: string): number | undefined {
  const values = [name, oldName].flatMap((key) => (given(body[key]) ? [number(body[key], key)] : []));
  if (values.length === 2 && values[0] !== values[1])
    throw new CannotMap('invalid_value', oldName, `${oldName} and ${name} say different things.`);
  return values[0];
}

function share(value: Json, path: Path): number {
  const found = number(value, path);
  if (found < 0 || found > 1) throw unsupported(path, value, 'Bedrock Converse takes 0 to 1.');
  return found;
}

function toolConfig(body: JsonObject, usesTools: boolean): ConverseRequest['toolConfig'] {
  const tools = given(body.tools) ? list(body.tools, 'tools').map(tool) : [];
  const choice = body.tool_choice;
  if (tools.length === 0) {
    if (given(choice) && choice !== 'none' && choice !== 'auto')
      throw new CannotMap('invalid_value', 'tool_choice', 'tool_choice is given, and tools are not.');
    return undefined;
  }
  if (choice === 'none') {
    // Converse cannot offer tools and forbid them. Without any tool in the talk, not offering them says the same.
    if (usesTools) throw unsupported('tool_choice', choice, 'Bedrock Converse cannot forbid tools the talk has used.');
    return undefined;
  }
  return given(choice) ? { tools, toolChoice: toolChoice(choice) } : { tools };
}

function tool(value: Json, index: number): ConverseTool {
  const path = `tools[${index}]`;
  const outer = objectOf(value);
  if (outer?.type !== 'function') throw unsupported(`${path}.type`, outer?.type ?? null, "It must be 'function'.");
  absent(outer, ['type', 'function'], path);
  const inner = objectOf(outer.function);
  if (inner === undefined) throw new CannotMap('invalid_value', `${path}.function`, 'It must be an object.');
  absent(inner, ['name', 'description', 'parameters', 'strict'], `${path}.function`);
  const parameters = given(inner.parameters) ? objectOf(inner.parameters) : { type: 'object', properties: {} };
  if (parameters === undefined)
    throw new CannotMap('invalid_value', `${path}.function.parameters`, 'It must be a JSON Schema object.');
  return {
    toolSpec: {
      name: text(inner.name, `${path}.function.name`),
      ...(given(inner.description) && { description: text(inner.description, `${path}.function.description`) }),
      inputSchema: { json: parameters },
      ...(given(inner.strict) && { strict: flag(inner.strict, `${path}.function.strict`) }),
    },
  };
}

function toolChoice(choice: Json): ConverseToolChoice {
  if (choice === 'auto') return { auto: {} };
  if (choice === 'required') return { any: {} };
  const chosen = objectOf(choice);
  if (chosen?.type !== 'function')
    throw unsupported('tool_choice', choice, "It may be 'none', 'auto', 'required' or one function.");
  return { tool: { name: text(objectOf(chosen.function)?.name, 'tool_choice.function.name') } };
}

function outputConfig(format: Json | undefined): ConverseRequest['outputConfig'] {
  if (!given(format)) return undefined;
  const asked = objectOf(format);
  if (asked?.type === 'text') return undefined;
  if (asked?.type !== 'json_schema')
    throw unsupported('response_format.type', asked?.type ?? null, "It may be 'text' or 'json_schema'.");
  const schema = objectOf(asked.json_schema);
  if (objectOf(schema?.schema) === undefined)
    throw new CannotMap('invalid_value', 'response_format.json_schema.schema', 'It must be a JSON Schema object.');
  absent(schema!, ['name', 'description', 'schema', 'strict'], 'response_format.json_schema');
  const jsonSchema = {
    schema: JSON.stringify(schema!.schema),
    ...(given(schema!.name) && { name: text(schema!.name, 'response_format.json_schema.name') }),
    ...(given(schema!.description) && {
      description: text(schema!.description, 'response_format.json_schema.description'),
    }),
  };
  return { textFormat: { type: 'json_schema', structure: { jsonSchema } } };
}

/** @source https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html, requestMetadata (2026-11) */
const metadataText = /^[a-zA-Z0-9\s:_@$#=/+,.-]{0,256}$/;

function requestMetadata({ metadata, user }: JsonObject): Record<string, string> | undefined {
  const said = given(metadata) ? objectOf(metadata) : {};
  if (said === undefined) throw new CannotMap('invalid_value', 'metadata', 'It must be an object of texts.');
  const pairs = Object.entries(said).map(([key, value]): [string, string] => [key, text(value, `metadata.${key}`)]);
  if (given(user)) pairs.push(['user', text(user, 'user')]);
  for (const [key, value] of pairs)
    if (key === '' || !metadataText.test(key) || !metadataText.test(value))
      throw unsupported(
        key === 'user' ? 'user' : `metadata.${key}`,
        value,
        'Bedrock takes 256 of letters, digits, blanks and :_@$#=/+,.-',
      );
  return pairs.length === 0 ? undefined : Object.fromEntries(pairs);
}

function list(value: Json, path: Path): Json[] {
  if (Array.isArray(value)) return value;
  throw new CannotMap('invalid_value', path, 'It must be a list.');
}
