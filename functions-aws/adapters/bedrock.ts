import {
  BedrockRuntimeClient,
  ConverseCommand,
  type ConverseCommandInput,
  InvokeModelCommand,
} from '@aws-sdk/client-bedrock-runtime';
import { NodeHttpHandler } from '@smithy/node-http-handler';
import type { BackendReply } from '../../shared/inference/backend.ts';
import type { BedrockAnswer, BedrockTransport } from '../../shared/inference/bedrock/backend.ts';
import { faultReply } from '../../shared/inference/bedrock/faults.ts';
import { parseRetryAfter } from '../../shared/inference/rate-limits.ts';
import { type Json, parseBoundedJson } from '../../shared/journal/json.ts';
import { answerBytesMax } from '../../shared/limits.ts';
import { clientDefaults, defaultTimeouts } from './http.ts';
import type { AwsCredentials } from './site.ts';

export interface BedrockConnection {
  region: string;
  /** Another address than Amazon's. */
  endpoint?: string;
  /** A Bedrock API key; goes before `credentials`. */
  apiKey?: string;
  /** Default: the SDK's own chain (environment, role). */
  credentials?: AwsCredentials;
}

/**
 * Bedrock Runtime through its SDK. One call is one request: retries are the batching core's, and how long a model may
 * take is the caller's to say.
 */
export function bedrockTransport({ region, endpoint, apiKey, credentials }: BedrockConnection): BedrockTransport {
  const { requestHandler, ...defaults } = clientDefaults(defaultTimeouts);
  const client = new BedrockRuntimeClient({
    ...defaults,
    // Its own default speaks HTTP/2, one connection for all calls: too slow to notice that a connection is dead.
    requestHandler: new BoundedHandler(requestHandler),
    region,
    endpoint,
    ...(apiKey === undefined ? { credentials } : { token: { token: apiKey } }),
    authSchemePreference: [apiKey === undefined ? 'sigv4' : 'httpBearerAuth'],
  });
  return {
    converse: (request, signal) =>
      answered(signal, async () => {
        // The shapes are the SDK's own, but for its open unions.
        const input = request as unknown as ConverseCommandInput;
        const { $metadata, ...body } = await client.send(new ConverseCommand(input), { abortSignal: signal });
        return { body: body as unknown as Json, requestId: $metadata.requestId ?? '' };
      }),
    invokeModel: (modelId, body, signal) =>
      answered(signal, async () => {
        const command = new InvokeModelCommand({
          modelId,
          body: JSON.stringify(body),
          contentType: 'application/json',
          accept: 'application/json',
        });
        let inputTokens: number | undefined;
        command.middlewareStack.add(
          (next) => async (args) => {
            const result = await next(args);
            inputTokens = tokensOf(result.response as HasHeaders);
            return result;
          },
          { step: 'deserialize' },
        );
        const { body: bytes, $metadata } = await client.send(command, { abortSignal: signal });
        const json = parseBoundedJson(bytes, { bytesMax: answerBytesMax, nodesMax: 2_000_000 });
        if ('fault' in json) return { reply: { kind: 'malformed', status: 200, detail: json.detail } };
        return {
          body: json.value,
          requestId: $metadata.requestId ?? '',
          ...(inputTokens !== undefined && { inputTokens }),
        };
      }),
  };
}

interface HasHeaders {
  headers?: Readonly<Record<string, string | undefined>>;
}

/** @source https://docs.aws.amazon.com/bedrock/latest/userguide/inference-invoke.html (response headers; 2026-11) */
function tokensOf({ headers }: HasHeaders): number | undefined {
  const count = headers?.['x-amzn-bedrock-input-token-count'];
  return count !== undefined && /^\d{1,9}$/.test(count) ? Number(count) : undefined;
}

async function answered(signal: AbortSignal, call: () => Promise<BedrockAnswer>): Promise<BedrockAnswer> {
  try {
    return await call();
  } catch (error) {
    return { reply: signal.aborted ? { kind: 'timeout' } : replyOf(error as SdkError) };
  }
}

interface SdkError extends Error {
  code?: string;
  $metadata?: { httpStatusCode?: number; requestId?: string };
  $response?: HasHeaders;
}

function replyOf(error: SdkError): BackendReply {
  const status = error.$metadata?.httpStatusCode;
  if (error instanceof TooLong || (status !== undefined && status < 300))
    return { kind: 'malformed', status: status ?? 200, detail: firstLine(error.message) };
  // What the SDK throws by itself has a name as well, but no answer.
  const reply =
    status === undefined
      ? undefined
      : faultReply({
          name: error.name,
          message: error.message,
          status,
          requestId: error.$metadata?.requestId,
          retryAfterMs: parseRetryAfter(error.$response?.headers?.['retry-after'] ?? null, Date.now()),
        });
  return (
    reply ?? { kind: 'unreachable', detail: String(error.code ?? `${error.name}: ${error.message}`).slice(0, 200) }
  );
}

/** The SDK adds a line on how to look into its error. */
function firstLine(message: string): string {
  return String(message).split('\n')[0]!.slice(0, 200);
}

class TooLong extends Error {
  constructor() {
    super(`over ${answerBytesMax} bytes`);
  }
}

/** Ends an answer that is longer than we take, before all of it is in memory. */
class BoundedHandler extends NodeHttpHandler {
  override async handle(...args: Parameters<NodeHttpHandler['handle']>): ReturnType<NodeHttpHandler['handle']> {
    const handled = await super.handle(...args);
    const { body } = handled.response;
    let length = 0;
    body.on('data', (piece: Uint8Array) => {
      length += piece.byteLength;
      if (length > answerBytesMax) body.destroy(new TooLong());
    });
    // Whoever collects it listens later: until then nothing may flow past.
    body.pause();
    return handled;
  }
}
