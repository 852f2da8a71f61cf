import { readHints } from '../control/open-batches.ts';
import { isCanary } from '../health/canary-batch.ts';
import { viewBatch } from '../journal/batch.ts';
import { apiKeySchema, fileMetaSchema } from '../journal/facts.ts';
import { fileMetaKey, keysPrefix, recentPrefix, timeOfInverted } from '../journal/keys.ts';
import { bounded, listEverywhere, readFact } from '../journal/replicas.ts';
import { listAll } from '../ports/object-store.ts';
import type { SiteId } from '../ports/site.ts';
import type { DurationMs, EpochMs } from '../units.ts';
import { isHeldElsewhere } from './batches.ts';
import { readEvidence } from './evidence.ts';
import type { DrillState } from './facts.ts';
import type { Drill } from './file.ts';
import { isDrillTenant } from './tenant.ts';
import type { TurnCore } from './turns.ts';
import type { BatchEvidence } from './verdict.ts';

/**
 * Batches of production that a drill concerns: those that were open when it struck, and those that were accepted while it
 * ran. They are judged as the drill's own are, as far as a bounded number of reads goes; what was left out is counted.
 */

type Placed = DrillState['production'][number];

/** Noted when the drill strikes; of more the rest is counted. */
const openMax = 200;
/** API keys whose tenants are asked what they submitted. */
const apiKeysMax = 1_000;
/** Objects of production that are read for a verdict, and for how long: a function that does it has a minute. */
const readsMax = 4_000;
const readingMs: DurationMs = 20_000;
/** Larger inputs are left out: each line's id would have to be held. */
const inputBytesMax = 32 * 1024 * 1024;
/** What ended later than so long ago may still be on its way to the other cloud. */
const settledMs: DurationMs = 60_000;

/** True for a drill that strikes everybody: planned, or by faults. */
export function concernsProduction({ holdfast: { kind, 'blast-radius': radius } }: Pick<Drill, 'holdfast'>): boolean {
  return radius.scope === 'all' && (kind === 'switchover' || kind === 'outage');
}

/** What is open now, and whether everybody but `lost` holds it; `total` counts what is beyond the bound, too. */
export async function openProduction(
  core: TurnCore,
  lost: SiteId | undefined,
): Promise<{ batches: Placed[]; total: number }> {
  const hints = await readHints(core).catch(() => []);
  const batches = await Promise.all(
    hints.slice(0, openMax).map(async ({ tenant, batch }) => ({
      tenant,
      batch,
      wasHeld: lost === undefined ? null : await isHeldElsewhere(core, batch, lost, tenant),
    })),
  );
  return { batches, total: hints.length };
}

/** What the stores tell of production, and of how much of it. */
export interface ProductionEvidence {
  /** Those that were judged: they have ended, and everything of them had the time to be in both clouds. */
  batches: BatchEvidence[];
  /** Open when the drill struck, or accepted since it began. */
  known: number;
  /** Not ended, or only just: nothing can be said of them yet. */
  unfinished: number;
  /** Left out: too many, too large, or not to be read. */
  unread: number;
}

/** @param onRead called before each object; a runner renews its lease in it */
export async function readProduction(
  core: TurnCore,
  { startedAt, production, productionTotal }: Pick<DrillState, 'startedAt' | 'production' | 'productionTotal'>,
  onRead: () => Promise<void>,
): Promise<ProductionEvidence> {
  const begunAt = core.clock.now();
  let reads = 0;
  const isOver = () => reads >= readsMax || core.clock.now() - begunAt >= readingMs;
  const noteRead = async () => {
    reads += 1;
    if (isOver()) throw new OverBudget();
    await onRead();
  };
  const accepted = await acceptedSince(core, startedAt, production).catch(() => []);
  const all = [...production, ...accepted];
  const found: ProductionEvidence = {
    batches: [],
    known: Math.max(productionTotal, production.length) + accepted.length,
    unfinished: 0,
    unread: Math.max(0, productionTotal - production.length),
  };
  for (const one of all) {
    const evidence = isOver() ? 'unread' : await evidenceOf(core, one, noteRead).catch(() => 'unread' as const);
    if (evidence === 'unread' || evidence === 'unfinished') found[evidence] += 1;
    else found.batches.push(evidence);
  }
  return found;
}

class OverBudget extends Error {}

async function evidenceOf(
  core: TurnCore,
  { tenant, batch, wasHeld }: Placed,
  onRead: () => Promise<void>,
): Promise<BatchEvidence | 'unread' | 'unfinished'> {
  await onRead();
  const view = await viewBatch(core, tenant, batch);
  if (view === undefined) return 'unread';
  const { publication, acceptance } = view;
  if (publication === undefined || core.clock.now() - publication.endedAt < settledMs) return 'unfinished';
  const meta = await readFact(core, fileMetaSchema, fileMetaKey(tenant, acceptance.fileId));
  // An input that was deleted, or whose lines never were any, has no set that could be compared.
  const isReadable = meta !== undefined && 'fact' in meta && meta.fact.bytes <= inputBytesMax;
  if (!isReadable || publication.status === 'failed') return 'unread';
  const evidence = await readEvidence(core, { tenant, batch, home: acceptance.site, wasHeld, onRead, view });
  return evidence?.isInputRead === true ? evidence : 'unread';
}

/** Batches of all tenants that were accepted since then, by the markers of their lists. */
async function acceptedSince(core: TurnCore, since: EpochMs, known: readonly Placed[]): Promise<Placed[]> {
  const { keys } = await listEverywhere(core, keysPrefix);
  const facts = keys.filter(({ key }) => /^keys\/[^/]+\.json$/.test(key)).slice(0, apiKeysMax);
  const read = await Promise.all(facts.map(({ key }) => readFact(core, apiKeySchema, key).catch(() => undefined)));
  const tenants = new Set([
    ...known.map(({ tenant }) => tenant),
    ...read.flatMap((one) => (one !== undefined && 'fact' in one ? [one.fact.tenant] : [])),
  ]);
  const isKnown = new Set(known.map(({ batch }) => batch));
  const found: Placed[] = [];
  for (const tenant of tenants) {
    if (isDrillTenant(tenant) || isCanary(tenant)) continue;
    for (const batch of await markedSince(core, tenant, since)) {
      if (isKnown.has(batch)) continue;
      isKnown.add(batch);
      found.push({ tenant, batch, wasHeld: null });
    }
  }
  return found;
}

/** Newest first, so that a long history is not walked. */
async function markedSince(core: TurnCore, tenant: string, since: EpochMs): Promise<Set<string>> {
  const prefix = recentPrefix(tenant);
  const found = new Set<string>();
  for (const site of core.sites.values()) {
    const read = async (signal: AbortSignal | undefined) => {
      for await (const { key } of listAll(site.journal, prefix, { signal })) {
        const [inverted, batch] = [key.slice(prefix.length, prefix.length + 11), key.slice(prefix.length + 12)];
        if (timeOfInverted(inverted) < since) return;
        found.add(batch);
      }
    };
    await bounded(core, site.id, read).catch(() => {});
  }
  return found;
}
