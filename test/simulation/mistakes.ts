import type { Knobs } from '../../local/simulator/knobs.ts';
import type { Disturbance } from '../../local/simulator/schedule.ts';
import type { Variant } from '../../local/simulator/variant.ts';
import { acceptorsOf, registerOptions } from '../../shared/control/acceptors.ts';
import { actOnObservations } from '../../shared/control/act.ts';
import { execute } from '../../shared/control/execute.ts';
import { learnHead } from '../../shared/control/log.ts';
import type { Core } from '../../shared/core.ts';
import type { Observation } from '../../shared/health/types.ts';
import { viewBatch } from '../../shared/journal/batch.ts';
import { chooseResults, resultReader } from '../../shared/journal/choose.ts';
import { factBytes, factVersion, noUsage, type Publication } from '../../shared/journal/facts.ts';
import { canonicalBytes, sha256 } from '../../shared/journal/json.ts';
import {
  batchOfKey,
  controlKey,
  openKey,
  openPrefix,
  publicationKey,
  publicationRegister,
} from '../../shared/journal/keys.ts';
import { decide } from '../../shared/journal/registers.ts';
import type { Delivery } from '../../shared/ports/delivery.ts';
import { listAll, type ObjectStore, type PutResult, type StateStore } from '../../shared/ports/object-store.ts';
import type { Queue } from '../../shared/ports/queue.ts';
import type { Site } from '../../shared/ports/site.ts';
import { holdFiles } from '../../shared/worker/hold-files.ts';
import { work } from '../../shared/worker/index.ts';
import { buildOutputs } from '../../shared/worker/output-files.ts';
import { parsePointer } from '../../shared/worker/pointers.ts';
import { makeReadable } from '../../shared/worker/publisher.ts';

/**
 * Mistakes that a careful person could have made, each built around the real core and none of them in it. A judge that
 * lets one pass proves nothing by its silence.
 */
export interface Mistake {
  name: string;
  /** What went wrong, in the words of FAULTS.md or of the design. */
  story: string;
  variant: Variant;
  /** Of what breaks one must be among these. */
  breaks: readonly string[];
  knobs?: Partial<Knobs>;
  /** Where drawn faults would take long to come to it. */
  schedule?: readonly Disturbance[];
  restHours?: number;
}

const minute = 60_000;
const created: PutResult = { status: 'created', etag: '"none"' };

/** The same core with other ports of its sites. */
function withSites(core: Core, change: (site: Site) => Site): Core {
  return { ...core, sites: new Map([...core.sites].map(([id, site]) => [id, change(site)])) };
}

const withStores = (site: Site, change: <S extends ObjectStore | StateStore>(store: S) => S): Site => ({
  ...site,
  journal: change(site.journal),
  state: change(site.state),
});

function effect(
  target: string,
  mode: Extract<Disturbance, { kind: 'effect' }>['mode'],
  from: number,
  until: number,
): Disturbance {
  return { kind: 'effect', target, mode, fromMs: from * minute, untilMs: until * minute };
}

const linkCut = (from: number, until: number): Disturbance[] => [
  effect('link.aws-to-azure', { kind: 'gone' }, from, until),
  effect('link.azure-to-aws', { kind: 'gone' }, from, until),
];

const failover = (from: 'aws' | 'azure', to: 'aws' | 'azure', at: number): Disturbance => ({
  kind: 'order',
  fromMs: at * minute,
  command: { kind: 'failover', from, to, scope: { kind: 'all' }, mode: 'forced' },
  force: ['target-healthy', 'minimum-interval', 'no-solo-flip'],
  at: to,
  replay: false,
});

const calm: Partial<Knobs> = {
  hours: 0.25,
  tickMs: 20_000,
  failover: 'automatic',
  intake: 'strict',
  skewMs: { aws: 0, azure: 0, outside: 0 },
  batches: 6,
  linesMax: 50,
  chunkLines: 5,
  modelP50Ms: 15_000,
  modelConcurrency: 300,
  depthLagMs: 0,
  canaries: false,
  conflicts: 0,
  killers: 0,
  torn: 0,
  laterVersions: 0,
  replaced: 'none',
  observer: true,
};

/** Open batches, as the own store hints at them. */
async function openBatches(core: Core): Promise<{ tenant: string; batch: string }[]> {
  const found = [];
  for await (const { key } of listAll(core.sites.get(core.self)!.state, openPrefix)) {
    const at = batchOfKey(key);
    if (at !== undefined) found.push(at);
  }
  return found;
}

