import type { Hono } from 'hono';
import { ManualClock } from '../../../local/in-memory/clock.ts';
import { Faults } from '../../../local/in-memory/faults.ts';
import { faultyQueue, faultyStore } from '../../../local/in-memory/faulty.ts';
import { InMemoryObjectStore, type StoreOp } from '../../../local/in-memory/object-store.ts';
import { InMemoryQueue, type QueueOp } from '../../../local/in-memory/queue.ts';
import type { ApiEnv } from '../../../shared/api/env.ts';
import { type ApiOptions, createApi } from '../../../shared/api/index.ts';
import { createApiKey, type NewApiKey } from '../../../shared/api/keys.ts';
import type { ApiCore } from '../../../shared/api/placement.ts';
import type { ModelEntry } from '../../../shared/core.ts';
import type { ControlEntry, Publication, SiteState } from '../../../shared/journal/facts.ts';
import { factBytes } from '../../../shared/journal/facts.ts';
import { sha256 } from '../../../shared/journal/json.ts';
import { publicationKey } from '../../../shared/journal/keys.ts';
import type { Log } from '../../../shared/ports/log.ts';
import type { Site, Stores } from '../../../shared/ports/site.ts';
import { defaultSettings, type Settings } from '../../../shared/settings.ts';
import { publicationOf as anyPublication } from '../../support/publication.ts';

export const start = Date.UTC(2026, 7, 21, 12);

/** One store of one site: what is in it, and what goes wrong on the way to it. */
export interface StoreHand {
  inner: InMemoryObjectStore;
  faults: Faults<StoreOp>;
}

export interface SiteHand {
  journal: StoreHand;
  state: StoreHand;
  intake: { inner: InMemoryQueue; faults: Faults<QueueOp> };
  /** Refuses every call to the site, or lets them through again. */
  dark(on: boolean): void;
}

/** Two clouds and a witness in memory, under one clock that stands still. */
export interface World {
  clock: ManualClock;
  hands: Record<'aws' | 'azure' | 'witness', SiteHand>;
  control: { entry: ControlEntry };
  /** What the model map says of any alias. */
  models: { entry: ModelEntry | undefined };
  logged: { event: string; fields: Record<string, unknown> }[];
  /** The core as a process of `self` has it. */
  core(self: 'aws' | 'azure', settings?: Partial<Settings>): ApiCore;
  /** The front door of `self`. */
  api(self: 'aws' | 'azure', options?: Partial<ApiOptions>, settings?: Partial<Settings>): Hono<ApiEnv>;
  /** A secret with these rights. */
  key(wanted?: Partial<NewApiKey>): Promise<string>;
  /** Every journal key of a site. */
  keys(site: 'aws' | 'azure', prefix?: string): Promise<string[]>;
}

export function createWorld(): World {
  const clock = new ManualClock(start);
  const random = lcg(7);
  let serial = 0;
  // Unlike in every digit that ids are cut to.
  const ids = { uuid: () => sha256(`uuid ${++serial}`).slice(0, 32) };
  const logged: World['logged'] = [];
  const log = Object.fromEntries(
    ['debug', 'info', 'warn', 'error'].map((level) => [
      level,
      (event: string, fields = {}) => logged.push({ event, fields: { level, ...fields } }),
    ]),
  ) as unknown as Log;
  const made = (['aws', 'azure', 'witness'] as const).map((id) => [id, makeSite(id, clock, random)] as const);
  const hands = Object.fromEntries(made.map(([id, { hand }]) => [id, hand])) as World['hands'];
  const sites = new Map(made.filter(([id]) => id !== 'witness').map(([id, { site }]) => [id, site as Site]));
  const { journal, state } = made[2]![1].site;
  const control = { entry: controlEntry({ aws: 'active', azure: 'active' }) };
  const models: World['models'] = { entry: undefined };
  const core = (self: 'aws' | 'azure', settings: Partial<Settings> = {}): ApiCore => ({
    self,
    sites,
    witness: { id: 'witness', journal, state } as Stores,
    clock,
    random,
    ids,
    log,
    settings: { ...defaultSettings, ...settings },
    control: { current: async () => control.entry },
    models: {
      sitesFor: (alias) => (alias === 'only-aws' ? ['aws'] : alias === 'm' ? ['aws', 'azure'] : []),
      entryOf: () => models.entry,
    },
  });
  return {
    clock,
    hands,
    control,
    models,
    logged,
    core,
    api: (self, options = {}, settings = {}) =>
      createApi(core(self, settings), {
        bodyBytesMax: 210 * 1024 * 1024,
        cors: { origins: [] },
        version: '0',
        ...options,
      }),
    key: async (wanted = {}) =>
      (await createApiKey(core('aws'), { tenant: 'acme', role: 'submitter', ...wanted })).secret,
    keys: async (site, prefix = '') => {
      const keys: string[] = [];
      for (let after: string | undefined; ; ) {
        const page = await hands[site].journal.inner.list(prefix, { after });
        keys.push(...page.entries.map(({ key }) => key));
        if (!page.more) return keys;
        after = keys.at(-1);
      }
    },
  };
}

