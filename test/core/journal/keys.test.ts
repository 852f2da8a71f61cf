import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import {
  acceptanceKey,
  batchOfKey,
  compareText,
  compareWrites,
  controlKey,
  dispatchKey,
  fileIdPattern,
  invertedTime,
  manifestKey,
  newFileId,
  openKey,
  parseResultKey,
  parseWriteKey,
  recentKey,
  resultKey,
  timeOfInverted,
} from '../../../shared/journal/keys.ts';

const hex = (length: number) =>
  fc.array(fc.constantFrom(...'0123456789abcdef'), { minLength: length, maxLength: length }).map((one) => one.join(''));
const batch = hex(32).map((one) => `batch_${one}`);
const tenant = fc.constantFrom('acme', 'acme-2', 'a_b', 'local', 'batches');
const write = fc.record({
  epoch: fc.integer({ min: 1, max: 99_999_999 }),
  site: fc.constantFrom('aws', 'azure', 'aws2'),
  uuid: hex(32),
});
const result = fc.record({
  firstLine: fc.integer({ min: 0, max: 50_000 }),
  lines: fc.integer({ min: 1, max: 50_000 }),
  answered: fc.integer({ min: 0, max: 50_000 }),
});
const moment = fc.integer({ min: 0, max: Date.UTC(2500, 0, 1) });

describe('keys', () => {
  test('give back what they were made of', () => {
    fc.assert(
      fc.property(tenant, batch, write, result, (owner, id, by, lines) => {
        const name = { ...by, ...lines };
        expect(parseResultKey(resultKey(owner, id, name))).toEqual(name);
        expect(parseWriteKey(acceptanceKey(owner, id, by))).toEqual(by);
        expect(parseWriteKey(dispatchKey(owner, id, by))).toEqual(by);
        for (const key of [resultKey(owner, id, name), manifestKey(owner, id), openKey(owner, id)])
          expect(batchOfKey(key)).toEqual({ tenant: owner, batch: id });
      }),
    );
  });

  test('of candidates sort in byte order as candidates are chosen, within their lines', () => {
    fc.assert(
      fc.property(tenant, batch, write, write, result, (owner, id, a, b, lines) => {
        const [first, second] = [a, b].map((by) => resultKey(owner, id, { ...by, ...lines }));
        const order = compareWrites(a, b);
        if (order !== 0) expect(Math.sign(compareText(first!, second!))).toBe(Math.sign(order));
      }),
    );
  });

  test('with times in them list the newest first', () => {
    fc.assert(
      fc.property(moment, moment, hex(32), (a, b, nonce) => {
        expect(timeOfInverted(invertedTime(a))).toBe(a);
        expect(newFileId(a, nonce)).toMatch(fileIdPattern);
        if (a === b) return;
        const [newer, older] = a > b ? [a, b] : [b, a];
        expect(newFileId(newer, nonce) < newFileId(older, nonce)).toBe(true);
        expect(recentKey('acme', newer, 'x') < recentKey('acme', older, 'x')).toBe(true);
      }),
    );
  });

  test('of control entries sort by number', () => {
    const numbers = [1, 2, 9, 10, 11, 99, 100, 99_999_999];
    expect(numbers.map(controlKey)).toEqual(numbers.map(controlKey).toSorted(compareText));
  });

  test.each([
    't/acme/batches/batch_x/manifest.json',
    `t/acme/batches/batch_${'a'.repeat(33)}/manifest.json`,
    `t/acme/x/batches/batch_${'a'.repeat(32)}/manifest.json`,
    `x/open/acme/batch_${'a'.repeat(32)}`,
    `../t/acme/batches/batch_${'a'.repeat(32)}/manifest.json`,
  ])('that only look like those of a batch are none: %s', (key) => {
    expect(batchOfKey(key)).toBeUndefined();
  });

  test.each([
    'x',
    `/results/00000000-000001/00000001-aws-${'a'.repeat(32)}-000001.json`,
    `/results/0-1/00000001-aws-${'a'.repeat(32)}-000001.jsonl`,
    `/results/00000000-000001/00000001-AWS-${'a'.repeat(32)}-000001.jsonl`,
    `/results/00000000-000001/00000001-aws-${'a'.repeat(32)}-000001.jsonl/x`,
  ])('that only look like those of a result are none: %s', (key) => {
    expect(parseResultKey(key)).toBeUndefined();
  });
});
