import { describe, expect, test } from '@jest/globals';
import { chatAnswer } from '../../../shared/inference/bedrock/chat-answer.ts';
import { converseRequest } from '../../../shared/inference/bedrock/chat-request.ts';
import type { CannotMap } from '../../../shared/inference/refusal.ts';
import type { Json, JsonObject } from '../../../shared/journal/json.ts';

const hi: Json = [{ role: 'user', content: 'hi' }];
const body = (more: JsonObject = {}): JsonObject => ({ model: 'amazon.nova-lite-v1:0', messages: hi, ...more });
const png = 'iVBORw0KGgo=';
const tool = { type: 'function', function: { name: 'weather', parameters: { type: 'object' } } };

function refusalOf(request: JsonObject): { code: string; param: string; message: string } {
  try {
    converseRequest(request);
  } catch (error) {
    const { code, param, message } = error as CannotMap;
    return { code, param, message };
  }
  throw new Error('it was taken');
}

describe('a chat request becomes a Converse request', () => {
  test('of nothing but what was said', () => {
    expect(converseRequest(body())).toEqual({
      modelId: 'amazon.nova-lite-v1:0',
      messages: [{ role: 'user', content: [{ text: 'hi' }] }],
    });
  });

  test('system and developer messages stand apart, in their order', () => {
    const messages = [
      { role: 'system', content: 'Be short.' },
      { role: 'developer', content: [{ type: 'text', text: 'Be kind.' }] },
      { role: 'user', content: 'hi' },
    ];
    const request = converseRequest(body({ messages }));
    expect(request.system).toEqual([{ text: 'Be short.' }, { text: 'Be kind.' }]);
    expect(request.messages).toHaveLength(1);
  });

  test('neighbours of one role become one message, tool results among the user', () => {
    const messages: Json = [
      { role: 'user', content: 'Rome and Oslo?' },
      { role: 'user', content: 'Today.' },
      {
        role: 'assistant',
        content: '',
        tool_calls: [
          { id: 'call_1', type: 'function', function: { name: 'weather', arguments: '{"city":"Rome"}' } },
          { id: 'call_2', type: 'function', function: { name: 'weather', arguments: '{"city":"Oslo"}' } },
        ],
      },
      { role: 'tool', tool_call_id: 'call_1', content: 'sun' },
      { role: 'tool', tool_call_id: 'call_2', content: [{ type: 'text', text: 'snow' }] },
      { role: 'user', content: 'And?' },
    ];
    expect(converseRequest(body({ messages, tools: [tool] })).messages).toEqual([
      { role: 'user', content: [{ text: 'Rome and Oslo?' }, { text: 'Today.' }] },
      {
        role: 'assistant',
        content: [
          { toolUse: { toolUseId: 'call_1', name: 'weather', input: { city: 'Rome' } } },
          { toolUse: { toolUseId: 'call_2', name: 'weather', input: { city: 'Oslo' } } },
        ],
      },
      {
        role: 'user',
        content: [
          { toolResult: { toolUseId: 'call_1', content: [{ text: 'sun' }] } },
          { toolResult: { toolUseId: 'call_2', content: [{ text: 'snow' }] } },
          { text: 'And?' },
        ],
      },
    ]);
  });

  test('an image that came along is its bytes', () => {
    const content: Json = [
      { type: 'text', text: 'What is it?' },
      { type: 'image_url', image_url: { url: `data:image/jpg;base64,${png}`, detail: 'auto' } },
    ];
    const [message] = converseRequest(body({ messages: [{ role: 'user', content }] })).messages;
    expect(message!.content[1]).toEqual({
      image: { format: 'jpeg', source: { bytes: new Uint8Array(Buffer.from(png, 'base64')) } },
    });
  });

  test('sampling, length and stops', () => {
    const asked = { temperature: 0.2, top_p: 1, max_completion_tokens: 50, stop: 'END' };
    expect(converseRequest(body(asked)).inferenceConfig).toEqual({
      temperature: 0.2,
      topP: 1,
      maxTokens: 50,
      stopSequences: ['END'],
    });
    expect(converseRequest(body({ max_tokens: 9, stop: ['a', 'b'] })).inferenceConfig).toEqual({
      maxTokens: 9,
      stopSequences: ['a', 'b'],
    });
  });

  test.each<[Json, unknown]>([
    [undefined as never, undefined],
    [null, undefined],
    ['auto', { auto: {} }],
    ['required', { any: {} }],
    [{ type: 'function', function: { name: 'weather' } }, { tool: { name: 'weather' } }],
  ])('tool choice %j', (choice, expected) => {
    const { toolConfig } = converseRequest(body({ tools: [tool], tool_choice: choice }));
    expect(toolConfig?.toolChoice).toEqual(expected);
    expect(toolConfig?.tools).toEqual([{ toolSpec: { name: 'weather', inputSchema: { json: { type: 'object' } } } }]);
  });

  test('tools that may not be chosen, and never were, are not offered', () => {
    expect(converseRequest(body({ tools: [tool], tool_choice: 'none' })).toolConfig).toBeUndefined();
  });

  test('a tool without parameters takes an object without members', () => {
    const bare = { type: 'function', function: { name: 'now', description: 'The time.', strict: true } };
    expect(converseRequest(body({ tools: [bare] })).toolConfig?.tools[0]).toEqual({
      toolSpec: {
        name: 'now',
        description: 'The time.',
        strict: true,
        inputSchema: { json: { type: 'object', properties: {} } },
      },
    });
  });

  test('a JSON Schema for the answer', () => {
    const json_schema = { name: 'city', schema: { type: 'object' }, strict: true };
    expect(converseRequest(body({ response_format: { type: 'json_schema', json_schema } })).outputConfig).toEqual({
      textFormat: {
        type: 'json_schema',
        structure: { jsonSchema: { schema: '{"type":"object"}', name: 'city' } },
      },
    });
    expect(converseRequest(body({ response_format: { type: 'text' } })).outputConfig).toBeUndefined();
  });

  test('metadata and user are kept beside the request', () => {
    expect(converseRequest(body({ metadata: { job: 'n-1' }, user: 'u@x' })).requestMetadata).toEqual({
      job: 'n-1',
      user: 'u@x',
    });
  });

  test('what changes nothing may stand there', () => {
    const idle = { stream: false, n: 1, logprobs: false, presence_penalty: 0, frequency_penalty: 0, store: false };
    const request = converseRequest(body({ ...idle, parallel_tool_calls: true, seed: null, logit_bias: null }));
    expect(Object.keys(request)).toEqual(['modelId', 'messages']);
  });
});

