import { describe, expect, test } from '@jest/globals';
import type { InMemoryObjectStore } from '../../../local/in-memory/object-store.ts';
import { SiteUnavailableError, TransientError } from '../../../shared/errors.ts';
import { type Acceptor, decide, learn, type RegisterOptions } from '../../../shared/journal/registers.ts';
import type { StateStore } from '../../../shared/ports/object-store.ts';
import { bytesOf, instead, keyAt, name, text, World } from './registers.support.ts';
import { inOrder, type Step } from './schedule.ts';

/** Plain stores, an own clock that jumps, and counted calls. */
function plain(more: Partial<RegisterOptions> = {}) {
  const world = new World();
  const stores = new Map(world.ids.map((id) => [id, world.stores.get(id) as InMemoryObjectStore]));
  let now = 0;
  const clock = {
    now: () => now,
    // A time-out never fires here: nothing in memory is late.
    sleep: (ms: number, signal?: AbortSignal) =>
      signal === undefined
        ? Promise.resolve().then(() => {
            now += ms;
          })
        : new Promise<void>((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason))),
  };
  const options = { ...world.optionsFor('p', 1, more), clock };
  const state = async (id: string) => {
    const object = await stores.get(id)!.get(keyAt(id));
    return object === undefined ? undefined : JSON.parse(text(object.bytes)!);
  };
  return { world, stores, options, clock, acceptors: world.acceptors, state };
}

/** An acceptor whose store answers through `change`. */
function replaced(acceptors: Acceptor[], id: string, change: Partial<StateStore>): Acceptor[] {
  return acceptors.map((one) => (one.id === id ? { ...one, state: instead(one.state, change) } : one));
}
const dark = async () => {
  throw new SiteUnavailableError('refused', 'dark', 'x');
};
const allDark: Partial<StateStore> = { get: dark, putIfAbsent: dark, putIfMatch: dark };

describe('decide', () => {
  test('gives the first value to everybody who comes later', async () => {
    const { acceptors, options } = plain();
    expect(await decide(acceptors, name, bytesOf('one'), options)).toEqual({ value: bytesOf('one'), own: true });
    const later = await decide(acceptors, name, bytesOf('two'), options);
    expect({ value: text(later.value), own: later.own }).toEqual({ value: 'one', own: false });
  });

  test('calls a value own whoever got it decided, as long as the bytes are equal', async () => {
    const { acceptors, options } = plain();
    await decide(acceptors, name, bytesOf('one'), options);
    expect((await decide(acceptors, name, bytesOf('one'), options)).own).toBe(true);
  });

  test('keeps registers apart by name, and takes any bytes, none too', async () => {
    const { acceptors, options } = plain();
    const odd = Uint8Array.from({ length: 256 }, (_, i) => i);
    for (const [register, value] of [
      ['a', odd],
      ['b', new Uint8Array()],
    ] as const) {
      expect((await decide(acceptors, register, value, options)).value).toEqual(value);
      expect(await learn(acceptors, register, options)).toEqual(value);
    }
  });

  test('asks the witness nothing while both clouds answer', async () => {
    const { acceptors, options, stores } = plain();
    await decide(acceptors, name, bytesOf('one'), options);
    await learn(acceptors, name, options);
    expect(Object.values(stores.get('witness')!.calls).every((calls) => calls === 0)).toBe(true);
  });

  test('costs two writes a cloud and no read where nobody was before, and two reads to learn', async () => {
    const { acceptors, options, stores } = plain();
    await decide(acceptors, name, bytesOf('one'), options);
    const calls = () => ['aws', 'azure'].map((id) => stores.get(id)!.calls);
    for (const made of calls()) expect(made).toMatchObject({ putIfAbsent: 1, putIfMatch: 1, get: 0 });
    await learn(acceptors, name, options);
    for (const made of calls()) expect(made).toMatchObject({ putIfAbsent: 1, putIfMatch: 1, get: 1 });
  });

  test.each(['aws', 'azure', 'witness'])('decides with %s dark', async (id) => {
    const { acceptors, options } = plain();
    const left = replaced(acceptors, id, allDark);
    expect((await decide(left, name, bytesOf('one'), options)).own).toBe(true);
    expect(text(await learn(left, name, options))).toBe('one');
    expect(text((await decide(acceptors, name, bytesOf('two'), options)).value)).toBe('one');
  });

  test('throws no_majority with two stores dark, and decides nothing', async () => {
    const { acceptors, options, state } = plain();
    const left = replaced(replaced(acceptors, 'aws', allDark), 'witness', allDark);
    await expect(decide(left, name, bytesOf('one'), options)).rejects.toMatchObject({
      name: 'SiteUnavailableError',
      code: 'no_majority',
    });
    await expect(learn(left, name, options)).rejects.toMatchObject({ code: 'no_majority' });
    expect((await state('azure')).accepted).toBeNull();
  });

  test('counts a vote of another incarnation for nothing', async () => {
    const { acceptors, options } = plain();
    await decide(acceptors.slice(0, 2), name, bytesOf('old'), options);
    const restored = acceptors.map((one) => (one.id === 'aws' ? { ...one, incarnation: 'aws-2' } : one));
    const seen = await learn(restored.slice(0, 1).concat(restored[2]!), name, options);
    expect(seen).toBeUndefined();
    // The half that is left is adopted, not outvoted.
    expect(text((await decide(restored, name, bytesOf('new'), options)).value)).toBe('old');
  });

  test('takes no two acceptors over one store', async () => {
    const { acceptors, options } = plain();
    const twice = [acceptors[0]!, { ...acceptors[1]!, state: acceptors[0]!.state }];
    await expect(decide(twice, name, bytesOf('one'), options)).rejects.toMatchObject({ code: 'acceptors_invalid' });
  });

  test('F50: two calls of one process never share a ballot', async () => {
    const { acceptors, options, state } = plain();
    const ballots = new Set<string>();
    for (let i = 0; i < 20; i++) {
      await decide(acceptors, name, bytesOf(`v${i}`), options);
      ballots.add((await state('aws')).promised.id);
    }
    expect(ballots.size).toBe(20);
  });
});

