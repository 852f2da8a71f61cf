import {
  type DrillPage,
  type DrillTurn,
  drillOf,
  drillPageSchema,
  drillTurnSchema,
} from '../../../shared/drill/facts.ts';
import { drillActor, drillTenant, isDrillActor } from '../../../shared/drill/tenant.ts';
import type { Observation } from '../../../shared/health/types.ts';
import type { ControlEntry } from '../../../shared/journal/facts.ts';
import { batchOfKey, drillPrefix, drillTurnsPrefix } from '../../../shared/journal/keys.ts';
import type { DrillFault } from '../actors/drills.ts';
import { clouds, drillModel, type World } from '../world.ts';
import type { ControlHistory } from './control.ts';
import { factOf } from './journal.ts';
import type { Judge } from './judge.ts';

/**
 * The functions of both clouds look each minute. With all well, one of them has a drill whose lease is over after so long;
 * clocks of the two clouds and of the runner may differ by two minutes each way.
 */
const patienceMs = 3 * 60_000 + 4 * 60_000;
/** A fault is ended by what injected it, at its time. */
const faultGraceMs = 1_000;
const lookEveryMs = 5_000;
/** Each step writes a page or two, and a lease is renewed once or twice. */
const pagesOfLeaseMax = 30;

/** A drill as its facts tell it. */
interface Told {
  turn: DrillTurn;
  leaseMs: number;
  /** When its runner was heard last, by the clock of the world. */
  heardAt: number;
  hasReport: boolean;
  /** Keys of all its pages, wherever they are. */
  pages: Set<string>;
  /** How many there were when the lease began that is counted now. */
  pagesBefore: number;
  countedFrom: number;
}

/**
 * I11: nothing of a drill remains. No fault outlives its time; what a drill did to the control log is gone when its
 * report is written, and is taken back by others where its runner is not heard any more; drills run one at a time; and no
 * count of production knows of them (F49). While it runs it writes no more pages than it has steps.
 */
export function drillsLeaveNothing(world: World, history: ControlHistory, faults: ReadonlySet<DrillFault>): Judge {
  const { record, board } = world;
  const drills = new Map<string, Told>();
  const drilled = new Set<string>();
  let lookedAt = 0;
  let illAt = 0;

  const look = () => {
    if (record.now - lookedAt < lookEveryMs) return;
    lookedAt = record.now;
    // With a fault of its own a drill has to cope.
    if (board.active.length > faults.size) illAt = record.now;
    for (const { target, until } of faults)
      if (record.now > until + faultGraceMs)
        record.violated('I11', `${target} is still broken by a drill, past its time`);
    for (const told of drills.values()) {
      if (told.hasReport || record.now - illAt < patienceMs) continue;
      if (record.now - told.heardAt <= told.leaseMs + patienceMs) continue;
      record.violated('I11', `${told.turn.drill} was not heard for a whole lease and more, and nobody undoes it`);
      told.heardAt = record.now;
    }
  };

  const ended = (told: Told, { state }: DrillPage) => {
    told.hasReport = true;
    if (state.aborted?.rule === 'lease-expired') record.reach('a drill was undone by its lease');
    const left = leftOf(told.turn, history);
    if (left !== undefined) record.violated('I11', `${told.turn.drill} has ended, and ${left}`);
  };

  return {
    watcher: {
      created({ container }, key, bytes) {
        if (container === 'state') {
          if (drills.size === 0) return;
          look();
          if (key.startsWith('observations/') && Buffer.from(bytes).includes(`"${drillModel}"`))
            countsNothing(key, bytes);
          return;
        }
        if (key.startsWith(drillTurnsPrefix)) {
          const parsed = factOf(drillTurnSchema, bytes);
          if ('fault' in parsed || drills.has(parsed.fact.drill)) return;
          const turn = parsed.fact;
          const open = [...drills.values()].find(({ hasReport }) => !hasReport);
          if (open !== undefined)
            record.violated('I11', `${turn.drill} has a turn while ${open.turn.drill} has not ended`);
          const returning = Object.keys(turn.before.sites).find((site) =>
            isReturning(site, turn.before.epoch, history),
          );
          if (returning !== undefined) record.violated('I11', `${turn.drill} began while ${returning} was returning`);
          const leaseMs = drillOf(turn)?.holdfast.lease ?? 0;
          const none = { pages: new Set<string>(), pagesBefore: 0, countedFrom: record.now };
          drills.set(turn.drill, { turn, leaseMs, heardAt: record.now, hasReport: false, ...none });
          record.reach(turn.actor === 'schedule' ? 'a drill was due' : 'a drill began');
        } else if (/^drills\/[^/]+\/pages\//.test(key)) {
          const parsed = factOf(drillPageSchema, bytes);
          const told = 'fact' in parsed ? drills.get(parsed.fact.drill) : undefined;
          if ('fault' in parsed || told === undefined) return;
          told.heardAt = record.now;
          countPage(told, key);
          if (parsed.fact.report !== null && !told.hasReport) ended(told, parsed.fact);
        }
        const at = batchOfKey(key);
        if (at?.tenant === drillTenant) drilled.add(at.batch);
        else if (at !== undefined && drilled.has(at.batch))
          record.violated('I11', `${at.batch} of a drill is a batch of ${at.tenant}: ${key}`);
      },
    },
    atEnd() {
      for (const { turn, hasReport } of drills.values())
        if (!hasReport) record.violated('I11', `${turn.drill} has not ended`);
      if (faults.size > 0) record.violated('I11', `${faults.size} faults of drills hold when all is over`);
    },
  };

  function countPage(told: Told, key: string): void {
    if (record.now - told.countedFrom > told.leaseMs) {
      told.pagesBefore = told.pages.size;
      told.countedFrom = record.now;
    }
    const known = told.pages.size;
    told.pages.add(key);
    if (told.pages.size > known && told.pages.size === told.pagesBefore + pagesOfLeaseMax + 1)
      record.violated('I11', `${told.turn.drill} wrote more than ${pagesOfLeaseMax} pages in one lease`);
  }

  function countsNothing(key: string, bytes: Uint8Array): void {
    const { backlog } = JSON.parse(Buffer.from(bytes).toString('utf8')) as Partial<Observation>;
    if (backlog?.some(({ model }) => model === drillModel))
      record.violated('I11', `${key} counts lines of a drill as work of production`);
  }
}