describe('what Converse cannot say is refused by name', () => {
  test.each<[string, JsonObject]>([
    ['n', { n: 2 }],
    ['seed', { seed: 7 }],
    ['logit_bias', { logit_bias: { 50256: -100 } }],
    ['logprobs', { logprobs: true }],
    ['top_logprobs', { top_logprobs: 2 }],
    ['frequency_penalty', { frequency_penalty: 0.5 }],
    ['presence_penalty', { presence_penalty: 0.5 }],
    ['stream', { stream: true }],
    ['parallel_tool_calls', { parallel_tool_calls: false }],
    ['reasoning_effort', { reasoning_effort: 'low' }],
    ['service_tier', { service_tier: 'flex' }],
    ['functions', { functions: [] }],
    ['modalities', { modalities: ['text', 'audio'] }],
    ['what_comes_next_year', { what_comes_next_year: true }],
    ['temperature', { temperature: 1.5 }],
    ['top_p', { top_p: -0.1 }],
    ['max_tokens', { max_tokens: 5, max_completion_tokens: 6 }],
    ['max_tokens', { max_tokens: '5' }],
    ['stop', { stop: [1] }],
    ['metadata.note', { metadata: { note: 'a\u0000b' } }],
    ['response_format.type', { response_format: { type: 'json_object' } }],
    ['response_format.json_schema.schema', { response_format: { type: 'json_schema', json_schema: {} } }],
    ['tools[0].type', { tools: [{ type: 'custom', custom: { name: 'x' } }] }],
    ['tools[0].function.parameters', { tools: [{ type: 'function', function: { name: 'x', parameters: [] } }] }],
    ['tool_choice', { tools: [tool], tool_choice: { type: 'allowed_tools', allowed_tools: {} } }],
    ['tool_choice', { tool_choice: 'required' }],
    ['messages', { messages: [] }],
    ['messages[0].name', { messages: [{ role: 'user', content: 'hi', name: 'Ann' }] }],
    ['messages[0].role', { messages: [{ role: 'function', content: 'hi' }] }],
    ['messages[0].content', { messages: [{ role: 'user' }] }],
    [
      'messages[1].role',
      {
        messages: [
          { role: 'user', content: 'hi' },
          { role: 'system', content: 'Be short.' },
        ],
      },
    ],
    ['messages[0].refusal', { messages: [{ role: 'assistant', content: 'no', refusal: 'no' }] }],
    ['messages[0].audio', { messages: [{ role: 'assistant', content: 'no', audio: { id: 'a' } }] }],
    [
      'messages[0].content[0].type',
      { messages: [{ role: 'user', content: [{ type: 'input_audio', input_audio: {} }] }] },
    ],
    [
      'messages[0].content[0].image_url.url',
      {
        messages: [{ role: 'user', content: [{ type: 'image_url', image_url: { url: 'http://169.254.169.254/x' } }] }],
      },
    ],
    [
      'messages[0].content[0].image_url.url',
      {
        messages: [
          { role: 'user', content: [{ type: 'image_url', image_url: { url: `data:image/tiff;base64,${png}` } }] },
        ],
      },
    ],
    [
      'messages[0].content[0].image_url.detail',
      {
        messages: [
          {
            role: 'user',
            content: [{ type: 'image_url', image_url: { url: `data:image/png;base64,${png}`, detail: 'low' } }],
          },
        ],
      },
    ],
    [
      'messages[0].tool_calls[0].function.arguments',
      {
        messages: [
          { role: 'assistant', tool_calls: [{ id: 'c', type: 'function', function: { name: 'f', arguments: '[1]' } }] },
        ],
      },
    ],
    [
      'messages[0].tool_calls[0].function.arguments',
      {
        messages: [
          {
            role: 'assistant',
            tool_calls: [
              {
                id: 'c',
                type: 'function',
                function: { name: 'f', arguments: `{"a":${'['.repeat(5000)}${']'.repeat(5000)}}` },
              },
            ],
          },
        ],
      },
    ],
  ])('%s in %j', (param, more) => {
    const refused = refusalOf(body(more));
    expect(refused.param).toBe(param);
    expect(refused.code).toMatch(/^(unsupported_parameter|unsupported_value|invalid_value)$/);
    expect(refused.message.length).toBeGreaterThan(10);
  });

  test('tools that were used cannot be forbidden', () => {
    const messages = [...(hi as Json[]), { role: 'tool', tool_call_id: 'c', content: 'x' }];
    expect(refusalOf(body({ messages, tools: [tool], tool_choice: 'none' })).param).toBe('tool_choice');
  });
});