describe('lost replies and late calls', () => {
  test.each(['request', 'reply'] as const)(
    'F2: with any one %s lost, the caller ends with the decided value',
    async (kind) => {
      const undisturbed = new World();
      void decide(undisturbed.acceptorsFor('p1'), name, bytesOf('v'), undisturbed.optionsFor('p1', 1));
      const steps = await undisturbed.schedule.run(inOrder);
      for (let lost = 0; lost < steps; lost++) {
        const world = new World();
        const decided = decide(world.acceptorsFor('p1'), name, bytesOf('v'), world.optionsFor('p1', 1));
        let taken = 0;
        await world.schedule.run((all: readonly Step[]) => {
          const { step } = inOrder(all);
          return { step, lose: taken++ === lost && step.kind === kind };
        });
        expect(await decided).toEqual({ value: bytesOf('v'), own: true });
        await world.judge();
        expect(world.decided).toEqual(new Set(['v']));
      }
    },
  );

  test('F27: the decider dies between promise and accept, another finishes, the first returns and gets that value', async () => {
    const world = new World();
    const first = decide(world.acceptorsFor('p1'), name, bytesOf('first'), world.optionsFor('p1', 1));
    let second: Promise<{ value: Uint8Array }> | undefined;
    await world.schedule.run((steps) => {
      const accepting = steps.find(({ who, label }) => who === 'p1' && label.startsWith('p1 putIfMatch →'));
      if (accepting === undefined && second === undefined) return inOrder(steps);
      second ??= decide(world.acceptorsFor('p2'), name, bytesOf('second'), world.optionsFor('p2', 2));
      // The first one stands still until the second has nothing left to do.
      const others = steps.filter(({ who, kind }) => who === 'p2' && kind !== 'timer');
      if (others.length > 0) return inOrder(others);
      return inOrder(steps);
    });
    expect(text((await second)?.value)).toBe('second');
    expect(text((await first).value)).toBe('second');
    expect(world.decided).toEqual(new Set(['second']));
  });

  test('F27: what was accepted by one store before its decider died is finished, not replaced', async () => {
    const { acceptors, options } = plain();
    const oneVote = replaced(acceptors, 'azure', { putIfMatch: dark });
    const without = oneVote.filter(({ id }) => id !== 'witness');
    await expect(decide(without, name, bytesOf('first'), options)).rejects.toMatchObject({ code: 'no_majority' });
    expect(text((await decide(acceptors, name, bytesOf('second'), options)).value)).toBe('first');
  });

  test('a witness that takes one write a second is asked again after the pause it asks for', async () => {
    const { acceptors, options, clock, world } = plain();
    let last = Number.NEGATIVE_INFINITY;
    const slowly = <A extends unknown[], R>(write: (...args: A) => Promise<R>) => {
      return async (...args: A) => {
        const wait = last + 1_000 - clock.now();
        if (wait > 0) throw new TransientError('throttled', 'one write a second', { retryAfterMs: wait });
        last = clock.now();
        return write(...args);
      };
    };
    const witness = world.stores.get('witness')!;
    const slow = replaced(replaced(acceptors, 'aws', allDark), 'witness', {
      putIfAbsent: slowly((...args: Parameters<StateStore['putIfAbsent']>) => witness.putIfAbsent(...args)),
      putIfMatch: slowly((...args: Parameters<StateStore['putIfMatch']>) => witness.putIfMatch(...args)),
    });
    expect((await decide(slow, name, bytesOf('one'), { ...options, attemptsMax: 1 })).own).toBe(true);
  });

  test('a store that asks for a pause of a year counts as not answering', async () => {
    const { acceptors, options, clock } = plain();
    const forever = async () => {
      throw new TransientError('throttled', 'later', { retryAfterMs: 365 * 86_400_000 });
    };
    const rude = replaced(acceptors, 'aws', { get: forever, putIfAbsent: forever, putIfMatch: forever });
    expect((await decide(rude, name, bytesOf('one'), options)).own).toBe(true);
    expect(clock.now()).toBeLessThan(60_000);
  });
});