/** Drills that had their turn and have no report yet. */
export function openDrills({ stores }: World): string[] {
  const journals = clouds.map((site) => stores[site].journal);
  const found = new Set<string>();
  for (const journal of journals)
    for (const key of journal.keysUnder(drillTurnsPrefix)) {
      const turn = factOf(drillTurnSchema, journal.peek(key)!);
      if ('fact' in turn) found.add(turn.fact.drill);
    }
  const isOver = (drill: string) =>
    journals.some((journal) =>
      journal.keysUnder(`${drillPrefix(drill)}pages/`).some((key) => {
        const page = factOf(drillPageSchema, journal.peek(key)!);
        return 'fact' in page && page.fact.report !== null;
      }),
    );
  return [...found].filter((drill) => !isOver(drill));
}

/**
 * What the control log still holds of a drill. Where a person acted since, or a machine because of an incident, weights
 * are as those left them.
 */
function leftOf({ drill, before }: DrillTurn, { head, entries }: ControlHistory): string | undefined {
  if (head === undefined) return undefined;
  const isOfDrill = (epoch: number) => entries.get(epoch)?.entry.actor === drillActor(drill);
  const move = head.moves.find(({ since }) => isOfDrill(since));
  if (move !== undefined) return `${move.scope} ${move.name} is moved by it`;
  const since = [...entries.values()].map(({ entry }) => entry).filter(({ epoch }) => epoch > before.epoch);
  const isAlone = since.every((entry) => isDrillActor(entry.actor) || isReturn(entry));
  for (const [site, { state, fencedEpoch, weight }] of Object.entries(head.sites)) {
    const was = before.sites[site];
    if (state === 'fenced' && isOfDrill(fencedEpoch)) return `${site} is fenced by it`;
    if (state === 'cordoned' && isOfDrill(cordonedAt(site, head, entries))) return `${site} is cordoned by it`;
    if (isAlone && since.length > 0 && was !== undefined && (was.state !== state || was.weight !== weight))
      return `${site} is ${state} ${weight}, and was ${was.state} ${was.weight}`;
  }
  return undefined;
}

/** It takes weight in steps since it was recovering. */
function isReturning(site: string, epoch: number, { entries }: ControlHistory): boolean {
  for (let at = epoch; ; at--) {
    const { state, weight } = entries.get(at)?.entry.sites[site] ?? { state: 'unknown', weight: 0 };
    if (state === 'recovering') return true;
    if (state !== 'active' || ![5, 25, 50].includes(weight)) return false;
  }
}

/** A machine that takes a site back, step by step. */
const isReturn = ({ actor, epoch, sites, moves }: ControlEntry): boolean =>
  actor.startsWith('monitor/') &&
  Object.values(sites).every(({ fencedEpoch }) => fencedEpoch !== epoch) &&
  moves.every(({ since }) => since !== epoch);

function cordonedAt(site: string, head: ControlEntry, entries: ControlHistory['entries']): number {
  let { epoch } = head;
  while (entries.get(epoch - 1)?.entry.sites[site]?.state === 'cordoned') epoch -= 1;
  return epoch;
}
