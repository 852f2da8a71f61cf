import type { ControlEntry, Dispatch } from '../journal/facts.ts';
import type { SiteId } from '../ports/site.ts';
import type { DurationMs, EpochMs } from '../units.ts';
import { showDuration } from './duration.ts';
import type { Check, DrillState } from './facts.ts';
import type { Drill, Objectives } from './file.ts';
import type { ProductionEvidence } from './production.ts';

/** One batch, as the stores of both clouds tell it at the end. Sets, not counts. */
export interface BatchEvidence {
  batch: string;
  home: SiteId;
  acceptedAt: EpochMs;
  receipt: string;
  /** Whether the survivors held it when the fault struck; `null`: no fault did. */
  wasHeld: boolean | null;
  /** `custom_id` of every line that was accepted. */
  accepted: string[];
  /** False where no store holds the input any more: then nothing can be held against it. */
  isInputRead: boolean;
  /** By site: `custom_id` of each line of the published files, in their order; `null` where none is readable there. */
  published: Record<SiteId, string[] | null>;
  /** SHA-256 of the published files, by site. */
  files: Record<SiteId, string | null>;
  /** Terminal rows of every attempt that any store holds. */
  rows: { customId: string; site: SiteId; epoch: number; at: EpochMs; tokens: number; isError: boolean; key: string }[];
  dispatches: Pick<Dispatch, 'at' | 'to' | 'reason' | 'epoch'>[];
  /** Keys that some store lacks though it should hold them. */
  unmirrored: { key: string; only: SiteId[] }[];
}

export interface DrillEvidence {
  batches: BatchEvidence[];
  /** Where the drill struck everybody; else `undefined`. */
  production: ProductionEvidence | undefined;
  /** Entries of the control log since the drill began, first to last. */
  entries: ControlEntry[];
}

/** How long each part of a takeover took, from the fault or command on; `null`: it was not seen. */
export interface Recovery {
  /** An observer elsewhere held the site ill. */
  detect: DurationMs | null;
  /** The entry that takes the work away was decided upon. */
  decide: DurationMs | null;
  /** That entry stood in the journal of a survivor. */
  fence: DurationMs | null;
  /** The first pointer was sent again. */
  redrive: DurationMs | null;
  /** The first result of the survivor: the RTO. */
  firstResult: DurationMs | null;
  /** No line that was open at the fault was open any more. */
  backlogCleared: DurationMs | null;
}

/** One objective, held against what was measured. */
export interface Judged {
  name: string;
  wanted: string;
  measured: string;
  isMet: boolean;
  /** What breaks it, by name; the first ten. */
  evidence: string[];
}

export interface DrillVerdict {
  outcome: 'passed' | 'failed' | 'aborted';
  /** Why it did not pass, in words; empty where it did. */
  reasons: string[];
  /** Lines, those of production that were judged among them. */
  accepted: number;
  /** Batches of production: those it concerned, and how many of them could be judged; `null` where it concerned none. */
  production: { known: number; judged: number; unfinished: number; unread: number } | null;
  lost: string[];
  publishedTwice: string[];
  computedTwice: { lines: number; tokens: number };
  rpoMs: DurationMs;
  recovery: Recovery;
  objectives: Judged[];
}

const shownMax = 10;

/**
 * What a drill came to. It passes if it ran to its end, everything was undone, every check held, and every objective was
 * met. Pure.
 */
