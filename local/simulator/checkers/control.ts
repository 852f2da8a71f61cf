import { canaryTenant } from '../../../shared/health/canary-batch.ts';
import { type ControlEntry, controlSchema, dispatchSchema } from '../../../shared/journal/facts.ts';
import { sha256 } from '../../../shared/journal/json.ts';
import { parseResultKey } from '../../../shared/journal/keys.ts';
import { type Cloud, clouds, type World } from '../world.ts';
import { factOf } from './journal.ts';
import type { Judge } from './judge.ts';

/** The entries of the control log as they became readable, by epoch. */
export class ControlHistory {
  readonly entries = new Map<number, { entry: ControlEntry; bytes: Uint8Array }>();
  /** The entry of the highest epoch. */
  head: ControlEntry | undefined;

  add(entry: ControlEntry, bytes: Uint8Array): void {
    this.entries.set(entry.epoch, { entry, bytes });
    if (this.head === undefined || entry.epoch > this.head.epoch) this.head = entry;
  }
}

const isControlKey = (key: string) => /^control\/\d{8}\.json$/.test(key);

/**
 * I6, I7, I12 of the log itself: one entry an epoch, no gap, each naming the hash of the one before, with an actor and a
 * reason, and at least one site active.
 */
export function controlLogHolds({ record, stores }: World, history: ControlHistory): Judge {
  return {
    watcher: {
      created({ container, name }, key, bytes) {
        if (container !== 'journal' || !isControlKey(key)) return;
        const parsed = factOf(controlSchema, bytes);
        if ('fault' in parsed) return record.violated('I12', `${key} in ${name} cannot be read: ${parsed.detail}`);
        const { epoch, previous, actor, reason, sites } = parsed.fact;
        const known = history.entries.get(epoch);
        if (known !== undefined) {
          if (sha256(known.bytes) !== sha256(bytes)) record.violated('I6', `two entries of epoch ${epoch}`);
          return;
        }
        history.add(parsed.fact, bytes);
        if (actor === '' || reason === '') record.violated('I12', `epoch ${epoch} names no actor or no reason`);
        if (!Object.values(sites).some(({ state }) => state === 'active'))
          record.violated('I7', `epoch ${epoch} leaves no site active`);
        const before = history.entries.get(epoch - 1);
        if (epoch > 1 && before === undefined) record.violated('I6', `epoch ${epoch} is readable before ${epoch - 1}`);
        if (before !== undefined && previous !== sha256(before.bytes))
          record.violated('I12', `epoch ${epoch} does not follow epoch ${epoch - 1}`);
        notePoints(record, parsed.fact, before?.entry);
      },
    },
    atEnd() {
      const epochs = Math.max(...history.entries.keys());
      for (const site of clouds)
        for (let epoch = 1; epoch <= epochs; epoch++)
          if (stores[site].journal.peek(`control/${String(epoch).padStart(8, '0')}.json`) === undefined)
            record.violated('I6', `${site} lacks epoch ${epoch} of ${epochs}`);
    },
  };
}

function notePoints(record: World['record'], entry: ControlEntry, before: ControlEntry | undefined): void {
  if (before === undefined) return;
  const by = entry.actor.startsWith('monitor/') ? 'machine' : 'person';
  for (const [id, site] of Object.entries(entry.sites)) {
    const was = before.sites[id]!;
    if (was.state !== 'fenced' && site.state === 'fenced') record.reach(`failed over by ${by}`);
    if (was.state === 'fenced' && site.state === 'recovering') record.reach('failback began');
    if (was.state === 'recovering' && site.state === 'active') record.reach('site returned');
    if (was.state === 'active' && site.state === 'active' && site.weight === 100 && was.weight < 100)
      record.reach('failback completed');
    if (by === 'machine' && was.state === 'active' && site.state === 'active' && site.weight < was.weight)
      record.reach('failback step rolled back');
  }
  if (entry.moves.length > before.moves.length) record.reach('model or batch moved');
}

/**
 * I6 of work: nothing is dispatched under an epoch to a site which that epoch fences, and nothing is worked by a site
 * under an epoch that fences it.
 */
export function fencedSitesRest({ record }: World, history: ControlHistory): Judge {
  const crashesAtRedrive = new Map<string, number>();
  const isFenced = (epoch: number, site: string) => history.entries.get(epoch)?.entry.sites[site]?.state === 'fenced';
  return {
    watcher: {
      created({ container }, key, bytes) {
        if (container !== 'journal' || key.startsWith(`t/${canaryTenant}/`)) return;
        if (key.includes('/dispatches/')) {
          const parsed = factOf(dispatchSchema, bytes);
          if ('fault' in parsed) return;
          const { epoch, to, batch, reason } = parsed.fact;
          record.reach(`dispatched for ${reason}`);
          if (reason === 'redrive') {
            const crashes = record.reached.get('process crashed') ?? 0;
            const before = crashesAtRedrive.get(`${epoch} ${to}`) ?? crashes;
            crashesAtRedrive.set(`${epoch} ${to}`, before);
            if (crashes > before) record.reach('redrive resumed after a crash');
          }
          if (isFenced(epoch, to))
            record.violated('I6', `${batch}: a wave went to ${to} under epoch ${epoch}, which fences it`);
        }
        const result = parseResultKey(key);
        if (result !== undefined && isFenced(result.epoch, result.site))
          record.violated('I6', `${result.site} worked lines under epoch ${result.epoch}, which fences it: ${key}`);
      },
    },
  };
}

/**
 * What `no-solo-flip` promises: a site that takes work again holds every fact that the others held a while before. What
 * was written in the last minutes may be on its way, and outputs that nobody named may differ for ever.
 */
export function returningSitesHoldAll({ record, stores, scheduler }: World, history: ControlHistory): Judge {
  const settlingMs = 180_000;
  const since = new Map<string, number>();
  return {
    watcher: {
      created({ container, site }, key, bytes) {
        if (container !== 'journal') return;
        if (!since.has(key)) since.set(key, scheduler.now);
        if (!isControlKey(key) || site !== 'aws') return;
        const parsed = factOf(controlSchema, bytes);
        if ('fault' in parsed) return;
        const { sites, epoch, forced } = parsed.fact;
        const before = history.entries.get(epoch - 1)?.entry;
        for (const one of clouds) {
          if (before?.sites[one]?.state !== 'recovering' || sites[one]?.state !== 'active') continue;
          if (forced.includes('no-solo-flip')) continue;
          const other: Cloud = one === 'aws' ? 'azure' : 'aws';
          const lacking = stores[other].journal
            .keysUnder('t/')
            .filter((name) => isMirroredFact(name) && stores[one].journal.peek(name) === undefined)
            .filter((name) => scheduler.now - since.get(name)! > settlingMs);
          if (lacking.length > 0)
            record.violated(
              'I8',
              `${one} takes work again under epoch ${epoch} and lacks ${lacking.length} facts, first ${lacking[0]}`,
            );
        }
      },
    },
  };
}

const isMirroredFact = (key: string) =>
  !key.startsWith(`t/${canaryTenant}/`) &&
  /\/(manifest\.json|acceptances\/|results\/|plans\/|meta\.json|cancels\/)/.test(key);
