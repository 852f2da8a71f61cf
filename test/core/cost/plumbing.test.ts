import { describe, expect, test } from '@jest/globals';
import { type BatchTrace, plumbingCost } from '../../../shared/cost/plumbing.ts';
import { type Cloud, type Operation, operations, unitPrices } from '../../../shared/cost/prices.ts';

const trace = (more: Partial<BatchTrace> = {}): BatchTrace => ({
  clouds: new Map([
    ['aws', 'aws'],
    ['azure', 'azure'],
  ]),
  objects: [],
  home: 'aws',
  acceptedBy: 'aws',
  inputBytes: 0,
  boundTo: null,
  dispatches: [],
  results: [],
  publication: undefined,
  ...more,
});
/** What `more` adds to an empty batch. */
function added(more: Partial<BatchTrace>, cloud: Cloud, operation: Operation): number {
  const countOf = (one: BatchTrace) =>
    plumbingCost(one).find((row) => row.cloud === cloud && row.operation === operation)?.count ?? 0;
  return countOf(trace(more)) - countOf(trace());
}
const ranges = (count: number): [number, number][] => Array.from({ length: count }, (_, i) => [i * 50, 50]);

describe('calls that the facts of a batch prove', () => {
  test('an object is a write in each store that holds it', () => {
    const objects = [{ sites: ['aws', 'azure'] }, { sites: ['aws'] }];
    expect(added({ objects }, 'aws', 'store_write')).toBe(2);
    expect(added({ objects }, 'azure', 'store_write')).toBe(1);
  });

  test('a pointer is sent, received and completed: ten at a time on SQS, one by one on Service Bus', () => {
    expect(added({ dispatches: [{ to: 'aws', ranges: ranges(25) }] }, 'aws', 'queue_call')).toBe(9);
    expect(added({ dispatches: [{ to: 'azure', ranges: ranges(25) }] }, 'azure', 'queue_call')).toBe(75);
    expect(added({ dispatches: [{ to: 'azure', ranges: ranges(25) }] }, 'azure', 'store_read')).toBe(25);
  });

  test('input and results leave the cloud that has them first, unless they are bound to it', () => {
    const results = [{ site: 'azure', bytes: 500 }];
    expect(added({ inputBytes: 1000, results }, 'aws', 'bytes_to_other_cloud')).toBe(1000);
    expect(added({ inputBytes: 1000, results }, 'azure', 'bytes_to_other_cloud')).toBe(500);
    expect(added({ inputBytes: 1000, results, boundTo: 'aws' }, 'aws', 'bytes_to_other_cloud')).toBe(0);
  });

  test('a publication is decided in two stores, and its files are written to both', () => {
    const file = { sha256: 'a'.repeat(64), bytes: 100 };
    const publication = { site: 'azure', output: file, errorFile: null, choice: file };
    const results = [{ site: 'aws', bytes: 0 }];
    expect(added({ publication, results }, 'aws', 'store_write')).toBe(4);
    expect(added({ publication, results }, 'azure', 'store_read')).toBe(4);
    expect(added({ publication, results }, 'azure', 'bytes_to_other_cloud')).toBe(200);
  });

  test('a site that is not known any more is in no sum', () => {
    expect(plumbingCost(trace({ objects: [{ sites: ['gone'] }] }))).toEqual(plumbingCost(trace()));
  });

  test('dollars are the count times the published price', () => {
    for (const { cloud, operation, count, dollars } of plumbingCost(trace({ inputBytes: 1e9 })))
      expect(dollars).toBeCloseTo(count * unitPrices[cloud][operation], 12);
    for (const cloud of ['aws', 'azure'] as const)
      for (const operation of operations) expect(unitPrices[cloud][operation]).toBeGreaterThan(0);
  });
});
