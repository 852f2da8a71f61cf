import { pause } from './clock.ts';
import { UnreachableError } from './errors.ts';
import { createFailover, type FailoverOptions } from './failover.ts';
import { type Call, Http } from './http.ts';
import type {
  BatchCost,
  BatchObject,
  BatchRequest,
  CallOptions,
  CloudName,
  CommandBody,
  CommandKind,
  ControlAnswer,
  ControlPage,
  CostPage,
  FileObject,
  Health,
  LineStory,
  ModelCheckPage,
  ModelPage,
  Page,
  StatusAnswer,
} from './types.ts';
import { type Uploaded, type UploadOptions, uploadTo } from './upload.ts';

export { type EnqueueCode, EnqueueError } from './enqueue-error.ts';
export { type Enqueued, Enqueuer, type EnqueuerOptions, type Job } from './enqueuer.ts';
export { type Attempt, HoldfastApiError, reasonOf, UnreachableError } from './errors.ts';
export { type FailoverOptions, failoverFetch } from './failover.ts';
export type {
  BatchCost,
  BatchObject,
  BatchRequest,
  BatchStatus,
  CallOptions,
  CloudName,
  CommandBody,
  CommandKind,
  ControlAnswer,
  ControlPage,
  CostPage,
  FileObject,
  Health,
  LineStory,
  ModelCheck,
  ModelCheckPage,
  ModelPage,
  ModelShown,
  Page,
  StatusAnswer,
} from './types.ts';
export { chooseUpload, type Uploaded, type UploadOptions, type UploadWay } from './upload.ts';

export interface ClientOptions extends Pick<FailoverOptions, 'fetch' | 'stickMs' | 'answerMs' | 'onSwitch' | 'now'> {
  /** Base address in AWS, with or without `/v1`. At least one of `aws` and `azure` is needed; both fail over. */
  aws?: string;
  azure?: string;
  key: string;
  /** The cloud that is asked first. Default: `aws`. */
  prefer?: CloudName;
  /** How long one call is repeated while no cloud answers, or all say `not now`. Default 20,000 ms; 0: once. */
  retryForMs?: number;
  /** Told before each pause; a call that is about to be repeated is no failure yet. */
  onRetry?: (event: { reason: string; waitMs: number }) => void;
  /** Default: a timer. */
  sleep?: (ms: number, signal?: AbortSignal) => Promise<void>;
}

export interface WaitOptions extends CallOptions {
  /** Between two looks. Default 1,000 ms. */
  pollMs?: number;
  onChange?: (batch: BatchObject) => void;
  /** Called when no cloud answers; waiting goes on, unless it throws. */
  onTrouble?: (error: UnreachableError) => void;
}

export interface ListOptions extends CallOptions {
  limit?: number;
  /** Id of the last one already seen. */
  after?: string;
}

