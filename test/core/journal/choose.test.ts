import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import type { PlacedResult } from '../../../shared/journal/batch.ts';
import {
  assertComplete,
  attemptsOf,
  chooseResults,
  chosenRows,
  rangesWithout,
  unfinishedRanges,
} from '../../../shared/journal/choose.ts';
import { noUsage, type ResultRow } from '../../../shared/journal/facts.ts';
import { sha256 } from '../../../shared/journal/json.ts';
import { parseResultKey, resultKey } from '../../../shared/journal/keys.ts';
import { parseResult, type ResultObject, resultBytes } from '../../../shared/journal/results.ts';

const batch = `batch_${'b'.repeat(32)}`;
const linesOfBatch = 12;
const customId = (line: number) => `id-${line}`;
const accepted = Array.from({ length: linesOfBatch }, (_, line) => customId(line));

const answer = (line: number, text: string, id = customId(line)): ResultRow => ({
  outcome: 'answered',
  line,
  customId: id,
  status: 200,
  requestId: 'r',
  body: { text },
  servedBy: { site: 'aws', backend: 'b', model: 'm' },
  usage: noUsage,
});
const retry = (line: number, counts: boolean): ResultRow => ({
  outcome: 'retry',
  line,
  customId: customId(line),
  cause: counts ? 'line' : 'site',
  reason: 'r',
  counts,
});

interface Written {
  key: string;
  object: ResultObject;
  placed: PlacedResult;
}
function write(
  by: {
    epoch: number;
    site: string;
    seed: string;
    firstLine: number;
    lines: number;
    attempt?: string;
    start?: boolean;
  },
  rows: ResultRow[],
): Written {
  const uuid = sha256(by.seed).slice(0, 32);
  const { name, bytes } = resultBytes({ ...by, uuid, batch, at: 1, attempt: by.attempt ?? uuid }, rows);
  const key = resultKey('local', batch, name);
  const object = parseResult(key, bytes);
  if ('fault' in object) throw new Error(object.detail);
  return { key, object, placed: { ...parseResultKey(key)!, key, sites: ['aws'] } };
}
const viewOf = (written: Written[], lines = linesOfBatch) => ({
  results: written.map(({ placed }) => placed),
  plan: { lines },
});
const readerOf = (written: Written[]) => {
  const objects = new Map(written.map(({ key, object }) => [key, object]));
  return async (key: string) => objects.get(key);
};

/** A few result objects over ranges that overlap, from two sites and three epochs. */
const objects = fc
  .array(
    fc.record({
      epoch: fc.integer({ min: 1, max: 3 }),
      site: fc.constantFrom('aws', 'azure'),
      firstLine: fc.integer({ min: 0, max: linesOfBatch - 1 }),
      lines: fc.integer({ min: 1, max: 6 }),
      outcomes: fc.array(fc.constantFrom('answered', 'failed', 'retry', 'none'), { minLength: 6, maxLength: 6 }),
    }),
    { maxLength: 8 },
  )
  .map((specs) =>
    specs.map(({ epoch, site, firstLine, lines, outcomes }, i) => {
      const count = Math.min(lines, linesOfBatch - firstLine);
      const rows = outcomes.slice(0, count).flatMap((outcome, offset): ResultRow[] => {
        const line = firstLine + offset;
        if (outcome === 'none') return [];
        if (outcome === 'retry') return [retry(line, true)];
        if (outcome === 'failed')
          return [{ outcome: 'failed', line, customId: customId(line), code: 'c', message: `by ${i}` }];
        return [answer(line, `by ${i}`)];
      });
      return write({ epoch, site, seed: `uuid ${i}`, firstLine, lines: count }, rows);
    }),
  );

