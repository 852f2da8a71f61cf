import { describe, expect, test } from '@jest/globals';
import { decide, learn } from '../../../shared/journal/registers.ts';
import { bytesOf, ignoringConditions, name, text, World } from './registers.support.ts';
import { anyOrder, type Chooser, EveryPath, inOrder, type Step, seeded } from './schedule.ts';

interface Race {
  world: World;
  /** What the calls of `decide` gave. */
  given: string[];
  steps: number;
  /** What a last, undisturbed reader learns. */
  learned: string | undefined;
}

interface RaceSpec {
  proposers: number;
  /** Processes that learn three times in a row meanwhile, and so finish what they find. */
  learners?: number;
  names?: string[];
  seed: number;
  choose: Chooser;
  /** Proposer to kill when this many steps were taken; another call with the same value starts in its place. */
  kill?: { who: string; at: number; restart: boolean };
  dark?: string;
  prefer?: string[];
  attemptsMax?: number;
  world?: World;
}

async function race(spec: RaceSpec): Promise<Race> {
  const { world = new World(), proposers, seed, attemptsMax, kill } = spec;
  const given: string[] = [];
  const propose = (who: string, value: string) => {
    const options = world.optionsFor(who, seed, { attemptsMax, prefer: spec.prefer });
    const acceptors = world.acceptorsFor(who).filter(({ id }) => id !== spec.dark);
    void decide(acceptors, name, bytesOf(value), options).then(
      (decided) => {
        if (decided.own !== (text(decided.value) === value)) throw new Error('own tells something else');
        given.push(text(decided.value)!);
      },
      (error: Error) => {
        if (!['SiteUnavailableError', 'TransientError'].includes(error.name)) given.push(`threw ${error.stack}`);
      },
    );
  };
  const names = spec.names ?? ['p1', 'p2', 'p3'].slice(0, proposers);
  for (const who of names) propose(who, `v${who.slice(1)}`);
  for (let i = 0; i < (spec.learners ?? 0); i++) {
    const options = world.optionsFor(`l${i}`, seed + i, { attemptsMax });
    const looking = async () => {
      for (let looks = 0; looks < 3; looks++) {
        const learned = text(await learn(world.acceptorsFor(`l${i}`), name, options));
        if (learned !== undefined) given.push(learned);
      }
    };
    looking().catch(() => {});
  }
  const steps = await world.schedule.run(spec.choose, (taken) => {
    if (kill === undefined || taken !== kill.at) return;
    world.schedule.kill(kill.who);
    if (kill.restart) propose(`${kill.who}-again`, `v${kill.who.slice(1)}`);
  });
  await world.judge();
  const quiet = world.optionsFor('reader', seed, { prefer: undefined });
  const reading = learn(world.acceptors, name, quiet);
  await world.schedule.run(inOrder);
  return { world, given, steps, learned: text(await reading) };
}

/** Everybody was given one value, which is what the stores decided and a reader learns. */
function violation({ given, world, learned }: Race): string | undefined {
  const values = new Set([...given, ...world.decided, ...(learned === undefined ? [] : [learned])]);
  if (values.size > 1) return `more than one value: ${[...values]}`;
  if (given.length > 0 && world.decided.size === 0) return 'given, but never decided';
  return given.some((value) => value.startsWith('threw')) ? given.join() : undefined;
}