export function judgeDrill(drill: Drill, state: DrillState, evidence: DrillEvidence): DrillVerdict {
  const { production } = evidence;
  const batches = [...evidence.batches, ...(production?.batches ?? [])];
  const lost: string[] = [];
  const publishedTwice: string[] = [];
  const strange: string[] = [];
  const differing: string[] = [];
  const unmirrored: string[] = [];
  let lines = 0;
  let tokens = 0;
  for (const { batch, accepted, published, files, rows, ...rest } of batches) {
    const wanted = new Set(accepted);
    const told = Object.values(published).filter((ids) => ids !== null);
    const isMissing = (id: string) => told.length === 0 || told.some((ids) => !ids.includes(id));
    lost.push(...accepted.filter(isMissing).map((id) => `${id} of ${batch}`));
    for (const ids of told) {
      const seen = new Set<string>();
      for (const id of ids) {
        if (seen.has(id) && !publishedTwice.includes(`${id} of ${batch}`)) publishedTwice.push(`${id} of ${batch}`);
        if (!wanted.has(id)) strange.push(`${id} of ${batch}`);
        seen.add(id);
      }
    }
    if (new Set(Object.values(files)).size > 1) differing.push(batch);
    unmirrored.push(...rest.unmirrored.map(({ key, only }) => `${key} is in ${only.join(' and ')} alone`));
    for (const again of Map.groupBy(rows, ({ customId }) => customId).values()) {
      const [, ...more] = again.toSorted((a, b) => a.at - b.at);
      lines += more.length;
      tokens += more.reduce((sum, row) => sum + row.tokens, 0);
    }
  }
  const rpoMs = rpoOf(state, batches);
  const recovery = recoveryOf(drill, state, evidence);
  const data = { lost, publishedTwice, strange, differing, unmirrored, lines, tokens, rpoMs, recovery };
  const objectives = [...judgeObjectives(drill, data, batches.length > 0), ...judgeUnsteady(drill, state)];
  const reasons = [
    ...(state.aborted === null ? [] : [`${state.aborted.rule}: ${state.aborted.sentence}`]),
    ...objectives.filter(({ isMet }) => !isMet).map(reasonOf),
    ...state.checks.filter(({ isOk }) => !isOk).map(checkReason),
  ];
  const outcome = state.aborted !== null ? 'aborted' : reasons.length === 0 ? 'passed' : 'failed';
  const accepted = batches.reduce((sum, one) => sum + one.accepted.length, 0);
  return {
    outcome,
    reasons,
    accepted,
    production: production === undefined ? null : { ...countsOf(production), judged: production.batches.length },
    lost,
    publishedTwice,
    computedTwice: { lines, tokens },
    rpoMs,
    recovery,
    objectives,
  };
}

const countsOf = ({ known, unfinished, unread }: ProductionEvidence) => ({ known, unfinished, unread });

interface Measured {
  lost: string[];
  publishedTwice: string[];
  strange: string[];
  differing: string[];
  unmirrored: string[];
  lines: number;
  tokens: number;
  rpoMs: DurationMs;
  recovery: Recovery;
}

function judgeObjectives({ holdfast: { objectives, kind } }: Drill, data: Measured, hasBatches: boolean): Judged[] {
  const atMost = (name: string, wanted: number, found: readonly string[] | number): Judged => {
    const measured = typeof found === 'number' ? found : found.length;
    const evidence = typeof found === 'number' ? [] : found.slice(0, shownMax);
    return { name, wanted: `≤ ${wanted}`, measured: String(measured), isMet: measured <= wanted, evidence };
  };
  const span = (name: keyof Objectives & string, measured: DurationMs | null): Judged[] => {
    const wanted = objectives[name];
    if (wanted === undefined) return [];
    return [
      {
        name,
        wanted: `≤ ${showDuration(wanted)}`,
        measured: measured === null ? 'not seen' : showDuration(measured),
        isMet: measured !== null && measured <= wanted,
        evidence: [],
      },
    ];
  };
  const { recovery } = data;
  const timed = [
    ...span('rto', recovery.firstResult),
    ...span('detect', recovery.detect),
    ...span('decide', recovery.decide),
    ...span('fence', recovery.fence),
    ...span('redrive', recovery.redrive),
    ...span('first-result', recovery.firstResult),
    ...span('backlog-cleared', recovery.backlogCleared),
  ];
  if (!hasBatches) return kind === 'tabletop' ? [] : timed;
  return [
    atMost('lost', objectives.lost, data.lost),
    atMost('published-twice', objectives['published-twice'], data.publishedTwice),
    atMost('never asked for', 0, data.strange),
    atMost('files that differ between the clouds', 0, data.differing),
    atMost('facts in one cloud alone', 0, data.unmirrored),
    ...span('rpo', data.rpoMs),
    ...timed,
    ...(objectives['computed-twice'] === undefined
      ? []
      : [atMost('computed-twice', objectives['computed-twice'], data.lines)]),
    ...(objectives['computed-twice-tokens'] === undefined
      ? []
      : [atMost('computed-twice-tokens', objectives['computed-twice-tokens'], data.tokens)]),
  ];
}