/** Holdfast on two clouds. Every method tries the other cloud where one does not answer. */
export interface HoldfastClient {
  /** The clouds it asks, in order of preference. */
  readonly clouds: readonly CloudName[];
  /** The same client, asking one cloud alone. @throws Error if that cloud has no address */
  on(cloud: CloudName): HoldfastClient;
  readonly files: {
    /** Chooses the way by size; a file that one cloud does not take goes to the other, from its start. */
    upload(file: Blob, options?: UploadOptions): Promise<Uploaded>;
    get(id: string, options?: CallOptions): Promise<FileObject>;
    list(options?: ListOptions): Promise<Page<FileObject>>;
    delete(id: string, options?: CallOptions): Promise<{ id: string; object: 'file'; deleted: boolean }>;
    /** The bytes; reading them may still fail midway. */
    content(id: string, options?: CallOptions): Promise<Response>;
  };
  readonly batches: {
    /** Sends an `Idempotency-Key`, given or made up, so that a lost reply does not make a second batch. */
    create(request: BatchRequest, options?: CallOptions & { idempotencyKey?: string }): Promise<BatchObject>;
    get(id: string, options?: CallOptions): Promise<BatchObject>;
    list(options?: ListOptions): Promise<Page<BatchObject>>;
    cancel(id: string, options?: CallOptions): Promise<BatchObject>;
    /** Looks again and again until the batch has ended. */
    wait(id: string, options?: WaitOptions): Promise<BatchObject>;
  };
  readonly ops: {
    /** The life of one line, from the facts. */
    explain(batch: string, customId: string, options?: CallOptions): Promise<LineStory>;
    /** What one batch has cost, from its facts. */
    cost(batch: string, options?: CallOptions): Promise<BatchCost>;
    /** What the newest batches have cost. Default limit 10. */
    costs(options?: ListOptions): Promise<CostPage>;
    /** What serves which model, as the cloud that answers was deployed with. */
    models(options?: CallOptions): Promise<ModelPage>;
    /** Asks the models of the cloud that answers for one token each. */
    checkModels(request?: { alias?: string; endpoint?: string }, options?: CallOptions): Promise<ModelCheckPage>;
    /** What the cloud that answers sees of control log, stores and queues. */
    health(options?: CallOptions): Promise<Health>;
    /** The page of whoever was woken. Operators only, as what follows. */
    status(options?: CallOptions): Promise<StatusAnswer>;
    /** The control entry that stands, and the last ones before it. */
    control(options?: CallOptions): Promise<ControlPage>;
    /**
     * Sends a command; without an `operation_id` it makes one up. Sent again to the other cloud when one does not
     * answer, it still happens once.
     */
    command<K extends CommandKind>(kind: K, body: CommandBody<K>, options?: CallOptions): Promise<ControlAnswer>;
  };
}

const endings: readonly string[] = ['completed', 'failed', 'expired', 'cancelled'] satisfies BatchObject['status'][];

/** True once nothing about a batch will change any more. */
export function hasEnded(batch: Pick<BatchObject, 'status'>): boolean {
  return endings.includes(batch.status);
}

/**
 * A client for one or both clouds.
 * @throws Error where no address is given, or one is no `http(s)` URL
 */
export function createClient(options: ClientOptions): HoldfastClient {
  const { prefer = 'aws' } = options;
  const bases = new Map<CloudName, string>();
  for (const cloud of prefer === 'aws' ? (['aws', 'azure'] as const) : (['azure', 'aws'] as const)) {
    const url = options[cloud];
    if (url !== undefined) bases.set(cloud, rootOf(url, cloud));
  }
  if (bases.size === 0) throw new Error('createClient needs the address of at least one cloud: aws, azure');
  return clientOf(bases, options);
}

