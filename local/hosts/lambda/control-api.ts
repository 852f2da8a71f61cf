import { randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { lambdaPayloadBytesMax } from '../../../shared/limits.ts';
import type { Log } from '../../../shared/ports/log.ts';
import { errorText } from '../log.ts';
import { readBody } from '../read-body.ts';
import { type FunctionSpec, functionArn, queueArn } from './function-spec.ts';
import type { Mapping } from './mappings.ts';
import type { FunctionPool } from './pool.ts';

/** What the control calls act on. */
export interface Controlled {
  readonly region: string;
  readonly pools: ReadonlyMap<string, FunctionPool>;
  readonly mappings: readonly Mapping[];
}

/** An answer: status, JSON or text, and headers besides. */
interface Answer {
  status: number;
  body: unknown;
  headers?: Record<string, string>;
}

/**
 * The few calls of Lambda's control plane that we use, for the unmodified `@aws-sdk/client-lambda`: `GetFunction`,
 * `Invoke`, `ListEventSourceMappings`, `GetEventSourceMapping`, `UpdateEventSourceMapping` (`Enabled` alone).
 * @source https://docs.aws.amazon.com/lambda/latest/api/API_Operations.html 2026-08
 */
export function createControlApi(controlled: Controlled, log: Log): Server {
  return createServer((request, response) => {
    answer(controlled, request)
      .catch((error): Answer => {
        log.warn('control.failed', { error: errorText(error) });
        return refusal(500, 'ServiceException', 'internal error');
      })
      .then((result) => write(response, result));
  });
}

async function answer(controlled: Controlled, request: IncomingMessage): Promise<Answer> {
  const { pathname, searchParams } = new URL(request.url ?? '/', 'http://localhost');
  const [version, noun, id, verb] = pathname.split('/').filter(Boolean).map(decodeURIComponent);
  const call = `${request.method} ${noun} ${id === undefined ? '' : ':id'} ${verb ?? ''}`.trim();
  if (version !== '2015-03-31') return refusal(404, 'ResourceNotFoundException', `no such path: ${pathname}`);

  if (noun === 'functions') {
    const pool = controlled.pools.get(nameOf(id ?? ''));
    if (!pool) return notFound(`Function not found: ${functionArn(nameOf(id ?? ''), controlled.region)}`);
    if (call === 'GET functions :id') return { status: 200, body: getFunction(pool.spec, controlled.region) };
    if (call === 'POST functions :id invocations') return invoke(pool, request);
  }
  if (call === 'GET event-source-mappings') {
    const name = searchParams.get('FunctionName');
    const arn = searchParams.get('EventSourceArn');
    const found = controlled.mappings
      .filter((mapping) => name === null || mapping.functionName === nameOf(name))
      .filter((mapping) => arn === null || queueArn(mapping.queueName, controlled.region) === arn);
    return { status: 200, body: { EventSourceMappings: found.map((mapping) => describe(mapping, controlled)) } };
  }
  if (noun === 'event-source-mappings' && id !== undefined) {
    const mapping = controlled.mappings.find(({ uuid }) => uuid === id);
    if (!mapping) return notFound('The resource you requested does not exist.');
    if (call === 'GET event-source-mappings :id') return { status: 200, body: describe(mapping, controlled) };
    if (call === 'PUT event-source-mappings :id') return update(mapping, request, controlled);
  }
  return refusal(400, 'InvalidRequestContentException', `not emulated: ${call}`);
}

async function invoke(pool: FunctionPool, request: IncomingMessage): Promise<Answer> {
  const body = await readBody(request, lambdaPayloadBytesMax);
  if (body === 'cut') return refusal(400, 'RequestAbortedException', 'the request was cut off');
  const text = body === 'tooLarge' ? '' : body.toString('utf8') || '{}';
  if (body !== 'tooLarge' && !isJson(text))
    return refusal(400, 'InvalidRequestContentException', 'Could not parse request body into json');
  const type = request.headers['x-amz-invocation-type'] ?? 'RequestResponse';
  if (type === 'DryRun') return { status: 204, body: undefined };
  const invocation = body === 'tooLarge' ? ('tooLarge' as const) : pool.invoke(text);
  if (type === 'Event' && invocation !== 'tooLarge') return { status: 202, body: undefined };
  const outcome = await invocation;
  if (outcome === 'tooLarge')
    return refusal(
      413,
      'RequestTooLargeException',
      `Request must be smaller than ${lambdaPayloadBytesMax} bytes for the InvokeFunction operation`,
    );
  return {
    status: 200,
    body: Buffer.from(outcome.payload),
    headers: {
      'x-amzn-requestid': outcome.requestId,
      'x-amz-executed-version': '$LATEST',
      ...(outcome.failed && { 'x-amz-function-error': 'Unhandled' }),
    },
  };
}

async function update(mapping: Mapping, request: IncomingMessage, controlled: Controlled): Promise<Answer> {
  const body = await readBody(request, 64 * 1024);
  const change: unknown =
    typeof body === 'string' || !isJson(body.toString()) ? undefined : JSON.parse(body.toString());
  const { Enabled, ...others } = (change ?? {}) as Record<string, unknown>;
  const foreign = Object.keys(others).filter((key) => key !== 'FunctionName' && key !== 'UUID');
  if (foreign[0] !== undefined)
    return refusal(400, 'InvalidParameterValueException', `not emulated: UpdateEventSourceMapping ${foreign[0]}`);
  if (typeof Enabled !== 'boolean') return refusal(400, 'InvalidParameterValueException', 'Enabled: must be a boolean');
  mapping.setEnabled(Enabled);
  return { status: 202, body: describe(mapping, controlled, Enabled ? 'Enabling' : 'Disabling') };
}

function describe(mapping: Mapping, { region }: Controlled, state?: string) {
  const { batchSize, windowMs, reportsItemFailures } = mapping.spec;
  return {
    UUID: mapping.uuid,
    BatchSize: batchSize,
    MaximumBatchingWindowInSeconds: windowMs / 1000,
    EventSourceArn: queueArn(mapping.queueName, region),
    FunctionArn: functionArn(mapping.functionName, region),
    FunctionResponseTypes: reportsItemFailures ? ['ReportBatchItemFailures'] : [],
    LastModified: mapping.changedAt / 1000,
    State: state ?? (mapping.enabled ? 'Enabled' : 'Disabled'),
    StateTransitionReason: 'USER_INITIATED',
  };
}

function getFunction(spec: FunctionSpec, region: string) {
  return {
    Configuration: {
      FunctionName: spec.name,
      FunctionArn: functionArn(spec.name, region),
      Runtime: 'nodejs24.x',
      Timeout: spec.timeoutMs / 1000,
      MemorySize: spec.memoryMb,
      State: 'Active',
      LastUpdateStatus: 'Successful',
      Version: '$LATEST',
    },
  };
}

/** A function is named by its name or by its ARN. */
function nameOf(nameOrArn: string): string {
  return nameOrArn.startsWith('arn:') ? (nameOrArn.split(':')[6] ?? '') : nameOrArn;
}

function notFound(message: string): Answer {
  return refusal(404, 'ResourceNotFoundException', message);
}

function refusal(status: number, type: string, message: string): Answer {
  return { status, body: { Type: 'User', Message: message }, headers: { 'x-amzn-errortype': type } };
}

function write(response: ServerResponse, { status, body, headers }: Answer): void {
  const content = body === undefined ? undefined : Buffer.isBuffer(body) ? body : Buffer.from(JSON.stringify(body));
  response.writeHead(status, { 'content-type': 'application/json', 'x-amzn-requestid': randomUUID(), ...headers });
  response.end(content);
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
