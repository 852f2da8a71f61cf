import { type Core, ownSite } from '../core.ts';
import { viewBatch } from '../journal/batch.ts';
import { batchOfKey, openPrefix } from '../journal/keys.ts';
import { listAll } from '../ports/object-store.ts';
import type { SiteId } from '../ports/site.ts';
import { assessBatch } from '../worker/assess.ts';
import { activeSites } from '../worker/owner.ts';
import { sparing } from '../worker/spare.ts';
import { type OpenWork, planOf, type RedriveProgress } from './redrive.ts';

const parallel = 8;

/** What reading needs of `Core`. */
type ReadingCore = Omit<Core, 'batching' | 'callbacks'>;

/** How far the redrive to one site has come, and how many lines its pointers still to be sent name. */
export interface RedriveReading extends RedriveProgress {
  lines: number;
}

/**
 * How far the redrive to each active site has come, read from the journal by anybody, also from a laptop with the other
 * cloud dark. Changes nothing; reads every open batch, so ask for it when a person does.
 * @throws what the store of an active site throws
 */
export async function readRedriveProgress(asker: ReadingCore): Promise<Record<SiteId, RedriveReading>> {
  // Nothing here runs a model or calls a tenant back.
  const core = asker as Core;
  const control = await core.control.current();
  const progress: Record<SiteId, RedriveReading> = {};
  for (const self of activeSites(control)) {
    const there = await sparing(core.self === self ? core : { ...core, self }, control);
    const next = listAll(ownSite(there).state, openPrefix);
    const open: OpenWork[] = [];
    const memory = { partial: new Map(), tried: new Map() };
    const walk = async () => {
      for await (const { key } of next) {
        const at = batchOfKey(key);
        const view = at === undefined ? undefined : await viewBatch(there, at.tenant, at.batch);
        if (view === undefined) continue;
        const need = await assessBatch(there, view, control, memory);
        if (need.need === 'work') open.push({ view, need });
      }
    };
    await Promise.all(Array.from({ length: parallel }, walk));
    const { redriven, left, lines } = planOf({ ...there, control: { current: async () => control } }, control, open);
    progress[self] = { redriven, left, lines };
  }
  return progress;
}
