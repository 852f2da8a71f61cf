import { describe, expect, test } from '@jest/globals';
import {
  type Bounds,
  describeSearch,
  search,
  searchRegisters,
  smallBounds,
} from '../../../local/simulator/registers/index.ts';
import { type Bug, registersWith } from './mutant.ts';

describe('registers, every schedule within bounds', () => {
  const rows: string[] = [];
  let states = 0;

  test.each(smallBounds.map((bounds) => [bounds.name, bounds] as const))(
    '%s: at most one value, for everybody, for ever',
    async (_name, bounds) => {
      for await (const searched of searchRegisters([bounds])) {
        expect(searched.result.violation).toBeUndefined();
        rows.push(describeSearch(searched));
        states += searched.result.states;
      }
    },
  );

  test('the searches are worth something: either rival wins somewhere, and no few states were seen', () => {
    console.log(`${rows.join('\n')}\nin all ${states.toLocaleString('en-US')} states`);
    expect(rows).toHaveLength(smallBounds.length);
    expect(rows.filter((row) => row.includes('decided v1 or v2')).length).toBeGreaterThan(5);
    expect(states).toBeGreaterThan(200_000);
  });

  test('a search twice finds the same numbers', async () => {
    const bounds = smallBounds.find(({ name }) => name === 'two proposers that ask different stores')!;
    const numbers = async () => {
      for await (const { result } of searchRegisters([bounds])) return result;
      return undefined;
    };
    expect(await numbers()).toEqual(await numbers());
  });
});

describe('a planted bug is found', () => {
  const clouds = ['aws', 'azure'];
  const p1 = { name: 'p1', value: 'v1', attemptsMax: 2, prefer: clouds };
  const p2 = { name: 'p2', value: 'v2', attemptsMax: 1, prefer: ['azure', 'witness'] };
  const stubborn: Bounds = {
    name: 'two proposers of two attempts',
    processes: [p1, { ...p2, attemptsMax: 2 }],
    statesMax: 200_000,
  };
  const rivals: Bounds = { name: 'two proposers', processes: [p1, p2], statesMax: 200_000 };
  const oneAfterTheOther: Bounds = {
    name: 'one dies, another one begins',
    processes: [p1],
    crash: { process: 0, restart: p2 },
    statesMax: 200_000,
  };

  test('none, in the code as it is', async () => {
    const code = await registersWith();
    expect(
      (await search({ ...rivals, processes: [p1, p2].map((one) => ({ ...one, attemptsMax: 1 })) }, code)).violation,
    ).toBeUndefined();
    expect((await search(oneAfterTheOther, code)).violation).toBeUndefined();
  });

  test('F50: a ballot that is the name of a process, which two of its invocations share', async () => {
    const ballotId = '7'.repeat(32);
    const shared = [p1, p2].map((one) => ({ ...one, ballotId }));
    expect((await search({ ...rivals, processes: shared }, await registersWith())).violation?.rule).toMatch(
      /two values were decided|is not decided/,
    );
  });

  test.each<[string, Bounds, RegExp, Bug]>([
    [
      'an accept over whatever is there, and not over what our promise left',
      rivals,
      /two values were decided/,
      {
        file: 'acceptor.ts',
        from: '(await this.#write(ballot, { ballot, value }, etag)) !== undefined',
        to: '(await this.#write(ballot, { ballot, value }, (await this.read()).etag)) !== undefined',
      },
    ],
    [
      'no prepare: what is there is only read',
      stubborn,
      /two values were decided/,
      {
        file: 'registers.ts',
        from: '(handle) => handle.promise(ballot),',
        to: 'async (handle) => ({ handle, ...(await handle.read()) }),',
      },
    ],
    [
      'an adopted value that is forgotten for our own',
      oneAfterTheOther,
      /two values were decided/,
      { file: 'registers.ts', from: 'highest?.value ?? value', to: 'value ?? highest?.value' },
    ],
    [
      'a promise that forgets what was accepted',
      oneAfterTheOther,
      /two values were decided/,
      {
        file: 'acceptor.ts',
        from: 'const etag = await this.#write(ballot, seen.accepted, seen.etag);\n      if (etag !== undefined) return { handle: this, etag, accepted: seen.accepted };',
        to: 'const etag = await this.#write(ballot, null, seen.etag);\n      if (etag !== undefined) return { handle: this, etag, accepted: null };',
      },
    ],
    [
      'the oldest accepted value adopted, and not the newest',
      rivals,
      /two values were decided|which is not decided/,
      {
        file: 'registers.ts',
        from: '.sort((a, b) => compareBallots(b.ballot, a.ballot))[0]',
        to: '.sort((a, b) => compareBallots(a.ballot, b.ballot))[0]',
      },
    ],
    [
      'a majority of one',
      rivals,
      /two values were decided|which is not decided/,
      { file: 'registers.ts', from: 'const majority = 2;', to: 'const majority = 1;' },
    ],
    [
      'ballots of one round taken for equal',
      rivals,
      /two values were decided|which is not decided/,
      {
        file: 'acceptor.ts',
        from: 'return a.round - b.round || (a.id < b.id ? -1 : a.id > b.id ? 1 : 0);',
        to: 'return a.round - b.round;',
      },
    ],
    [
      'a promise given although a newer one was given before',
      stubborn,
      /two values were decided|which is not decided|ended with/,
      { file: 'acceptor.ts', from: 'if (order > 0) return { refusedFor: seen.promised };', to: '' },
    ],
    [
      'a vote believed although the write was refused',
      rivals,
      /which is not decided/,
      {
        file: 'acceptor.ts',
        from: 'return { refusedFor: seen.promised ?? ballot };',
        to: 'return { voted: true };',
      },
    ],
    [
      'half a decision taken for a whole one by who only looks',
      {
        name: 'a proposer and a learner',
        processes: [p1, { name: 'learner', value: undefined, attemptsMax: 1, prefer: clouds }],
      },
      /learner was given v1, which is not decided/,
      {
        file: 'registers.ts',
        from: 'accepted.slice(i + 1).some((two) => compareBallots(one.ballot, two.ballot) === 0)',
        to: 'accepted.slice(i).some((two) => compareBallots(one.ballot, two.ballot) === 0)',
      },
    ],
  ])('%s', async (_what, bounds, rule, bug) => {
    const { violation } = await search({ statesMax: 200_000, ...bounds }, await registersWith(bug));
    expect(violation?.rule).toMatch(rule);
    expect(violation!.schedule.length).toBeGreaterThan(3);
  });
});