function clientOf(bases: ReadonlyMap<CloudName, string>, options: ClientOptions): HoldfastClient {
  const { key, retryForMs = 20_000, onRetry = () => {}, sleep = pause, now = Date.now } = options;
  const send: typeof fetch = options.fetch ?? ((input, init) => globalThis.fetch(input, init));
  const patient = { key, retryForMs, onRetry, sleep, now };
  const http = new Http({ ask: createFailover([...bases.values()], options), ...patient });
  const clouds = [...bases.keys()];
  const get = <T>(path: string, call?: Pick<Call, 'signal'>) => http.json<T>({ path, ...call });
  const only = (cloud: CloudName): HoldfastClient => {
    const base = bases.get(cloud);
    if (base === undefined) throw new Error(`no address of ${cloud} is known`);
    return clientOf(new Map([[cloud, base]]), options);
  };

  const client: HoldfastClient = {
    clouds,
    on: only,
    files: {
      async upload(file, given = {}) {
        // Parts lie in the cloud that took them, so the whole upload stays in one.
        const failures: unknown[] = [];
        for (const cloud of clouds) {
          const ask = createFailover([bases.get(cloud)!], options);
          const isLast = cloud === clouds.at(-1);
          const one = new Http({ ask, ...patient, retryForMs: isLast ? retryForMs : 0 });
          try {
            return await uploadTo(cloud, one, send, file, given);
          } catch (error) {
            if (given.signal?.aborted || isLast || !mayBeBetterElsewhere(error)) throw error;
            failures.push(error);
          }
        }
        throw failures.at(-1);
      },
      get: (id, call) => get(`/v1/files/${encodeURIComponent(id)}`, call),
      list: (given = {}) => get(`/v1/files${queryOf(given)}`, signalOf(given)),
      delete: (id, call) => http.json({ method: 'DELETE', path: `/v1/files/${encodeURIComponent(id)}`, ...call }),
      content: async (id, call) =>
        (await http.send({ path: `/v1/files/${encodeURIComponent(id)}/content`, ...call })).response,
    },
    batches: {
      create: (request, { signal, idempotencyKey = crypto.randomUUID() } = {}) =>
        http.json({
          method: 'POST',
          path: '/v1/batches',
          json: { completion_window: '24h', ...request },
          idempotencyKey,
          ...(signal && { signal }),
        }),
      get: (id, call) => get(`/v1/batches/${encodeURIComponent(id)}`, call),
      list: (given = {}) => get(`/v1/batches${queryOf(given)}`, signalOf(given)),
      cancel: (id, call) =>
        http.json({ method: 'POST', path: `/v1/batches/${encodeURIComponent(id)}/cancel`, json: {}, ...call }),
      async wait(id, { pollMs = 1_000, onChange, onTrouble, signal } = {}) {
        let seen = '';
        for (;;) {
          try {
            const batch = await client.batches.get(id, signal && { signal });
            const looks = JSON.stringify(batch);
            if (looks !== seen) onChange?.(batch);
            seen = looks;
            if (hasEnded(batch)) return batch;
          } catch (error) {
            if (!(error instanceof UnreachableError)) throw error;
            onTrouble?.(error);
          }
          await sleep(pollMs, signal);
        }
      },
    },
    ops: {
      explain: (batch, customId, call) =>
        get(`/ops/v1/explain/${encodeURIComponent(batch)}/${encodeURIComponent(customId)}`, call),
      cost: (batch, call) => get(`/ops/v1/cost/${encodeURIComponent(batch)}`, call),
      costs: (given = {}) => get(`/ops/v1/cost${queryOf(given)}`, signalOf(given)),
      models: (call) => get('/ops/v1/models', call),
      checkModels: (request = {}, call) =>
        http.json({ method: 'POST', path: '/ops/v1/models/check', json: request, ...call }),
      health: (call) => get('/ops/v1/health', call),
      status: (call) => get('/ops/v1/status', call),
      control: (call) => get('/ops/v1/control', call),
      command: (kind, body, call) =>
        http.json({
          method: 'POST',
          path: `/ops/v1/control/${kind}`,
          json: { ...body, operation_id: body.operation_id ?? crypto.randomUUID() },
          ...call,
        }),
    },
  };
  return client;
}

/** Nobody answered, or said `not now`; or the way to the store was cut, where presigned addresses lead. */
function mayBeBetterElsewhere(error: unknown): boolean {
  if (error instanceof UnreachableError || error instanceof TypeError) return true;
  const status = (error as { status?: unknown }).status;
  return typeof status === 'number' && status >= 500;
}

/** The address before `/v1`. */
function rootOf(url: string, cloud: CloudName): string {
  const parsed = URL.parse(url);
  if (parsed === null || !/^https?:$/.test(parsed.protocol))
    throw new Error(`${cloud}: '${url}' is not an http or https address`);
  return `${parsed.origin}${parsed.pathname.replace(/\/+$/, '').replace(/\/v1$/, '')}`;
}

function queryOf({ limit, after }: ListOptions): string {
  const query = new URLSearchParams();
  if (limit !== undefined) query.set('limit', String(limit));
  if (after !== undefined) query.set('after', after);
  return query.size === 0 ? '' : `?${query}`;
}

function signalOf({ signal }: CallOptions): { signal?: AbortSignal } {
  return signal === undefined ? {} : { signal };
}