describe('learn', () => {
  test('gives undefined where nothing was accepted, and writes nothing', async () => {
    const { acceptors, options, stores } = plain();
    expect(await learn(acceptors, name, options)).toBeUndefined();
    for (const store of stores.values()) expect(store.calls).toMatchObject({ putIfAbsent: 0, putIfMatch: 0 });
  });

  test('only reads where a value is decided', async () => {
    const { acceptors, options, stores } = plain();
    await decide(acceptors, name, bytesOf('one'), options);
    const writes = () => [...stores.values()].map(({ calls }) => calls.putIfAbsent + calls.putIfMatch);
    const before = writes();
    expect(text(await learn(acceptors, name, options))).toBe('one');
    expect(text(await learn(acceptors.slice(1), name, options))).toBe('one');
    expect(writes()[0]).toBe(before[0]);
  });

  test('finishes what one store accepted', async () => {
    const { acceptors, options, world } = plain();
    const without = replaced(acceptors, 'azure', { putIfMatch: dark }).filter(({ id }) => id !== 'witness');
    await expect(decide(without, name, bytesOf('half'), options)).rejects.toMatchObject({ code: 'no_majority' });
    await world.judge();
    expect(world.decided.size).toBe(0);
    expect(text(await learn(acceptors, name, options))).toBe('half');
    await world.judge();
    expect(world.decided).toEqual(new Set(['half']));
  });

  test('F26: a witness that answers reads from a cache, its backend down, gets nothing decided and nothing unsaid', async () => {
    const { acceptors, options, world } = plain();
    await decide(acceptors, name, bytesOf('one'), options);
    const empty = async () => undefined;
    const cached = replaced(replaced(acceptors, 'aws', allDark), 'witness', {
      get: empty,
      putIfAbsent: dark,
      putIfMatch: dark,
    });
    await expect(decide(cached, name, bytesOf('two'), options)).rejects.toMatchObject({ code: 'no_majority' });
    await expect(learn(cached, name, options)).rejects.toMatchObject({ code: 'no_majority' });
    await world.judge();
    expect(world.decided).toEqual(new Set(['one']));
    expect(text(await learn(acceptors, name, options))).toBe('one');
  });
});

