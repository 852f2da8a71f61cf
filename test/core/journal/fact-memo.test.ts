import { describe, expect, test } from '@jest/globals';
import * as z from 'zod';
import { FactMemo } from '../../../shared/journal/fact-memo.ts';
import { parseFact } from '../../../shared/journal/facts.ts';
import { canonicalBytes } from '../../../shared/journal/json.ts';

const bytesOf = (n: number, note = '') => canonicalBytes({ v: 1, kind: 'note', n, tags: [note] });

/** Counts how often a text got as far as its schema. */
function countedMemo(bytesMax?: number) {
  let parsed = 0;
  const schema = z.object({ v: z.literal(1), kind: z.literal('note'), n: z.int(), tags: z.array(z.string()) });
  const counted = schema.transform((value) => {
    parsed += 1;
    return value;
  });
  return { memo: new FactMemo(counted, bytesMax), schema, parsedSoFar: () => parsed };
}

describe('a memo of facts', () => {
  test('parses the same bytes once, and gives what parsing gives', () => {
    const { memo, schema, parsedSoFar } = countedMemo();
    const first = memo.parse(bytesOf(1));
    expect(first).toEqual(parseFact(schema, bytesOf(1)));
    expect(memo.parse(Uint8Array.from(bytesOf(1)))).toBe(first);
    expect(parsedSoFar()).toBe(1);
    expect(memo.parse(bytesOf(2))).toEqual(parseFact(schema, bytesOf(2)));
    expect(parsedSoFar()).toBe(2);
  });

  test('bytes that differ in one place are told apart, beyond ASCII too', () => {
    const { memo } = countedMemo();
    const tagOf = (note: string) => {
      const read = memo.parse(bytesOf(1, note));
      return 'fact' in read ? read.fact.tags[0] : read;
    };
    expect(['ä', 'ö', 'Ã¤', '試', '詪'].map(tagOf)).toEqual(['ä', 'ö', 'Ã¤', '試', '詪']);
  });

  test('what it gives cannot be changed, since it is given to others', () => {
    const read = countedMemo().memo.parse(bytesOf(1));
    if ('fault' in read) throw new Error(read.detail);
    expect(() => Object.assign(read.fact, { n: 2 })).toThrow(TypeError);
    expect(() => read.fact.tags.push('more')).toThrow(TypeError);
  });

  test('faults are told each time, and the bound of a fact holds', () => {
    const { memo } = countedMemo(60);
    for (let i = 0; i < 2; i++) {
      expect(memo.parse(Buffer.from('{"v":1,'))).toMatchObject({ fault: 'torn' });
      expect(memo.parse(canonicalBytes({ v: 2, kind: 'note' }))).toMatchObject({ fault: 'unknown' });
      expect(memo.parse(canonicalBytes({ v: 1, kind: 'note' }))).toMatchObject({ fault: 'invalid' });
      expect(memo.parse(bytesOf(1, 'x'.repeat(60)))).toMatchObject({ fault: 'oversized' });
    }
  });

  test('forgets the oldest when it holds too much, and never holds what is large', () => {
    const { memo, parsedSoFar } = countedMemo();
    const note = 'x'.repeat(256 * 1024);
    for (let n = 0; n < 40; n++) memo.parse(bytesOf(n, note));
    expect(parsedSoFar()).toBe(40);
    memo.parse(bytesOf(39, note));
    expect(parsedSoFar()).toBe(40);
    memo.parse(bytesOf(0, note));
    expect(parsedSoFar()).toBe(41);
    for (let i = 0; i < 2; i++) memo.parse(bytesOf(1, 'y'.repeat(600 * 1024)));
    expect(parsedSoFar()).toBe(43);
  });
});
