import { acceptorsOf, registerOptions } from '../control/acceptors.ts';
import type { Core } from '../core.ts';
import { SiteUnavailableError } from '../errors.ts';
import { factBytes, factVersion, parseFact } from '../journal/facts.ts';
import { sha256 } from '../journal/json.ts';
import { drillRegister, drillTurnKey, drillTurnsPrefix } from '../journal/keys.ts';
import { decide, learn } from '../journal/registers.ts';
import { listEverywhere, putEverywhere, takeAnywhere } from '../journal/replicas.ts';
import { type DrillTurn, drillTurnSchema } from './facts.ts';

/**
 * Who may run a drill: turns, decided one after the other by write-once registers over the three stores, as entries of
 * the control log are. So of two drills that start in the same second on two clouds one runs (F48), a scheduled one
 * starts once whoever looks first, and the turns form a chain of hashes.
 */

/** What drills need of `Core` to know whose turn it is. */
export type TurnCore = Omit<Core, 'batching' | 'callbacks'>;

/** A turn together with its bytes: the next one names their hash. */
export interface LearnedTurn {
  turn: DrillTurn;
  bytes: Uint8Array;
}

/**
 * Every turn that was decided, first to last: what the journals list, and what the registers tell beyond it, which is
 * written to the journals.
 * @throws SiteUnavailableError where the own journal, or two voters, do not answer
 */
export async function learnTurns(core: TurnCore): Promise<LearnedTurn[]> {
  const turns = known.get(core.sites) ?? (await listedTurns(core));
  known.set(core.sites, turns);
  const control = await core.control.current();
  for (;;) {
    const n = turns.length + 1;
    const value = await learn(acceptorsOf(core, control), drillRegister(n), registerOptions(core));
    if (value === undefined) return [...turns];
    const parsed = parseFact(drillTurnSchema, value);
    if ('fault' in parsed)
      throw new SiteUnavailableError('drill_turn_unknown', `turn ${n}: ${parsed.detail}`, 'drills');
    if (turns.length < n) turns.push({ turn: parsed.fact, bytes: value });
    await putEverywhere(core, drillTurnKey(n), value);
  }
}

/** Decided turns never change, so each process reads each of them once. */
const known = new WeakMap<TurnCore['sites'], LearnedTurn[]>();

async function listedTurns(core: TurnCore): Promise<LearnedTurn[]> {
  const { keys } = await listEverywhere(core, drillTurnsPrefix);
  const count = Math.max(0, ...keys.map(({ key }) => Number(/(\d{8})\.json$/.exec(key)?.[1] ?? 0)));
  const turns: LearnedTurn[] = [];
  for (let n = 1; n <= count; n++) {
    const read = await readTurn(core, n);
    if (read === undefined) throw new SiteUnavailableError('drill_turn_unread', `turn ${n} cannot be read`, 'drills');
    turns.push(read);
  }
  return turns;
}

async function readTurn(core: TurnCore, n: number): Promise<LearnedTurn | undefined> {
  const taken = await takeAnywhere(core, drillTurnKey(n), (bytes) => {
    const parsed = parseFact(drillTurnSchema, bytes);
    return 'fact' in parsed ? { turn: parsed.fact, bytes } : parsed;
  });
  return taken === undefined || 'fault' in taken ? undefined : taken;
}

/** How asking for a turn ended. */
export type Claim =
  | { status: 'claimed'; turn: DrillTurn }
  /** This very drill had its turn before: a scheduled one, started by whoever was first. */
  | { status: 'done-before'; turn: DrillTurn }
  /** Another drill got the turn in the same moment. */
  | { status: 'lost'; turn: DrillTurn };

/**
 * Asks for the turn after `turns`, of which the last one has ended.
 * @throws SiteUnavailableError, TransientError where two voters do not answer
 */
export async function claimTurn(
  core: TurnCore,
  turns: readonly LearnedTurn[],
  draft: Omit<DrillTurn, 'v' | 'kind' | 'turn' | 'previous'>,
): Promise<Claim> {
  const before = turns.find(({ turn }) => turn.drill === draft.drill);
  if (before !== undefined) return { status: 'done-before', turn: before.turn };
  const n = turns.length + 1;
  const last = turns.at(-1);
  const previous = last === undefined ? null : sha256(last.bytes);
  const wanted: DrillTurn = { v: factVersion, kind: 'drillTurn', turn: n, previous, ...draft };
  const control = await core.control.current();
  const { value, own } = await decide(
    acceptorsOf(core, control),
    drillRegister(n),
    factBytes(wanted),
    registerOptions(core),
  );
  await putEverywhere(core, drillTurnKey(n), value);
  if (own) return { status: 'claimed', turn: wanted };
  const parsed = parseFact(drillTurnSchema, value);
  if ('fault' in parsed) throw new SiteUnavailableError('drill_turn_unknown', parsed.detail, 'drills');
  return { status: parsed.fact.drill === draft.drill ? 'done-before' : 'lost', turn: parsed.fact };
}