describe('a store that answers garbage in a register', () => {
  test.each([
    ['text', 'not json'],
    ['an empty object', '{}'],
    ['nothing at all', ''],
    ['deep nesting', '['.repeat(5_000) + ']'.repeat(5_000)],
    [
      'an acceptance newer than the promise',
      JSON.stringify({
        v: 1,
        kind: 'register',
        promised: { round: 1, id: '0'.repeat(32) },
        accepted: { ballot: { round: 2, id: '0'.repeat(32) }, value: '' },
        bits: '',
      }),
    ],
    [
      'a round beyond all rounds',
      JSON.stringify({
        v: 1,
        kind: 'register',
        promised: { round: Number.MAX_SAFE_INTEGER, id: '0'.repeat(32) },
        accepted: null,
        bits: '',
      }),
    ],
    ['a version of tomorrow', '{"v":2,"kind":"register"}'],
  ])('%s: is reported, counts as not answering, and is left as it is', async (_what, garbage) => {
    const reports: string[] = [];
    const { acceptors, options, stores } = plain({
      report: async ({ id }) => {
        reports.push(id);
      },
    });
    await stores.get('azure')!.putIfAbsent(keyAt('azure'), bytesOf(garbage));
    expect((await decide(acceptors, name, bytesOf('one'), options)).own).toBe(true);
    expect(text(await learn(acceptors, name, options))).toBe('one');
    expect(new Set(reports)).toEqual(new Set(['azure']));
    expect(text((await stores.get('azure')!.get(keyAt('azure')))?.bytes)).toBe(garbage);
    await expect(decide(acceptors.slice(0, 2), name, bytesOf('one'), options)).rejects.toMatchObject({
      code: 'no_majority',
    });
  });
});

describe('a vote needs the files', () => {
  /** Files by store; `copy` brings those of `value` from any store that has them. */
  const holding = (acceptors: Acceptor[], held: Map<string, Set<string>>) => ({
    beforeAccept: async ({ id }: Acceptor, value: Uint8Array) => {
      const file = text(value)!;
      if (!acceptors.some((one) => held.get(one.id)?.has(file))) throw new Error('lost_output');
      held.set(id, (held.get(id) ?? new Set()).add(file));
    },
  });

  test('F53: a survivor that never had the files of a half-decided publication copies them before it finishes it', async () => {
    const { acceptors, options } = plain();
    const held = new Map([['aws', new Set(['first'])]]);
    const { beforeAccept } = holding(acceptors, held);
    const noAzureVote = replaced(acceptors, 'azure', { putIfMatch: dark }).filter(({ id }) => id !== 'witness');
    await expect(decide(noAzureVote, name, bytesOf('first'), { ...options, beforeAccept })).rejects.toThrow();
    held.set('azure', new Set(['second']));
    const finished = await decide(acceptors, name, bytesOf('second'), { ...options, beforeAccept });
    expect(text(finished.value)).toBe('first');
    expect([...held].filter(([, files]) => files.has('first'))).toHaveLength(2);
  });

  test('F53: with the files nowhere to be had nothing is decided, neither the old value nor the new one', async () => {
    const { acceptors, options, world } = plain();
    const held = new Map([['aws', new Set(['first'])]]);
    const { beforeAccept } = holding(acceptors, held);
    const noAzureVote = replaced(acceptors, 'azure', { putIfMatch: dark }).filter(({ id }) => id !== 'witness');
    await expect(decide(noAzureVote, name, bytesOf('first'), { ...options, beforeAccept })).rejects.toThrow();
    held.set('aws', new Set());
    held.set('azure', new Set(['second']));
    await expect(decide(acceptors, name, bytesOf('second'), { ...options, beforeAccept })).rejects.toMatchObject({
      code: 'no_majority',
    });
    await world.judge();
    expect(world.decided.size).toBe(0);
  });

  test('a cloud that can promise but not hold the files is replaced by the witness', async () => {
    const { acceptors, options, state } = plain();
    const asked: string[] = [];
    const beforeAccept = async ({ id }: Acceptor) => {
      asked.push(id);
      if (id === 'azure') throw new Error('store is read-only');
    };
    expect((await decide(acceptors, name, bytesOf('one'), { ...options, beforeAccept })).own).toBe(true);
    expect(asked.filter((id) => id === 'azure')).toHaveLength(1);
    expect((await state('azure')).accepted).toBeNull();
    expect((await state('witness')).accepted).not.toBeNull();
  });
});