async function publicationNow(core: Core, tenant: string, batch: string) {
  const view = await viewBatch(core, tenant, batch);
  if (view?.plan === undefined || view.publication !== undefined || view.plan.errors.length > 0) return undefined;
  const read = resultReader(core);
  const { chosen } = await chooseResults(view, read);
  if (chosen.length === 0) return undefined;
  const customIds = chosen.map(({ customId }) => customId);
  const renumbered = chosen.map((one, line) => ({ ...one, line }));
  const rows = async (key: string) => {
    const object = await read(key);
    const lineOf = new Map(chosen.map(({ line }, i) => [line, i]));
    return (
      object && { ...object, rows: object.rows.map((row) => ({ ...row, line: lineOf.get(row.line) ?? row.line })) }
    );
  };
  const files = await buildOutputs({ batch, customIds, chosen: renumbered, read: rows });
  const control = await core.control.current();
  const publication: Publication = {
    v: factVersion,
    kind: 'publication',
    batch,
    tenant,
    status: 'completed',
    site: core.self,
    epoch: control.epoch,
    counts: files.counts,
    usage: noUsage,
    model: view.plan.model,
    output: files.counts.completed > 0 ? files.files.output : null,
    errorFile: files.counts.failed > 0 ? files.files.errorFile : null,
    choice: files.files.choice,
    errors: [],
    repeats: 0,
    inProgressAt: null,
    finalizingAt: core.clock.now(),
    cancellingAt: null,
    endedAt: core.clock.now(),
    boundTo: null,
  };
  return { view, files, publication, control, isWhole: chosen.length === view.plan.lines };
}

