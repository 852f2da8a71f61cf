import { describe, expect, test } from '@jest/globals';
import { type Asked, isFlawless, judge, type Published } from '../../../cli/judge.ts';

const chat = (customId: string, batch = 'b'): Asked => ({
  customId,
  batch,
  endpoint: '/v1/chat/completions',
  body: { messages: [{ role: 'user', content: 'The lamp flashes every 9 seconds. How often does it flash?' }] },
});
const embedding = (customId: string): Asked => ({
  customId,
  batch: 'b',
  endpoint: '/v1/embeddings',
  body: { input: 'x', dimensions: 2 },
});

const answer = (customId: string, content: unknown = 'The lamp flashes every 9 seconds. [sample 00ff00]') =>
  line(customId, { choices: [{ message: { content } }] });
const vector = (customId: string, embedding: unknown) => line(customId, { data: [{ embedding }] });
const line = (custom_id: string, body: object) => `${JSON.stringify({ custom_id, response: { body } })}\n`;

/** The same files from both clouds. */
function both(output: string, error = '', batch = 'b'): Published[] {
  return ['aws', 'azure'].flatMap((cloud) => [
    { batch, kind: 'output' as const, cloud, sha256: `${output.length}`, content: output },
    { batch, kind: 'error' as const, cloud, sha256: `${error.length}`, content: error },
  ]);
}

const verdictOf = (asked: Asked[], published: Published[], isExtractive = true) =>
  judge(asked, published, ['aws', 'azure'], isExtractive);

describe('judge', () => {
  test('every request answered once, alike in both clouds, is flawless', () => {
    const verdict = verdictOf([chat('a'), embedding('e')], both(answer('a') + vector('e', [0.6, 0.8])));
    expect(verdict).toMatchObject({ accepted: 2, answered: 2, failed: 0, lost: [] });
    expect(isFlawless(verdict)).toBe(true);
  });

  test.each<[string, Asked[], Published[], object]>([
    ['a request in no file is lost', [chat('a'), chat('z')], both(answer('a')), { lost: ['z'] }],
    ['a request twice in one file', [chat('a')], both(answer('a') + answer('a')), { publishedTwice: ['a'] }],
    ['a request in output and error file', [chat('a')], both(answer('a'), answer('a')), { publishedTwice: ['a'] }],
    ['a request that nobody made', [chat('a')], both(answer('a') + answer('x')), { strange: ['x'] }],
    [
      'an answer in the file of another batch',
      [chat('a'), chat('c', 'b2')],
      [...both(answer('a')), ...both(answer('a'), '', 'b2')],
      { strange: ['a'], lost: ['c'] },
    ],
    ['a failed request', [chat('a')], both('', answer('a')), { failed: 1, answered: 0 }],
    ['an answer of other words', [chat('a')], both(answer('a', 'The horn sounds at noon.')), { implausible: ['a'] }],
    ['an empty answer', [chat('a')], both(answer('a', '')), { implausible: ['a'] }],
    ['a vector of another length', [embedding('e')], both(vector('e', [1])), { implausible: ['e'] }],
    ['a vector that has no direction', [embedding('e')], both(vector('e', [0, 0])), { implausible: ['e'] }],
    ['a file that one cloud lacks', [chat('a')], both(answer('a')).slice(0, 3), { different: ['b error'] }],
    [
      'files that differ',
      [chat('a')],
      [...both(answer('a')).slice(0, 3), { ...both('')[3]!, sha256: 'other' }],
      { different: ['b error'] },
    ],
  ])('%s is found, and is not flawless', (_, asked, published, found) => {
    const verdict = verdictOf(asked, published);
    expect(verdict).toMatchObject(found);
    expect(isFlawless(verdict)).toBe(false);
  });

  test('a model of the user may answer in its own words, but not with nothing', () => {
    expect(isFlawless(verdictOf([chat('a')], both(answer('a', 'Nine seconds.')), false))).toBe(true);
    expect(isFlawless(verdictOf([chat('a')], both(answer('a', ' ')), false))).toBe(false);
  });
});
