import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { batchLinesMax, lineBytesMax } from '../../../shared/limits.ts';
import { PlanBuilder } from '../../../shared/worker/plan.ts';
import { inputLines } from '../../support/world.ts';

const limits = { linesMax: 5, tokensMax: 100_000, bytesMax: 10_000_000 };

function plan(input: string | Buffer, options: { pieces?: number[]; limits?: typeof limits } = {}) {
  const bytes = Buffer.isBuffer(input) ? input : Buffer.from(input);
  const builder = new PlanBuilder({
    batch: `batch_${'0'.repeat(32)}`,
    inputSha256: '0'.repeat(64),
    endpoint: '/v1/chat/completions',
    limits: options.limits ?? limits,
    knowsModel: (alias) => alias !== 'unknown',
  });
  let from = 0;
  for (const length of options.pieces ?? []) {
    builder.push(bytes.subarray(from, from + length));
    from += length;
  }
  builder.push(bytes.subarray(from));
  return builder.finish();
}

const line = (change: object = {}, body: object = {}) =>
  JSON.stringify({
    custom_id: 'a',
    method: 'POST',
    url: '/v1/chat/completions',
    body: { model: 'm', messages: [], ...body },
    ...change,
  });
const deep = (levels: number) => '['.repeat(levels) + ']'.repeat(levels);

describe('what a file may hold', () => {
  const good = inputLines(2).trimEnd().split('\n');
  test.each([
    ['no final line end', good.join('\n')],
    ['CRLF line ends', `${good.join('\r\n')}\r\n`],
    ['empty lines at the end', `${good.join('\n')}\n\n \r\n`],
    [
      'U+2028, NUL and lone surrogates inside strings',
      `${line({ custom_id: 'a\u2028\\u0000' })}\n${line({ custom_id: '\ud800' })}`,
    ],
    [
      'a key twice: the last one counts, on every cloud',
      `${line().replace('{', '{"custom_id":"b",')}\n${line({ custom_id: 'c' })}`,
    ],
    [
      'numbers that no double holds',
      `${line({}, { seed: 1 }).replace('"seed":1', '"seed":123456789012345678901')}\n${good[1]}`,
    ],
    ['depth within bounds', `${line().replace('"messages":[]', `"messages":${deep(60)}`)}\n${good[1]}`],
  ])('%s is taken', (_, input) => {
    expect(plan(input)).toMatchObject({ lines: 2, errors: [] });
  });

  test.each<[string, string | Buffer, string, number | null, string | null]>([
    ['an empty file', '', 'empty_file', null, null],
    ['only blank lines', '\n \n', 'empty_file', null, null],
    ['a byte order mark', `\ufeff${good.join('\n')}`, 'invalid_json_line', 1, null],
    ['an empty line in the middle', `${good[0]}\n\n${good[1]}`, 'invalid_json_line', 2, null],
    ['a line that is not JSON', `${good[0]}\n{"custom_id": \n`, 'invalid_json_line', 2, null],
    ['a line that is not an object', `${good[0]}\n[1]\n`, 'invalid_json_line', 2, null],
    [
      'invalid UTF-8',
      Buffer.from([...Buffer.from(`${good[0]}\n{"a":"`), 0xff, 0x22, 0x7d]),
      'invalid_json_line',
      2,
      null,
    ],
    ['JSON nested 100 deep', line().replace('"messages":[]', `"messages":${deep(100)}`), 'invalid_request', 1, null],
    ['JSON nested 5,000 deep', line().replace('"messages":[]', `"messages":${deep(5000)}`), 'invalid_request', 1, null],
    ['__proto__ as a key', line().replace('"messages"', '"__proto__":{},"messages"'), 'invalid_request', 1, null],
    [
      'a million keys',
      line().replace('"messages":[]', `"messages":[${'{},'.repeat(999_999)}{}]`),
      'invalid_request',
      1,
      null,
    ],
    ['a line of 5 MB', line({}, { pad: 'x'.repeat(5_000_000) }), 'invalid_request', 1, null],
    ['duplicate custom_id', `${good[0]}\n${good[0]}`, 'duplicate_custom_id', 2, 'custom_id'],
    ['no custom_id', line({ custom_id: undefined }), 'invalid_request', 1, 'custom_id'],
    ['an empty custom_id', line({ custom_id: '' }), 'invalid_request', 1, 'custom_id'],
    ['a custom_id of 513 characters', line({ custom_id: 'x'.repeat(513) }), 'invalid_request', 1, 'custom_id'],
    ['another method', line({ method: 'GET' }), 'invalid_request', 1, 'method'],
    ['another url', line({ url: '/v1/embeddings' }), 'url_mismatch', 1, 'url'],
    ['no body', line({ body: null }), 'invalid_request', 1, 'body'],
    ['no model', line({}, { model: undefined }), 'invalid_request', 1, 'body.model'],
    ['a model nobody serves', line({}, { model: 'unknown' }), 'model_not_found', 1, 'body.model'],
    ['two models', `${good[0]}\n${line({}, { model: 'n' })}`, 'model_mismatch', 2, 'body.model'],
    ['stream: true', line({}, { stream: true }), 'invalid_request', 1, 'body.stream'],
    ['1e999 as a key word', line().replace('"messages":[]', '"n":1e999x'), 'invalid_json_line', 1, null],
  ])('%s is refused', (_, input, code, lineNumber, param) => {
    const made = plan(input);
    expect(made.errors[0]).toMatchObject({ code, line: lineNumber, param });
    expect(made.chunks).toEqual([]);
  });

  test('50,000 lines are taken, one more is too many', () => {
    expect(plan(inputLines(batchLinesMax))).toMatchObject({ lines: batchLinesMax, errors: [] });
    expect(plan(inputLines(batchLinesMax + 1)).errors[0]).toMatchObject({ code: 'too_many_tasks', line: null });
  });

  test('a hundred errors are told, and no more', () => {
    expect(plan('x\n'.repeat(5000)).errors).toHaveLength(100);
  });

  test('a line just within the limit is taken', () => {
    const padding = lineBytesMax - Buffer.byteLength(line({}, { pad: '' }));
    expect(plan(line({}, { pad: 'x'.repeat(padding) })).errors).toEqual([]);
    expect(plan(line({}, { pad: 'x'.repeat(padding + 1) })).errors[0]).toMatchObject({
      code: 'invalid_request',
      line: 1,
    });
  });
});