export const mistakes: readonly Mistake[] = [
  {
    name: 'settles before it writes',
    story: 'F9: the message is settled before the result is durable, and the write fails',
    breaks: ['I1'],
    knobs: calm,
    schedule: [
      effect('aws.store.put', { kind: 'error', code: '5xx', rate: 1 }, 2, 6),
      effect('azure.store.put', { kind: 'error', code: '5xx', rate: 1 }, 2, 6),
    ],
    restHours: 1,
    variant: {
      async work(core, deliveries, options) {
        const isChunk = ({ body }: Delivery) => {
          const read = parsePointer(body);
          return 'fact' in read && read.fact.kind === 'chunk';
        };
        await Promise.all(deliveries.filter(isChunk).map((one) => one.settle({ kind: 'complete' })));
        await work(
          core,
          deliveries.map((one) => (isChunk(one) ? { ...one, settle: async () => {} } : one)),
          options,
        );
      },
    },
  },
  {
    name: 'publishes without the gate',
    story: 'a publisher that takes what there is for all there is',
    breaks: ['I2'],
    knobs: calm,
    schedule: [],
    variant: {
      async afterTick(core) {
        for (const { tenant, batch } of await openBatches(core)) {
          const draft = await publicationNow(core, tenant, batch);
          if (draft === undefined) continue;
          const { view, files, publication, control } = draft;
          const { value } = await decide(
            acceptorsOf(core, control),
            publicationRegister(batch),
            factBytes(publication),
            {
              ...registerOptions(core),
              beforeAccept: async ({ id }) => holdFiles(core, id, publication, files),
            },
          );
          await makeReadable(core, view, JSON.parse(Buffer.from(value).toString('utf8')));
        }
      },
    },
  },
  {
    name: 'publishes without a register',
    story: 'F28: two publishers on two sites, and nobody decides between them',
    breaks: ['I3', 'I5'],
    knobs: { ...calm, modelP50Ms: 200 },
    restHours: 0.3,
    schedule: linkCut(1.5, 8),
    variant: {
      async afterTick(core) {
        for (const { tenant, batch } of await openBatches(core)) {
          const draft = await publicationNow(core, tenant, batch);
          if (draft === undefined || !draft.isWhole) continue;
          await holdFiles(core, core.self, draft.publication, draft.files);
          const { journal } = core.sites.get(core.self)!;
          await journal.putIfAbsent(publicationKey(tenant, batch), factBytes(draft.publication));
        }
      },
      core: (core) =>
        withSites(core, (site) => ({
          ...site,
          intake: withoutPublish(site.intake),
        })),
    },
  },
  {
    name: 'works stale pointers',
    story: 'F34: a site comes back with old messages and works them',
    breaks: ['I6'],
    knobs: { ...calm, workersMax: 1, chunkLines: 1, modelConcurrency: 500 },
    restHours: 0.5,
    // Nobody takes the old messages off its queue: the other cloud does not reach it.
    schedule: [effect('link.azure-to-aws', { kind: 'gone' }, 2.9, 8), failover('aws', 'azure', 3)],
    variant: {
      work(core, deliveries, options) {
        const control = {
          async current() {
            const entry = await core.control.current();
            const sites = Object.fromEntries(
              Object.entries(entry.sites).map(([id, site]) => [
                id,
                { ...site, state: 'active' as const, fencedEpoch: 0 },
              ]),
            );
            return { ...entry, sites };
          },
        };
        return work({ ...core, control }, deliveries, options);
      },
    },
  },
  {
    name: 'redrives without the epoch',
    story:
      'pointers are sent again under the epoch of the acceptance: where a site was fenced since, nobody works them',
    breaks: ['liveness'],
    knobs: calm,
    restHours: 1,
    schedule: [failover('aws', 'azure', 3), failover('azure', 'aws', 9)],
    variant: {
      core: (core) =>
        withSites(core, (site) => ({
          ...site,
          work: {
            ...site.work,
            send: (messages, options) =>
              site.work.send(
                messages.map((one) => ({ ...one, body: JSON.stringify({ ...JSON.parse(one.body), epoch: 1 }) })),
                options,
              ),
          },
        })),
    },
  },
  {
    name: 'acknowledges the local copy',
    story: 'F1: acknowledged after the local write, mirrored later',
    breaks: ['I4'],
    knobs: calm,
    variant: {
      core: (core, { kind }) =>
        kind !== 'api' && kind !== 'app'
          ? core
          : withSites(core, (site) =>
              site.id === core.self
                ? site
                : withStores(site, (store) => ({ ...store, putIfAbsent: async () => created })),
            ),
    },
  },
  {
    name: 'takes a lost reply for success',
    story: 'F2: a write whose reply was lost is believed to have happened',
    breaks: ['I4'],
    knobs: calm,
    schedule: [
      effect('azure.store.put', { kind: 'error', code: '5xx', rate: 0.5 }, 0.1, 15),
      effect('aws.store.put', { kind: 'error', code: '5xx', rate: 0.5 }, 0.1, 15),
    ],
    variant: {
      core: (core) =>
        withSites(core, (site) =>
          withStores(site, (store) => ({
            ...store,
            putIfAbsent: (key, body, options) => store.putIfAbsent(key, body, options).catch(() => created),
          })),
        ),
    },
  },
  {
    name: 'votes without holding the files',
    story: 'F29: published when only one cloud has the output',
    breaks: ['I1'],
    knobs: { ...calm, modelP50Ms: 200 },
    schedule: [],
    variant: {
      core: (core) =>
        withSites(core, (site) =>
          site.id === core.self
            ? site
            : withStores(site, (store) => ({
                ...store,
                putStreamIfAbsent: (key, body, options) =>
                  key.includes('/outputs/') ? Promise.resolve(created) : store.putStreamIfAbsent(key, body, options),
              })),
        ),
    },
  },
  {
    name: 'forgets the hint early',
    story: 'F57: the hint is deleted before the files of the publication have reached the other cloud',
    breaks: ['I1', 'I8', 'liveness'],
    knobs: { ...calm, modelP50Ms: 200 },
    schedule: linkCut(2, 10),
    variant: {
      core: (core) =>
        withSites(core, (site) => ({
          ...site,
          journal: {
            ...site.journal,
            async putIfAbsent(key, body, options) {
              const result = await site.journal.putIfAbsent(key, body, options);
              const at = key.endsWith('/publication.json') ? batchOfKey(key) : undefined;
              if (at !== undefined) await site.state.delete(openKey(at.tenant, at.batch));
              return result;
            },
          },
        })),
    },
  },
  {
    name: 'mirrors no markers',
    story: 'anti-entropy that skips a prefix: what was accepted alone never reaches the other cloud whole',
    breaks: ['I8'],
    knobs: { ...calm, intake: 'available', modelP50Ms: 200 },
    restHours: 1.5,
    schedule: linkCut(1, 14),
    variant: {
      core: (core) =>
        withSites(core, (site) => ({
          ...site,
          journal: {
            ...site.journal,
            list: async (prefix, options) =>
              /\/(recent|idempotency)\/$/.test(prefix)
                ? { entries: [], more: false }
                : site.journal.list(prefix, options),
          },
        })),
    },
  },
  {
    name: 'returns without convergence',
    story: 'F36: failback straight to active before the facts were copied',
    breaks: ['I8', 'no-solo-flip'],
    knobs: { ...calm, hours: 0.6 },
    schedule: [effect('aws', { kind: 'gone' }, 3, 22)],
    variant: {
      async act(core, observations) {
        await actOnObservations(core, observations);
        const control = await core.control.current();
        for (const [site, { state }] of Object.entries(control.sites))
          if (state === 'recovering')
            await execute(
              core,
              { kind: 'failback', site, step: 100 },
              {
                operationId: `hasty-${control.epoch}`,
                expectedEpoch: control.epoch,
                actor: `monitor/${core.self}`,
                reason: 'it answers',
                observations,
                isConverged: async () => true,
              },
            );
      },
    },
  },
  {
    name: 'never sends again',
    story: 'a sweeper that believes every queue to be full: what a queue lost stays lost',
    breaks: ['liveness'],
    // One worker for many chunks: whenever messages are lost, some wait.
    knobs: { ...calm, workersMax: 1, chunkLines: 1 },
    restHours: 1,
    schedule: [
      effect('aws.queue.messages', { kind: 'gone' }, 3, 3.1),
      effect('aws.queue.messages', { kind: 'gone' }, 5, 5.1),
      effect('azure.queue.messages', { kind: 'gone' }, 4, 4.1),
      effect('azure.queue.messages', { kind: 'gone' }, 6, 6.1),
    ],
    variant: {
      core: (core) =>
        withSites(core, (site) => {
          const full = (queue: Queue): Queue => ({
            ...queue,
            depth: async () => ({ visible: 1_000_000, inFlight: 0, delayed: 0, deadLettered: 0 }),
          });
          return { ...site, intake: full(site.intake), work: full(site.work) };
        }),
    },
  },
  {
    name: 'drops what it does not know',
    story: "F17: a worker of last month's version meets a pointer of today's",
    breaks: ['I15'],
    knobs: { ...calm, batches: 2, laterVersions: 1 },
    restHours: 0.5,
    variant: {
      work: (core, deliveries, options) =>
        work(
          core,
          deliveries.map((one) => ({
            ...one,
            settle: (settlement) =>
              'fault' in parsePointer(one.body) ? one.settle({ kind: 'complete' }) : one.settle(settlement),
          })),
          options,
        ),
    },
  },
  {
    name: 'takes an outage for poison',
    story: 'F14: a provider fault spends the retry budget, and everything is failed',
    breaks: ['I10'],
    knobs: calm,
    schedule: [
      effect('aws.model', { kind: 'error', code: '5xx', rate: 1 }, 0.1, 12),
      effect('azure.model', { kind: 'error', code: '5xx', rate: 1 }, 0.1, 12),
    ],
    variant: {
      core: (core) => ({
        ...core,
        batching: {
          async run(job) {
            const rows = await core.batching.run(job);
            return rows.map((row) =>
              row.outcome === 'retry' && row.cause === 'backend'
                ? {
                    outcome: 'failed' as const,
                    line: row.line,
                    customId: row.customId,
                    code: 'failed',
                    message: row.reason,
                  }
                : row,
            );
          },
        },
      }),
    },
  },
  {
    name: 'decides without a register',
    story: 'F18: both sides write the next control entry themselves in the same second',
    breaks: ['I6', 'I5', 'I12'],
    knobs: { ...calm, batches: 2 },
    restHours: 0.2,
    schedule: linkCut(2, 14),
    variant: {
      async act(core, observations) {
        const isOtherDown = observations.some(({ observation }) =>
          observation.verdicts.some(({ site, health }) => site !== core.self && /down|degraded/.test(health)),
        );
        if (!isOtherDown) return;
        const head = await learnHead(core);
        const other = core.self === 'aws' ? 'azure' : 'aws';
        if (head.entry.sites[other]!.state === 'fenced') return;
        const epoch = head.entry.epoch + 1;
        const sites = {
          ...head.entry.sites,
          [other]: { ...head.entry.sites[other]!, state: 'fenced' as const, fencedEpoch: epoch },
        };
        const entry = {
          ...head.entry,
          epoch,
          previous: sha256(head.bytes),
          sites,
          actor: `monitor/${core.self}`,
          reason: 'it is dark',
          operation: core.ids.uuid(),
          at: core.clock.now(),
        };
        for (const site of core.sites.values())
          await site.journal.putIfAbsent(controlKey(epoch), factBytes(entry)).catch(() => {});
      },
    },
  },
  {
    name: 'never doubts itself',
    story: 'F43: the observers are the sick ones, and hold what they cannot reach for down',
    breaks: ['false-alarm'],
    knobs: { ...calm, hours: 0.6 },
    schedule: [
      effect('azure.net', { kind: 'slow', p50Ms: 5_000, p99Ms: 15_000 }, 3, 30),
      effect('outside.net', { kind: 'slow', p50Ms: 5_000, p99Ms: 15_000 }, 3, 30),
    ],
    variant: {
      core: (core, { kind }) =>
        kind !== 'app' && kind !== 'observer' ? core : { ...withSites(core, accusing), witness: accusingWitness(core) },
    },
  },
  {
    name: 'drills without a lease',
    story: 'F48: a drill that nobody may touch as long as its runner does not give it up, and the runner dies',
    breaks: ['I11'],
    knobs: { ...calm, hours: 0.5, batches: 2 },
    restHours: 0.5,
    schedule: [dyingDrill('switchover', 45_000)],
    variant: {
      core: (core, { kind }) =>
        kind !== 'drill'
          ? core
          : withSites(core, (site) => ({
              ...site,
              journal: {
                ...site.journal,
                putIfAbsent: (key, body, options) => site.journal.putIfAbsent(key, withoutLease(key, body), options),
              },
            })),
    },
  },
  {
    name: 'leaves faults to their runner',
    story: 'F48: the drill runner dies with a fault injected, and the fault has no end of its own',
    breaks: ['I11'],
    knobs: { ...calm, hours: 0.5, batches: 2 },
    restHours: 0.5,
    schedule: [dyingDrill('outage', 6_000)],
    variant: { drillFaultsStay: true },
  },
];

