import { canaryTenant } from '../../../shared/health/canary-batch.ts';
import { type Acceptance, acceptanceSchema, controlSchema } from '../../../shared/journal/facts.ts';
import { equalBytes } from '../../../shared/journal/json.ts';
import {
  acceptancesPrefix,
  batchOfKey,
  controlKey,
  fileContentKey,
  fileDeletedKey,
  fileMetaKey,
  manifestKey,
  openKey,
  publicationKey,
} from '../../../shared/journal/keys.ts';
import type { EpochMs } from '../../../shared/units.ts';
import { type Cloud, clouds, type World } from '../world.ts';
import { acceptanceOf, anywhere, factOf } from './journal.ts';
import type { Judge } from './judge.ts';

/**
 * I4: no `dual` receipt before hint, manifest and input are durable, with equal bytes, in both stores; a `single` receipt
 * only under an epoch that fences the other or where intake is `available`, and mirrored once the world has come to rest.
 * Looked at twice: when the acceptance becomes a fact at the site that wrote it, and when the client hears.
 */
export function acceptedIsMirrored(world: World): Judge {
  const { record, stores, settings } = world;
  const hintedAt = new Map<string, EpochMs>();
  const lacking = (site: Cloud, { tenant, batch, fileId }: Acceptance): string[] => {
    const { journal, state } = stores[site];
    // A file may be deleted, and a batch end, before we look.
    const isGone = journal.peek(fileDeletedKey(tenant, fileId)) !== undefined;
    const isOver = journal.peek(publicationKey(tenant, batch)) !== undefined;
    const wanted = [
      manifestKey(tenant, batch),
      ...(isGone ? [] : [fileMetaKey(tenant, fileId), fileContentKey(tenant, fileId)]),
    ];
    const missing = wanted.filter((key) => {
      const bytes = journal.peek(key);
      return bytes === undefined || !equalBytes(bytes, anywhere(world, key)!);
    });
    const hint = openKey(tenant, batch);
    // A store that was lost since had it: what loses a store also loses what an intake under way had put there.
    const wipedAt = record.wipedAt.get(site);
    const isLost = wipedAt !== undefined && (hintedAt.get(`${site} ${hint}`) ?? Number.POSITIVE_INFINITY) <= wipedAt;
    if (!isOver && !isLost && state.peek(hint) === undefined) missing.push('its hint');
    return missing;
  };
  const judge = (acceptance: Acceptance, when: string, sites: readonly Cloud[] = clouds) => {
    const { batch, receipt, site, epoch } = acceptance;
    if (receipt === 'dual')
      for (const one of sites)
        for (const what of lacking(one, acceptance))
          record.violated('I4', `${batch} has a dual receipt ${when}, and ${one} lacks ${what}`);
    if (receipt !== 'single' || settings.intake === 'available') return;
    // A process that starts learns from whichever journal knows most: its own may lack the entry by now.
    const key = controlKey(epoch);
    const entry = anywhere(world, key) ?? stores.witness.journal.peek(key);
    const parsed = entry === undefined ? undefined : factOf(controlSchema, entry);
    const others = parsed !== undefined && 'fact' in parsed ? Object.entries(parsed.fact.sites) : [];
    if (!others.some(([id, { state }]) => id !== site && state === 'fenced'))
      record.violated('I4', `${batch} has a single receipt under epoch ${epoch}, which fences nobody`);
  };
  return {
    watcher: {
      created({ site, container }, key, bytes) {
        if (key.startsWith('open/')) hintedAt.set(`${site} ${key}`, record.now);
        if (container !== 'journal' || !key.includes('/acceptances/')) return;
        const parsed = factOf(acceptanceSchema, bytes);
        const at = batchOfKey(key);
        if ('fault' in parsed || at === undefined || at.tenant === canaryTenant) return;
        const { fact } = parsed;
        if (fact.receipt === 'single') record.reach('single receipt');
        if (fact.site === site) judge(fact, 'as its site wrote it');
      },
      receipt({ tenant, batch, receipt, by }) {
        const keys = stores[by as Cloud].journal.keysUnder(acceptancesPrefix(tenant, batch));
        const held = keys.length > 0;
        if (!held) record.violated('I4', `a client holds a receipt of ${by} for ${batch}, which ${by} never accepted`);
        if (receipt !== 'dual') return;
        // A job that came twice may have two input files: each site must be able to do it alone, with the one it counts.
        for (const site of clouds) {
          const acceptance = acceptanceOf(world, { tenant, batch }, [site]) ?? acceptanceOf(world, { tenant, batch });
          if (acceptance !== undefined) judge({ ...acceptance, receipt }, 'as its client heard', [site]);
        }
      },
    },
  };
}