describe('choosing results', () => {
  test('takes for each line the first terminal row in the order epoch, site, uuid', async () => {
    const late = write({ epoch: 2, site: 'aws', seed: 'a', firstLine: 0, lines: 2 }, [answer(0, 'late')]);
    const azure = write({ epoch: 1, site: 'azure', seed: 'b', firstLine: 0, lines: 2 }, [
      answer(0, 'azure'),
      answer(1, 'azure'),
    ]);
    const aws = write({ epoch: 1, site: 'aws', seed: 'c', firstLine: 0, lines: 2 }, [answer(0, 'aws'), retry(1, true)]);
    const { chosen, repeats } = await chooseResults(viewOf([late, azure, aws]), readerOf([late, azure, aws]));
    expect(chosen.map(({ line, from }) => [line, from])).toEqual([
      [0, aws.key],
      [1, azure.key],
    ]);
    expect(repeats).toBe(1);
  });

  test('gives the same choice for any order and any repetition of the same objects', async () => {
    await fc.assert(
      fc.asyncProperty(
        objects.chain((written) =>
          fc.tuple(
            fc.constant(written),
            fc.shuffledSubarray(written, { minLength: written.length }),
            fc.subarray(written),
            fc.integer({ min: 1, max: 5 }),
          ),
        ),
        async ([written, shuffled, again, parallel]) => {
          const straight = await chooseResults(viewOf(written), readerOf(written), { parallel: 1 });
          const slow = async (key: string) => {
            for (let i = key.charCodeAt(key.length - 20) % 7; i > 0; i--) await Promise.resolve();
            return readerOf(written)(key);
          };
          const other = await chooseResults(viewOf([...again, ...shuffled, ...again]), slow, { parallel });
          expect(other).toEqual(straight);
        },
      ),
    );
  });

  test('gives every line that any object answers exactly once, and only those', async () => {
    await fc.assert(
      fc.asyncProperty(objects, async (written) => {
        const { chosen } = await chooseResults(viewOf(written), readerOf(written), { accepted });
        const unfinished = unfinishedRanges(
          linesOfBatch,
          written.map(({ object }) => object),
        );
        const open = unfinished.flatMap(([first, lines]) => Array.from({ length: lines }, (_, i) => first + i));
        const all = [...chosen.map(({ line }) => line), ...open].sort((a, b) => a - b);
        expect(all).toEqual(accepted.map((_, line) => line));
        expect(rangesWithout(linesOfBatch, (line) => chosen.some((one) => one.line === line))).toEqual(unfinished);
      }),
    );
  });

  test('streams the bodies of exactly the chosen rows, in line order', async () => {
    await fc.assert(
      fc.asyncProperty(objects, async (written) => {
        const { chosen } = await chooseResults(viewOf(written), readerOf(written));
        const rows = await Array.fromAsync(chosenRows(chosen, readerOf(written)));
        const expected = chosen.map(({ from, line }) =>
          written.find(({ key }) => key === from)!.object.rows.find((row) => row.line === line),
        );
        expect(rows.map(({ row }) => row)).toEqual(expected);
        for (const [i, { by }] of rows.entries()) expect(chosen[i]!.from).toContain(`-${by.site}-`);
      }),
    );
  });

  test('reads each object once when the objects follow each other', async () => {
    const written = Array.from({ length: linesOfBatch }, (_, line) =>
      write({ epoch: 1, site: 'aws', seed: `u${line}`, firstLine: line, lines: 1 }, [answer(line, 'x')]),
    );
    const { chosen } = await chooseResults(viewOf(written), readerOf(written));
    let reads = 0;
    const counting = async (key: string) => {
      reads += 1;
      return readerOf(written)(key);
    };
    expect(await Array.fromAsync(chosenRows(chosen, counting))).toHaveLength(linesOfBatch);
    expect(reads).toBe(linesOfBatch);
  });

  test('F32: an object that answers a line beyond the batch is refused whole and named', async () => {
    const good = write({ epoch: 2, site: 'aws', seed: 'a', firstLine: 0, lines: 1 }, [answer(0, 'good')]);
    const beyond = write({ epoch: 1, site: 'aws', seed: 'b', firstLine: 0, lines: 99 }, [
      answer(0, 'bad'),
      answer(98, 'bad'),
    ]);
    const { chosen, refused } = await chooseResults(viewOf([good, beyond]), readerOf([good, beyond]));
    expect(chosen).toEqual([{ line: 0, customId: 'id-0', outcome: 'answered', from: good.key }]);
    expect(refused.map(({ key }) => key)).toEqual([beyond.key]);
  });

  test('F32: an object that answers under another custom_id is refused whole and named', async () => {
    const foreign = write({ epoch: 1, site: 'aws', seed: 'b', firstLine: 0, lines: 2 }, [
      answer(0, 'x'),
      answer(1, 'x', 'somebody-else'),
    ]);
    const choice = await chooseResults(viewOf([foreign]), readerOf([foreign]), { accepted });
    expect(choice.chosen).toEqual([]);
    expect(choice.refused).toEqual([{ key: foreign.key, fault: { fault: 'invalid', detail: expect.any(String) } }]);
  });

  test('F32: an object that cannot be read answers nothing and is named', async () => {
    const torn = write({ epoch: 1, site: 'aws', seed: 'b', firstLine: 0, lines: 1 }, [answer(0, 'x')]);
    const choice = await chooseResults(viewOf([torn]), readerOf([]));
    expect(choice).toMatchObject({ chosen: [], refused: [{ key: torn.key, fault: { fault: 'torn' } }] });
  });

  test('F55: a partial result does not hide the fuller one of a later attempt, nor is it replaced by it', async () => {
    const partial = write({ epoch: 1, site: 'aws', seed: 'a', firstLine: 0, lines: 3 }, [answer(1, 'partial')]);
    const full = write({ epoch: 1, site: 'azure', seed: 'b', firstLine: 0, lines: 3 }, [
      answer(0, 'full'),
      answer(1, 'full'),
      answer(2, 'full'),
    ]);
    expect(partial.key).not.toBe(full.key);
    const { chosen } = await chooseResults(viewOf([partial, full]), readerOf([partial, full]));
    expect(chosen.map(({ from }) => from)).toEqual([full.key, partial.key, full.key]);
  });

  test('a store that does not answer fails the choice instead of changing it', async () => {
    const one = write({ epoch: 1, site: 'aws', seed: 'a', firstLine: 0, lines: 1 }, [answer(0, 'x')]);
    const dark = async () => {
      throw new Error('dark');
    };
    await expect(chooseResults(viewOf([one]), dark)).rejects.toThrow('dark');
  });
});