/** Its runner dies when the drill has cordoned or broken something, and before it has undone it. */
function dyingDrill(drill: Extract<Disturbance, { kind: 'drill' }>['drill'], diesAfterMs: number): Disturbance {
  return { kind: 'drill', fromMs: 6 * minute, drill, from: 'aws', at: 'azure', diesAfterMs };
}

/** Until the next year it is its runner's. */
function withoutLease<T>(key: string, body: T): T | Uint8Array {
  if (!/^drills\/[^/]+\/pages\//.test(key) || !(body instanceof Uint8Array)) return body;
  const page = JSON.parse(Buffer.from(body).toString('utf8'));
  return factBytes({ ...page, until: page.until + 8_760 * 3_600_000 });
}

/** A queue to which nobody sends `publish`. */
function withoutPublish(queue: Queue): Queue {
  return {
    ...queue,
    send: (messages, options) =>
      queue.send(
        messages.filter(({ body }) => !body.includes('"publish"')),
        options,
      ),
  };
}

/** Where an observer would abstain, it says instead what it would say of the other cloud if it were well itself. */
function accuse(bytes: Uint8Array): Uint8Array {
  const observation: Observation = JSON.parse(Buffer.from(bytes).toString('utf8'));
  if (observation.trustsItself) return bytes;
  const verdicts = observation.verdicts.map((verdict) =>
    verdict.site === 'aws' ? { ...verdict, health: 'down' as const, causes: ['site-dark' as const] } : verdict,
  );
  return canonicalBytes({ ...observation, trustsItself: true, verdicts } as never);
}

const isObservation = (key: string) => /^observations\/[a-z]+\.json$/.test(key);

function accusingStore(state: StateStore): StateStore {
  return {
    ...state,
    putIfAbsent: (key, body, options) => state.putIfAbsent(key, isObservation(key) ? accuse(body) : body, options),
    putIfMatch: (key, body, etag, options) =>
      state.putIfMatch(key, isObservation(key) ? accuse(body) : body, etag, options),
  };
}

const accusing = (site: Site): Site => ({ ...site, state: accusingStore(site.state) });
const accusingWitness = ({ witness }: Core) => witness && { ...witness, state: accusingStore(witness.state) };