function makeSite(id: 'aws' | 'azure' | 'witness', clock: ManualClock, random: () => number) {
  const store = (part: string): StoreHand => ({
    inner: new InMemoryObjectStore(`${id}/${part}`),
    faults: new Faults(clock, random),
  });
  const hand = {
    journal: store('journal'),
    state: store('state'),
    intake: { inner: new InMemoryQueue({ name: `${id}/intake`, clock }), faults: new Faults<QueueOp>(clock, random) },
  };
  const site = {
    id,
    cloud: id,
    journal: faultyStore(hand.journal.inner, hand.journal.faults),
    state: faultyStore(hand.state.inner, hand.state.faults),
    intake: faultyQueue(hand.intake.inner, hand.intake.faults),
    work: new InMemoryQueue({ name: `${id}/work`, clock }),
  };
  const dark = (on: boolean) => {
    for (const { faults } of [hand.journal, hand.state, hand.intake])
      if (on) faults.set('all', { refuse: true });
      else faults.clear('all');
  };
  return { hand: { ...hand, dark }, site };
}

export function controlEntry(states: Record<'aws' | 'azure', SiteState>, epoch = 1): ControlEntry {
  const site = (cloud: 'aws' | 'azure') => ({
    cloud,
    region: 'r',
    generation: 1,
    state: states[cloud],
    weight: 50,
    fencedEpoch: states[cloud] === 'fenced' ? epoch : 0,
  });
  return {
    v: 1,
    kind: 'control',
    epoch,
    previous: epoch === 1 ? null : 'a'.repeat(64),
    at: start,
    actor: 'test',
    reason: 'test',
    operation: `op${epoch}`,
    evidence: [],
    forced: [],
    sites: { aws: site('aws'), azure: site('azure') },
    voters: ['aws', 'azure', 'witness'].map((store) => ({
      store,
      incarnation: `${store}-1`,
    })) as ControlEntry['voters'],
    frozen: false,
    moves: [],
  };
}

/** A small seeded generator. */
export function lcg(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state * 1_664_525 + 1_013_904_223) % 2 ** 32;
    return state / 2 ** 32;
  };
}

export const bearer = (secret: string): Record<string, string> => ({ authorization: `Bearer ${secret}` });

/** Any JSON answer. */
// biome-ignore lint/suspicious/noExplicitAny: tests look at what they get
export type Answer = { status: number; body: any; headers: Headers };

/** Calls a front door and reads a JSON answer. */
export async function call(
  api: Hono<ApiEnv>,
  secret: string,
  method: string,
  path: string,
  body?: unknown,
  headers: Record<string, string> = {},
): Promise<Answer> {
  const response = await api.request(path, {
    method,
    headers: {
      ...bearer(secret),
      ...(body === undefined || body instanceof FormData ? {} : { 'content-type': 'application/json' }),
      ...headers,
    },
    body:
      body === undefined
        ? undefined
        : body instanceof FormData || typeof body === 'string'
          ? body
          : JSON.stringify(body),
  });
  const text = await response.text();
  return { status: response.status, body: text === '' ? null : JSON.parse(text), headers: response.headers };
}

export const lineOf = (id: string, model = 'm') =>
  JSON.stringify({ custom_id: id, method: 'POST', url: '/v1/chat/completions', body: { model, messages: [] } });

export const inputText = (lines: number, model = 'm'): string =>
  Array.from({ length: lines }, (_, i) => `${lineOf(`r${i}`, model)}\n`).join('');

/** A multipart form as clients send it. */
export function fileForm(
  content: string | Uint8Array,
  name = 'in.jsonl',
  fields: Record<string, string> = {},
): FormData {
  const form = new FormData();
  for (const [key, value] of Object.entries({ purpose: 'batch', ...fields })) form.set(key, value);
  form.set('file', new File([content as string], name));
  return form;
}

/** Uploads a file; gives its id. */
export async function upload(api: Hono<ApiEnv>, secret: string, content: string = inputText(2)): Promise<string> {
  const answer = await call(api, secret, 'POST', '/v1/files', fileForm(content));
  if (answer.status !== 200) throw new Error(`upload answered ${answer.status}: ${JSON.stringify(answer.body)}`);
  return answer.body.id;
}

export const batchBody = (file: string, more: Record<string, unknown> = {}) => ({
  input_file_id: file,
  endpoint: '/v1/chat/completions',
  completion_window: '24h',
  ...more,
});

/** Creates a batch; gives the whole answer. */
export function createBatch(
  api: Hono<ApiEnv>,
  secret: string,
  file: string,
  options: { key?: string; more?: Record<string, unknown> } = {},
): Promise<Answer> {
  const headers: Record<string, string> = options.key === undefined ? {} : { 'idempotency-key': options.key };
  return call(api, secret, 'POST', '/v1/batches', batchBody(file, options.more), headers);
}

export const publicationOf = (batch: string, more: Partial<Publication> = {}): Publication =>
  anyPublication(batch, more, start);

/** Puts a publication into both journals, as the publisher does. */
export async function publish(world: World, publication: Publication): Promise<void> {
  for (const site of ['aws', 'azure'] as const)
    await world.hands[site].journal.inner.putIfAbsent(
      publicationKey(publication.tenant, publication.batch),
      factBytes(publication),
    );
}
