import { describeChange } from '../control/commands.ts';
import { readEntry } from '../control/log.ts';
import { type ControlEntry, factBytes, factVersion } from '../journal/facts.ts';
import { sha256 } from '../journal/json.ts';
import { batchPrefix, controlKey, drillPrefix, drillTurnKey } from '../journal/keys.ts';
import type { EpochMs } from '../units.ts';
import { readEvidence } from './evidence.ts';
import type { DrillEntry, DrillSample, DrillState, DrillTurn } from './facts.ts';
import type { Drill } from './file.ts';
import { concernsProduction, type ProductionEvidence, readProduction } from './production.ts';
import type { DrillReport } from './report.ts';
import { drillTenant } from './tenant.ts';
import type { TurnCore } from './turns.ts';
import type { BatchEvidence, DrillVerdict } from './verdict.ts';

/** What stands in the stores when a drill is judged. */
export interface Evidence {
  batches: BatchEvidence[];
  production: ProductionEvidence | undefined;
  /** Batches of the drill that no journal shows. */
  missing: string[];
  /** Control entries since the drill began, the one before it left out. */
  entries: ControlEntry[];
  changes: DrillReport['control']['entries'];
  /** Of every entry, the one before the drill first: the chain into the control log. */
  hashes: { epoch: number; sha256: string }[];
}

/**
 * Reads the drill's batches from the stores of both clouds, those of production that it concerned, and the control log
 * since it began.
 * @param onRead called before each object: it may take long, and the lease has to be renewed
 */
export async function gatherEvidence(
  core: TurnCore,
  drill: Drill,
  state: DrillState,
  control: ControlEntry,
  onRead: () => Promise<void>,
): Promise<Evidence> {
  const found: Evidence = { batches: [], production: undefined, missing: [], entries: [], changes: [], hashes: [] };
  for (const { batch, home, wasHeld } of state.batches) {
    const evidence = await readEvidence(core, { tenant: drillTenant, batch, home, wasHeld, onRead });
    if (evidence === undefined) found.missing.push(batch);
    else found.batches.push(evidence);
  }
  if (concernsProduction(drill)) found.production = await readProduction(core, state, onRead);
  let previous: ControlEntry | undefined;
  for (let epoch = state.before.epoch; epoch <= control.epoch; epoch++) {
    const read = await readEntry(core, epoch);
    if (read === undefined) continue;
    found.hashes.push({ epoch, sha256: sha256(read.bytes) });
    if (previous !== undefined) {
      const { at, actor, reason } = read.entry;
      found.entries.push(read.entry);
      found.changes.push({ epoch, at, actor, reason, changes: describeChange(previous, read.entry) });
    }
    previous = read.entry;
  }
  return found;
}

/** Of how much of production a verdict speaks. */
export function productionWords({
  known,
  judged,
  unfinished,
  unread,
}: NonNullable<DrillVerdict['production']>): string {
  const rest = [
    ...(unfinished === 0 ? [] : [`${unfinished} are not finished, or only just`]),
    ...(unread === 0 ? [] : [`${unread} were left out: too many, too large, or not to be read`]),
  ];
  return [`${judged} of ${known} batches that were open or came were judged, too`, ...rest].join('; ');
}

/** What a run leaves behind. */
export interface RunRecord {
  turn: DrillTurn;
  drill: Drill;
  state: DrillState;
  entries: DrillEntry[];
  samples: DrillSample[];
  runner: string;
  endedAt: EpochMs;
}

const noEntry = { epoch: 0, sha256: '0'.repeat(64) };

/** The report of a drill that has ended. Pure. */
export function reportOf(
  { turn, drill, state, entries, samples, runner, endedAt }: RunRecord,
  verdict: DrillVerdict,
  { changes, hashes }: Evidence,
): DrillReport {
  const { holdfast, title, description } = drill;
  const { scope, model, share } = holdfast['blast-radius'];
  return {
    v: factVersion,
    kind: 'drillReport',
    drill: turn.drill,
    turn: turn.turn,
    title,
    description,
    drillKind: holdfast.kind,
    site: holdfast.site ?? null,
    blastRadius: [scope, model ?? share].filter((part) => part !== undefined).join(' '),
    actor: turn.actor,
    reason: turn.reason,
    runner,
    startedAt: state.startedAt,
    endedAt,
    faultAt: state.faultAt,
    restoredAt: state.restoredAt,
    verdict,
    checks: state.checks,
    entries,
    samples,
    batches: state.batches.map(({ batch, home, lines }) => ({ batch, home, lines })),
    control: { first: hashes[0] ?? noEntry, last: hashes.at(-1) ?? noEntry, entries: changes },
    turnSha256: sha256(factBytes(turn)),
    previous: turn.previousReport,
    file: turn.file,
    evidence: [
      drillTurnKey(turn.turn),
      `${drillPrefix(turn.drill)}pages/`,
      ...hashes.map(({ epoch }) => controlKey(epoch)),
      ...state.batches.map(({ batch }) => batchPrefix(drillTenant, batch)),
    ],
  };
}