describe('how a file is cut', () => {
  test('chunks cover every byte and line once, in order, within the limits, however the stream was cut', () => {
    const input = Buffer.from(inputLines(57));
    const whole = plan(input);
    expect(whole.chunks[0]).toMatchObject({ offset: 0, firstLine: 0 });
    for (const [i, chunk] of whole.chunks.entries()) {
      const next = whole.chunks[i + 1];
      expect(chunk.lines).toBeLessThanOrEqual(limits.linesMax);
      expect(chunk.offset + chunk.length).toBe(next?.offset ?? input.length);
      expect(chunk.firstLine + chunk.lines).toBe(next?.firstLine ?? 57);
    }
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 700 }), { maxLength: 12 }), (pieces) => {
        expect(plan(input, { pieces })).toEqual(whole);
      }),
    );
  });

  test.each([
    ['tokens', { linesMax: 100, tokensMax: 70, bytesMax: 1e7 }],
    ['bytes', { linesMax: 100, tokensMax: 1e6, bytesMax: 280 }],
  ])('a chunk ends before its %s exceed the limit, but holds at least one line', (_, bound) => {
    const chunks = plan(inputLines(9), { limits: bound }).chunks;
    expect(chunks.length).toBeGreaterThan(1);
    for (const chunk of chunks)
      expect(chunk.lines === 1 || (chunk.tokens <= bound.tokensMax && chunk.length <= bound.bytesMax)).toBe(true);
  });
});