describe('a Converse response becomes a chat completion', () => {
  const usage = { inputTokens: 10, outputTokens: 5, totalTokens: 15 };
  const response = (content: Json, stopReason = 'end_turn', more: JsonObject = {}): JsonObject => ({
    output: { message: { role: 'assistant', content } },
    stopReason,
    usage,
    ...more,
  });
  const answered = (value: Json) => {
    const reply = chatAnswer(value, 'm', 'req-1', 1_700_000_000_500);
    if (reply.kind !== 'answered') throw new Error(reply.kind);
    // biome-ignore lint/suspicious/noExplicitAny: read member by member
    return reply.body as any;
  };

  test('with one choice, in the shape of OpenAI', () => {
    expect(answered(response([{ text: 'Hel' }, { text: 'lo' }]))).toEqual({
      id: 'chatcmpl-req-1',
      object: 'chat.completion',
      created: 1_700_000_000,
      model: 'm',
      choices: [
        {
          index: 0,
          message: { role: 'assistant', content: 'Hello', refusal: null },
          logprobs: null,
          finish_reason: 'stop',
        },
      ],
      usage: {
        prompt_tokens: 10,
        completion_tokens: 5,
        total_tokens: 15,
        prompt_tokens_details: { cached_tokens: 0 },
      },
      system_fingerprint: null,
    });
  });

  test('tool calls are calls, their arguments JSON', () => {
    const content: Json = [
      { text: 'Let me see.' },
      { toolUse: { toolUseId: 't1', name: 'weather', input: { city: 'Rome' } } },
    ];
    const { message, finish_reason } = answered(response(content, 'tool_use')).choices[0];
    expect(finish_reason).toBe('tool_calls');
    expect(message.content).toBe('Let me see.');
    expect(message.tool_calls).toEqual([
      { id: 't1', type: 'function', function: { name: 'weather', arguments: '{"city":"Rome"}' } },
    ]);
  });

  test('reasoning is kept apart from the answer', () => {
    const content: Json = [{ reasoningContent: { reasoningText: { text: 'hm' } } }, { text: 'yes' }];
    expect(answered(response(content)).choices[0].message).toMatchObject({ content: 'yes', reasoning_content: 'hm' });
  });

  test('cached tokens are among those of the prompt, as OpenAI counts them', () => {
    const cached = { ...usage, cacheReadInputTokens: 100, cacheWriteInputTokens: 20 };
    expect(answered(response([{ text: 'x' }], 'end_turn', { usage: cached })).usage).toEqual({
      prompt_tokens: 130,
      completion_tokens: 5,
      total_tokens: 135,
      prompt_tokens_details: { cached_tokens: 100 },
    });
  });

  test.each([
    ['end_turn', 'stop'],
    ['stop_sequence', 'stop'],
    ['max_tokens', 'length'],
    ['model_context_window_exceeded', 'length'],
    ['guardrail_intervened', 'content_filter'],
    ['content_filtered', 'content_filter'],
  ])('%s means %s', (stopReason, finishReason) => {
    expect(answered(response([{ text: 'x' }], stopReason)).choices[0].finish_reason).toBe(finishReason);
  });

  test.each<[string, Json]>([
    ['a tool call that is malformed', response([{ text: 'x' }], 'malformed_tool_use')],
    ['output that is malformed', response([{ text: 'x' }], 'malformed_model_output')],
    ['a reason that nobody knows', response([{ text: 'x' }], 'toString')],
    ['a block that a chat cannot hold', response([{ text: 'x' }, { image: {} }])],
    ['no message', { stopReason: 'end_turn' }],
    ['nothing', null],
  ])('%s is no answer', (_, value) => {
    expect(chatAnswer(value, 'm', 'r', 0)).toMatchObject({ kind: 'malformed', status: 200 });
  });
});
