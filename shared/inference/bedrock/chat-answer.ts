import type { Json, JsonObject } from '../../journal/json.ts';
import { type EpochMs, unixSeconds } from '../../units.ts';
import { objectOf } from '../answer.ts';
import type { BackendReply } from '../backend.ts';

/**
 * Why Converse stopped, as OpenAI says it. The two that are absent (`malformed_model_output`, `malformed_tool_use`) and
 * those we do not know are no answers.
 * @source https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html, stopReason (2026-11)
 */
const finishReasons: Readonly<Record<string, string>> = {
  end_turn: 'stop',
  stop_sequence: 'stop',
  tool_use: 'tool_calls',
  max_tokens: 'length',
  model_context_window_exceeded: 'length',
  guardrail_intervened: 'content_filter',
  content_filtered: 'content_filter',
};

/**
 * A Converse response as an OpenAI chat completion. What a chat completion cannot say makes it malformed: half an answer
 * is none.
 * @param response as the SDK gives it
 * @param model that was asked: Converse does not repeat it
 */
export function chatAnswer(response: Json, model: string, requestId: string, now: EpochMs): BackendReply {
  const answer = objectOf(response);
  const stopReason = String(answer?.stopReason);
  const finishReason = Object.hasOwn(finishReasons, stopReason) ? finishReasons[stopReason]! : undefined;
  const blocks = objectOf(objectOf(answer?.output)?.message)?.content;
  if (finishReason === undefined) return malformed(`stopReason ${stopReason.slice(0, 60)}`);
  if (!Array.isArray(blocks)) return malformed('no message');
  const message: JsonObject = { role: 'assistant', content: null, refusal: null };
  for (const block of blocks) {
    const fault = addBlock(message, objectOf(block));
    if (fault !== undefined) return malformed(fault);
  }
  return {
    kind: 'answered',
    status: 200,
    requestId,
    body: {
      id: `chatcmpl-${requestId}`,
      object: 'chat.completion',
      created: unixSeconds(now),
      model,
      choices: [{ index: 0, message, logprobs: null, finish_reason: finishReason }],
      usage: usage(objectOf(answer?.usage)),
      system_fingerprint: null,
    },
  };
}

/** @returns what is wrong with the block, if anything */
function addBlock(message: JsonObject, block: JsonObject | undefined): string | undefined {
  if (typeof block?.text === 'string') {
    message.content = `${message.content ?? ''}${block.text}`;
    return undefined;
  }
  const call = objectOf(block?.toolUse);
  if (call !== undefined) {
    message.tool_calls ??= [];
    (message.tool_calls as Json[]).push({
      id: String(call.toolUseId),
      type: 'function',
      function: { name: String(call.name), arguments: JSON.stringify(call.input ?? {}) },
    });
    return undefined;
  }
  const reasoning = objectOf(block?.reasoningContent);
  if (reasoning !== undefined) {
    // Chat completions have no member for it; this is the one that most servers use. What is redacted says nothing.
    const said = objectOf(reasoning.reasoningText)?.text;
    if (typeof said === 'string') message.reasoning_content = `${message.reasoning_content ?? ''}${said}`;
    return undefined;
  }
  return `a block of ${Object.keys(block ?? {})[0] ?? 'nothing'}`.slice(0, 100);
}

/**
 * OpenAI counts cached tokens among those of the prompt, Bedrock beside them.
 * @source https://docs.aws.amazon.com/bedrock/latest/userguide/prompt-caching.html (2026-11)
 */
function usage(counted: JsonObject | undefined): JsonObject {
  const read = count(counted?.cacheReadInputTokens);
  const prompt = count(counted?.inputTokens) + read + count(counted?.cacheWriteInputTokens);
  const completion = count(counted?.outputTokens);
  return {
    prompt_tokens: prompt,
    completion_tokens: completion,
    total_tokens: prompt + completion,
    prompt_tokens_details: { cached_tokens: read },
  };
}

function count(value: Json | undefined): number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value > 0 ? value : 0;
}

function malformed(detail: string): BackendReply {
  return { kind: 'malformed', status: 200, detail };
}