describe('registers in a race', () => {
  test('two proposers with two values and up to two learners, 300 seeds of delayed and lost messages: one value, for everybody, for ever', async () => {
    let answers = 0;
    const values = new Set<string>();
    for (let seed = 1; seed <= 300; seed++) {
      const random = seeded(seed);
      const outcome = await race({ proposers: 2, learners: seed % 3, seed, choose: anyOrder(random, random() * 0.3) });
      expect({ seed, violation: violation(outcome) }).toEqual({ seed, violation: undefined });
      answers += outcome.given.length;
      for (const value of outcome.given) values.add(value);
    }
    // The seeds are worth something: most calls end with a value, and each proposer wins somewhere.
    expect(answers).toBeGreaterThan(300);
    expect(values).toEqual(new Set(['v1', 'v2']));
  });

  test('three proposers, one store dark, one proposer dying and coming back, 200 seeds: one value', async () => {
    let answers = 0;
    for (let seed = 1; seed <= 200; seed++) {
      const random = seeded(1000 + seed);
      const outcome = await race({
        proposers: 3,
        seed,
        choose: anyOrder(random, random() * 0.2),
        dark: ['aws', 'azure', 'witness', undefined][seed % 4],
        kill: { who: `p${1 + (seed % 3)}`, at: Math.floor(random() * 40), restart: true },
        prefer: seed % 2 === 0 ? undefined : ['aws', 'azure'],
      });
      expect({ seed, violation: violation(outcome) }).toEqual({ seed, violation: undefined });
      answers += outcome.given.length;
    }
    expect(answers).toBeGreaterThan(200);
  });

  test('every schedule of two proposers with at most three changes of turn ends with one value', async () => {
    const paths = new EveryPath();
    let runs = 0;
    while (paths.next()) {
      const choose = withTurns(paths, 3);
      const outcome = await race({ proposers: 2, seed: 1, choose, attemptsMax: 3 });
      const wrong = violation(outcome);
      if (wrong !== undefined) throw new Error(`${wrong}\n${outcome.world.schedule.trace.join('\n')}`);
      runs += 1;
    }
    expect(runs).toBeGreaterThan(1_000);
  });

  test('a proposer that dies at any of its steps leaves a register that the next one finishes', async () => {
    const undisturbed = await race({ proposers: 1, seed: 1, choose: inOrder });
    expect(undisturbed.given).toEqual(['v1']);
    for (const restart of [false, true])
      for (let at = 0; at <= undisturbed.steps; at++) {
        const world = new World();
        const first = await race({ proposers: 1, seed: 1, choose: inOrder, kill: { who: 'p1', at, restart }, world });
        const wasDecided = [...world.decided];
        const next = await race({ proposers: 2, names: ['p3', 'p4'], seed: 2, choose: inOrder, world });
        expect({ at, violation: violation(next) }).toEqual({ at, violation: undefined });
        expect(next.given).toHaveLength(2);
        if (restart) expect(first.given).toContain('v1');
        if (wasDecided.length > 0) expect(next.given).toEqual([...wasDecided, ...wasDecided]);
      }
  });

  test('control: stores that ignore the ETag let two values through', async () => {
    expect(
      await anySeedBreaks((world) => {
        for (const [id, store] of world.stores) world.stores.set(id, ignoringConditions(store));
      }),
    ).toBe(true);
  });

  test('F50: control: two calls with the same random bits let two values through', async () => {
    expect(
      await anySeedBreaks((world) => {
        Object.defineProperty(world, 'uuid', { value: () => '7'.repeat(32) });
      }),
    ).toBe(true);
  });
});

async function anySeedBreaks(sabotage: (world: World) => void): Promise<boolean> {
  for (let seed = 1; seed <= 300; seed++) {
    const world = new World();
    sabotage(world);
    const random = seeded(seed);
    const outcome = await race({ proposers: 2, seed, choose: anyOrder(random, random() * 0.3), world });
    if (violation(outcome) !== undefined) return true;
  }
  return false;
}

/** One proposer goes on until the path says otherwise, at most `turns` times; its requests arrive in order, or the latest first. */
function withTurns(paths: EveryPath, turns: number): Chooser {
  let left = turns;
  let who = 'p1';
  const latestFirst = new Set(['p1', 'p2'].filter(() => paths.choose(2) === 1));
  return (steps: readonly Step[]) => {
    const of = (one: string) => steps.filter((step) => step.who === one);
    const other = who === 'p1' ? 'p2' : 'p1';
    if (of(who).length === 0) who = other;
    const mine = inOrder(of(who));
    // Only what reaches a store can be seen by the other: turns at replies and timers would repeat other paths.
    if (mine.step.kind !== 'request') return mine;
    if (of(other).length > 0 && left > 0 && paths.choose(2) === 1) {
      who = other;
      left -= 1;
    }
    const requests = of(who).filter(({ kind }) => kind === 'request');
    return requests.length === 0 ? inOrder(of(who)) : { step: requests.at(latestFirst.has(who) ? -1 : 0)! };
  };
}