/** The steady state while the method ran: told for each probe, and an objective where the file says so. */
function judgeUnsteady({ holdfast: { objectives } }: Drill, { unsteadyMs }: DrillState): Judged[] {
  const most = objectives.unsteady;
  return Object.entries(unsteadyMs).map(([probe, ms]) => ({
    name: `steady state during: ${probe} did not hold for`,
    wanted: most === undefined ? 'anything' : `≤ ${showDuration(most)}`,
    measured: showDuration(ms),
    isMet: most === undefined || ms <= most,
    evidence: [],
  }));
}

function reasonOf({ name, wanted, measured, evidence }: Judged): string {
  const shown = evidence.length === 0 ? '' : `: ${evidence.slice(0, 3).join(', ')}`;
  return `${name}: ${measured}, and ${wanted} was the objective${shown}`;
}

function checkReason({ when, name, value, wanted }: Check): string {
  return `${when === 'during' ? 'in the method' : `steady state ${when}`}: ${name} was ${value}, and not ${wanted}`;
}

/**
 * How far back in time accepted work reaches that the survivors did not hold when the fault struck: from the earliest
 * such acceptance to the fault.
 */
function rpoOf({ faultAt }: DrillState, batches: readonly BatchEvidence[]): DurationMs {
  if (faultAt === null) return 0;
  const missing = batches.filter(({ wasHeld, acceptedAt }) => wasHeld === false && acceptedAt <= faultAt);
  return missing.length === 0 ? 0 : faultAt - Math.min(...missing.map(({ acceptedAt }) => acceptedAt));
}

/** The parts of a takeover, each from the first fault or command on. */
function recoveryOf(drill: Drill, state: DrillState, { entries, batches }: DrillEvidence): Recovery {
  const { faultAt, detected, learned, clearedAt } = state;
  const unseen = { detect: null, decide: null, fence: null, redrive: null, firstResult: null, backlogCleared: null };
  if (faultAt === null) return unseen;
  const from = drill.holdfast.site ?? batches[0]?.home;
  if (from === undefined) return unseen;
  const after = (at: EpochMs | undefined | null) => (at == null ? null : Math.max(0, at - faultAt));
  const entry = entries.find((one) => isTaking(one, from));
  const survivor = entry === undefined ? [] : batches.filter(({ home }) => home === from);
  const isLater = ({ epoch }: { epoch: number }) => entry !== undefined && epoch >= entry.epoch;
  const sends = survivor.flatMap(({ dispatches }) =>
    dispatches.filter((one) => isLater(one) && one.to !== from).map(({ at }) => at),
  );
  const results = survivor.flatMap(({ rows }) =>
    rows.filter((one) => isLater(one) && one.site !== from).map(({ at }) => at),
  );
  return {
    detect: after(detected[from]?.at),
    decide: after(entry?.at),
    fence: after(entry === undefined ? undefined : learned[String(entry.epoch)]),
    redrive: after(least(sends)),
    firstResult: after(least(results)),
    backlogCleared: after(clearedAt),
  };
}

/** True for an entry that takes work away from a site: all of it, or some. */
function isTaking({ sites, moves, epoch }: ControlEntry, from: SiteId): boolean {
  const site = sites[from];
  const isFenced = site?.fencedEpoch === epoch;
  return isFenced || moves.some((move) => move.from === from && move.since === epoch);
}

const least = (times: readonly EpochMs[]) => (times.length === 0 ? undefined : Math.min(...times));
