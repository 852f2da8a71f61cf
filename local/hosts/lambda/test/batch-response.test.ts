import { expect, test } from '@jest/globals';
import { failedItems } from '../batch-response.ts';

const ids = ['a', 'b'];
const stays = (payload: unknown, reports = true, failed = false) =>
  failedItems({ failed, payload: JSON.stringify(payload) }, ids, reports);

test.each([
  ['an empty list', { batchItemFailures: [] }],
  ['a null list', { batchItemFailures: null }],
  ['an empty object', {}],
  ['null', null],
])('%s is a complete success: every message is deleted', (_, payload) => {
  expect(stays(payload)).toEqual([]);
});

test.each([
  ['text', 'done'],
  ['a list', []],
  ['a list of failures that is none', { batchItemFailures: 'a' }],
  ['an empty id', { batchItemFailures: [{ itemIdentifier: '' }] }],
  ['a null id', { batchItemFailures: [{ itemIdentifier: null }] }],
  ['a misnamed id', { batchItemFailures: [{ messageId: 'a' }] }],
  ['an id of no message', { batchItemFailures: [{ itemIdentifier: 'a' }, { itemIdentifier: 'z' }] }],
])('%s is a complete failure: every message stays', (_, payload) => {
  expect(stays(payload)).toEqual(ids);
});

test('a named message stays, the others are deleted', () => {
  expect(stays({ batchItemFailures: [{ itemIdentifier: 'b' }] })).toEqual(['b']);
});

test('a function that failed keeps every message', () => {
  expect(stays({ errorType: 'Error' }, true, true)).toEqual(ids);
});

test('without ReportBatchItemFailures the response is not read', () => {
  expect(stays({ batchItemFailures: [{ itemIdentifier: 'b' }] }, false)).toEqual([]);
});