describe('attempts', () => {
  test('count retry rows that count, and starts that left no result, in both clouds', () => {
    const spent = attemptsOf(
      [
        write({ epoch: 1, site: 'aws', seed: 'a', firstLine: 0, lines: 2 }, [retry(0, true), retry(1, false)]),
        write({ epoch: 1, site: 'azure', seed: 'b', firstLine: 0, lines: 2, start: true }, []),
        write({ epoch: 2, site: 'aws', seed: 'c', firstLine: 1, lines: 1 }, [retry(1, true)]),
      ].map(({ object }) => object),
    );
    expect(spent).toEqual(
      new Map([
        [0, { attempts: 2, crashes: 1 }],
        [1, { attempts: 2, crashes: 1 }],
      ]),
    );
  });

  test('do not count a start whose attempt left a result, nor the attempt that is running', () => {
    const attempt = 'a'.repeat(32);
    const running = 'f'.repeat(32);
    const objects = [
      write({ epoch: 1, site: 'aws', seed: 'a', firstLine: 0, lines: 2, start: true, attempt }, []),
      write({ epoch: 1, site: 'aws', seed: 'b', firstLine: 0, lines: 2, attempt }, [answer(0, 'x')]),
      write({ epoch: 1, site: 'aws', seed: 'c', firstLine: 0, lines: 2, start: true, attempt: running }, []),
    ].map(({ object }) => object);
    expect(attemptsOf(objects, running)).toEqual(new Map());
    expect(attemptsOf(objects).get(0)).toEqual({ attempts: 1, crashes: 1 });
  });

  test('are the same however often an object is listed', () => {
    const one = write({ epoch: 1, site: 'aws', seed: 'a', firstLine: 0, lines: 1 }, [retry(0, true)]).object;
    expect(attemptsOf([one, structuredClone(one)])).toEqual(attemptsOf([one]));
  });
});

describe('the completeness gate', () => {
  const published = (...ids: string[]) => ids.map((id) => ({ customId: id }));

  test('passes equal sets in any order', () => {
    expect(() => assertComplete(['a', 'b'], published('b', 'a'))).not.toThrow();
    expect(() => assertComplete([], [])).not.toThrow();
  });

  test.each([
    ['a missing id', ['a', 'b'], ['a'], '1 missing ("b")'],
    ['an id never accepted', ['a'], ['a', 'x'], '1 never accepted ("x")'],
    ['an id that comes twice', ['a'], ['a', 'a'], '1 more than once ("a")'],
    ['equal counts of other ids', ['a', 'b'], ['a', 'x'], '1 missing ("b"); 1 never accepted ("x")'],
  ])('refuses %s, naming it', (_what, ids, out, told) => {
    expect(() => assertComplete(ids, published(...out))).toThrow(told);
  });
});
