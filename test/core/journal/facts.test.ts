import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { viewBatch } from '../../../shared/journal/batch.ts';
import { resultReader } from '../../../shared/journal/choose.ts';
import {
  type Acceptance,
  acceptanceSchema,
  factBytes,
  type Manifest,
  manifestSchema,
  noUsage,
  parseFact,
  type ResultRow,
} from '../../../shared/journal/facts.ts';
import {
  canonicalBytes,
  canonicalJson,
  equalBytes,
  findHostile,
  findHostileIn,
  type Json,
  parseBoundedJson,
} from '../../../shared/journal/json.ts';
import { acceptanceKey, manifestKey, quarantineKey, resultKey } from '../../../shared/journal/keys.ts';
import { readFact } from '../../../shared/journal/replicas.ts';
import { parseResult, resultBytes, splitRows } from '../../../shared/journal/results.ts';
import { TwoSites } from './two-sites.ts';

const tenant = 'local';
const batch = `batch_${'b'.repeat(32)}`;
const manifest: Manifest = {
  v: 1,
  kind: 'manifest',
  batch,
  tenant,
  endpoint: '/v1/embeddings',
  inputSha256: 'a'.repeat(64),
  inputBytes: 10,
  windowMs: 86_400_000,
  metadata: { team: 'x' },
  outputExpiresAfterMs: null,
  boundTo: null,
};
const acceptance = (uuid: string, at: number): Acceptance => ({
  v: 1,
  kind: 'acceptance',
  batch,
  tenant,
  at,
  site: 'aws',
  epoch: 1,
  uuid,
  home: 'aws',
  fileId: `file-${'0'.repeat(27)}`,
  receipt: 'dual',
  keyId: 'k',
});
const key = manifestKey(tenant, batch);
const bytesOf = (text: string) => new Uint8Array(Buffer.from(text));
const text = (value: object) => canonicalJson(value);

const answer = (line: number, body: Json): ResultRow => ({
  outcome: 'answered',
  line,
  customId: `id-${line}`,
  status: 200,
  requestId: 'r',
  body,
  servedBy: { site: 'aws', backend: 'b', model: 'm' },
  usage: noUsage,
});
function written(rows: ResultRow[], by: Partial<Parameters<typeof resultBytes>[0]> = {}) {
  const uuid = 'c'.repeat(32);
  const made = resultBytes(
    { batch, epoch: 1, site: 'aws', uuid, firstLine: 0, lines: 3, at: 1, attempt: uuid, ...by },
    rows,
  );
  return { key: resultKey(tenant, batch, made.name), bytes: made.bytes };
}

test('F17: a result of before clouds were written down is read, and one that names its cloud keeps it', () => {
  const row = answer(0, 'hello') as Extract<ResultRow, { outcome: 'answered' }>;
  const named = { ...row, servedBy: { ...row.servedBy, cloud: 'aws' as const } };
  for (const one of [row, named]) {
    const { key, bytes } = written([one], { lines: 1 });
    expect(parseResult(key, bytes)).toMatchObject({ rows: [one] });
  }
});

describe('hostile facts (FAULTS section 3)', () => {
  const hostile: [string, string, string][] = [
    ['5,000 nested arrays', '['.repeat(5_000) + ']'.repeat(5_000), 'hostile'],
    ['16 MiB of opening brackets', '['.repeat(16 * 1024 * 1024), 'hostile'],
    ['a million keys', `{${Array.from({ length: 1_000_000 }, (_, i) => `"k${i}":1`).join(',')}}`, 'hostile'],
    ['__proto__ as a key', text(manifest).replace('{"team":"x"}', '{"__proto__":{"x":1}}'), 'hostile'],
    [
      'constructor.prototype as data',
      text(manifest).replace('{"team":"x"}', '{"constructor":{"prototype":1}}'),
      'invalid',
    ],
    ['a wrong version', text({ ...manifest, v: 0 }), 'invalid'],
    ['a later version', text({ ...manifest, v: 2, kind: 'whatever' }), 'unknown'],
    ['a truncated text', text(manifest).slice(0, -20), 'torn'],
    ['an empty object', '', 'torn'],
    ['invalid UTF-8', '\ufffd', 'torn'],
    ['a byte order mark', `\ufeff${text(manifest)}`, 'torn'],
    ['a number beyond all numbers', text(manifest).replace('"inputBytes":10', '"inputBytes":1e999'), 'invalid'],
    ['a number beyond 2^53', text(manifest).replace('"inputBytes":10', '"inputBytes":9007199254740993'), 'invalid'],
    ['another kind', text({ ...manifest, kind: 'plan' }), 'invalid'],
    ['null', 'null', 'invalid'],
    ['17 MiB', `"${'x'.repeat(17 * 1024 * 1024)}"`, 'oversized'],
  ];

  test.each(hostile)(
    '%s: not taken, left where it is, reported once unless it is of a later version',
    async (what, bad, fault) => {
      const world = new TwoSites();
      const core = world.core('aws');
      const bytes = what === 'invalid UTF-8' ? new Uint8Array([0x22, 0xff, 0x22]) : bytesOf(bad);
      await world.journal('aws').putIfAbsent(key, bytes);
      for (let i = 0; i < 2; i++) expect(await readFact(core, manifestSchema, key)).toMatchObject({ fault });
      expect(equalBytes((await world.journal('aws').get(key))!.bytes, bytes)).toBe(true);
      const reports = (await world.state('aws').list('quarantine/')).entries;
      expect(reports).toHaveLength(fault === 'unknown' ? 0 : 1);
      expect(world.events(fault === 'unknown' ? 'fact.unknown' : 'fact.quarantined')).toHaveLength(2);
      if (fault === 'unknown') return;
      const report = JSON.parse(Buffer.from((await world.state('aws').get(reports[0]!.key))!.bytes).toString());
      expect(report).toMatchObject({ key, fault, at: world.now, detail: expect.stringMatching(/./) });
    },
  );

  test('a copy torn in the own store is reported, and the whole one of the peer is taken', async () => {
    const world = new TwoSites();
    await world.journal('aws').putIfAbsent(key, bytesOf('{"v":1'));
    await world.journal('azure').putIfAbsent(key, factBytes(manifest));
    expect(await readFact(world.core('aws'), manifestSchema, key)).toMatchObject({ fact: manifest });
    expect(world.events('fact.quarantined')).toHaveLength(1);
  });

  test('a fact that is nowhere is undefined whether or not the witness answers, and an error while a peer is dark', async () => {
    const world = new TwoSites();
    world.dark('witness');
    expect(await readFact(world.core('aws'), manifestSchema, key)).toBeUndefined();
    world.dark('azure');
    await expect(readFact(world.core('aws'), manifestSchema, key)).rejects.toMatchObject({
      name: 'SiteUnavailableError',
    });
  });

  test('a report that cannot be written does not stop the reader', async () => {
    const world = new TwoSites();
    await world.journal('aws').putIfAbsent(key, bytesOf('x'));
    world.faultsOf('aws/state').set('all', { refuse: true });
    expect(await readFact(world.core('aws'), manifestSchema, key)).toMatchObject({ fault: 'torn' });
    expect(world.events('quarantine.unreported')).toHaveLength(1);
  });

  test('any bytes at all are parsed or refused, never thrown at', () => {
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array(), fc.json().map(bytesOf)), (bytes) => {
        const parsed = parseFact(manifestSchema, bytes);
        expect('fact' in parsed || 'fault' in parsed).toBe(true);
        expect('fault' in parseResult(written([]).key, bytes)).toBe(true);
      }),
    );
  });
});

describe('the scan before parsing', () => {
  test('refuses only what the walk after parsing would refuse', () => {
    const filler = 'x'.repeat(70_000);
    const strings = fc.oneof(fc.string(), fc.constantFrom('\\', '"', '\\"', '[[[', ',,,,', '\\\\', '{"a":1}'));
    const value = fc.letrec<{ json: Json }>((tie) => ({
      json: fc.oneof(
        { maxDepth: 6 },
        strings,
        fc.integer(),
        fc.array(tie('json'), { maxLength: 4 }),
        fc.dictionary(strings, tie('json'), { maxKeys: 4 }),
      ),
    })).json;
    fc.assert(
      fc.property(
        value,
        fc.integer({ min: 1, max: 6 }),
        fc.integer({ min: 1, max: 12 }),
        (inner, depthMax, nodesMax) => {
          const whole = [filler, inner] as Json;
          const taken = parseBoundedJson(canonicalBytes(whole), { bytesMax: 1e6, depthMax, nodesMax });
          const walked = findHostile(JSON.parse(JSON.stringify(whole)), depthMax, nodesMax);
          expect('fault' in taken).toBe(walked !== undefined);
        },
      ),
    );
  });
});

describe('the look at the text', () => {
  test('spares no value the walk that would refuse it, however its keys are spelled', () => {
    const strings = fc.oneof(fc.string(), fc.constantFrom('__proto__', '[[', '{"a":1}', '\\'));
    // A key that is defined, since one that is assigned sets the prototype.
    const objectOf = (pairs: [string, Json][]) => {
      const object = {};
      for (const [name, value] of pairs)
        Object.defineProperty(object, name, { value, enumerable: true, configurable: true });
      return object as Json;
    };
    const value = fc.letrec<{ json: Json }>((tie) => ({
      json: fc.oneof(
        { maxDepth: 6 },
        strings,
        fc.array(tie('json'), { maxLength: 4 }),
        fc.array(fc.tuple(strings, tie('json')), { maxLength: 4 }).map(objectOf),
      ),
    })).json;
    const seen = new Set<unknown>();
    fc.assert(
      fc.property(
        value,
        fc.integer({ min: 1, max: 6 }),
        fc.constantFrom(1, 5, 12, 1000),
        fc.boolean(),
        (one, depthMax, nodesMax, isEscaped) => {
          const plain = JSON.stringify(one);
          const text = isEscaped ? plain.replaceAll('_', '\\u005f') : plain;
          const walked = findHostile(one, depthMax, nodesMax);
          seen.add(walked?.split(' ')[0]);
          expect(findHostileIn(text, JSON.parse(text), depthMax, nodesMax)).toBe(walked);
        },
      ),
      { numRuns: 2000, seed: 4 },
    );
    expect([...seen].map(String).sort()).toEqual(['a', 'more', 'nested', 'undefined']);
  });
});

describe('canonical JSON', () => {
  test('gives the same bytes for the same value, whatever the order of its keys', () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.jsonValue()), (value) => {
        const turned = Object.fromEntries(Object.entries(value).reverse());
        expect(canonicalJson(turned)).toBe(canonicalJson(value));
        expect(JSON.parse(canonicalJson(value))).toEqual(JSON.parse(JSON.stringify(value)));
      }),
    );
  });

  test('a lone surrogate, U+2028, NUL and CRLF survive it', () => {
    const value = { text: '\ud800 \u2028 \u0000 \r\n \u{1f600}' };
    const parsed = parseBoundedJson(canonicalBytes(value), { bytesMax: 1000 });
    expect(parsed).toEqual({ value });
  });

  test('a key named __proto__ is a key like any other', () => {
    const value = JSON.parse('{"b":1,"__proto__":{"z":[{"y":1,"x":2}],"a":2},"10":3,"9":4}');
    expect(canonicalJson(value)).toBe('{"9":4,"10":3,"__proto__":{"a":2,"z":[{"x":2,"y":1}]},"b":1}');
  });
});

describe('versions and foreign facts in a batch', () => {
  const setUp = async () => {
    const world = new TwoSites();
    const put = (at: string, fact: object) => world.journal('aws').putIfAbsent(at, canonicalBytes(fact));
    const uuid = 'd'.repeat(32);
    const acceptedAt = acceptanceKey(tenant, batch, { epoch: 1, site: 'aws', uuid });
    return { world, core: world.core('azure'), put, uuid, acceptedAt };
  };

  test('F17 I15: a manifest or acceptance of a later version makes the batch unreadable for now, not unaccepted', async () => {
    for (const later of ['manifest', 'acceptance']) {
      const { core, put, uuid, acceptedAt } = await setUp();
      await put(key, { ...manifest, v: later === 'manifest' ? 2 : 1 });
      await put(acceptedAt, { ...acceptance(uuid, 5), v: later === 'acceptance' ? 2 : 1 });
      await expect(viewBatch(core, tenant, batch)).rejects.toMatchObject({
        name: 'TransientError',
        code: 'fact_unknown',
      });
    }
  });

  test('F17 I15: a result of a later version is left to a process that knows it, not dropped from the choice', async () => {
    const { world, core } = await setUp();
    const { key: at, bytes } = written([answer(0, 1)]);
    const later = Buffer.from(bytes).toString().replace('"v":1', '"v":2');
    await world.journal('azure').putIfAbsent(at, bytesOf(later));
    await expect(resultReader(core)(at)).rejects.toMatchObject({ name: 'TransientError', code: 'fact_unknown' });
  });

  test('a manifest without an acceptance is not a batch', async () => {
    const { core, put } = await setUp();
    await put(key, manifest);
    expect(await viewBatch(core, tenant, batch)).toBeUndefined();
  });

  test('an acceptance that names another batch does not accept this one, and is reported', async () => {
    const { world, core, put, uuid, acceptedAt } = await setUp();
    await put(key, manifest);
    await put(acceptedAt, { ...acceptance(uuid, 5), batch: `batch_${'e'.repeat(32)}` });
    expect(await viewBatch(core, tenant, batch)).toBeUndefined();
    expect(world.events('fact.quarantined').map((one) => one.key)).toEqual([acceptedAt]);
  });

  test('of several acceptances the earliest by time, then uuid, counts, in whatever order they are listed', async () => {
    const { core, put } = await setUp();
    await put(key, manifest);
    const of = (digit: string, at: number) => ({ ...acceptance(digit.repeat(32), at), epoch: at === 4 ? 9 : 1 });
    for (const fact of [of('a', 5), of('f', 4), of('e', 4)])
      await put(acceptanceKey(tenant, batch, { epoch: fact.epoch, site: 'aws', uuid: fact.uuid }), fact);
    expect((await viewBatch(core, tenant, batch))?.acceptance).toEqual(of('e', 4));
    expect(parseFact(acceptanceSchema, factBytes(of('e', 4)))).toEqual({ fact: of('e', 4) });
  });
});

describe('F32: result objects', () => {
  const bad = (change: (lines: string[]) => string[] | string, rows = [answer(0, 1), answer(1, 2)]) => {
    const { key: at, bytes } = written(rows);
    const lines = Buffer.from(bytes).toString().trimEnd().split('\n');
    const changed = change(lines);
    return parseResult(at, bytesOf(typeof changed === 'string' ? changed : `${changed.join('\n')}\n`));
  };

  test('are read back as they were written', () => {
    const rows = [answer(2, { deep: [1, { x: null }] }), { ...answer(0, ''), status: 404 }] as ResultRow[];
    const { key: at, bytes } = written(rows);
    expect(parseResult(at, bytes)).toMatchObject({ rows });
  });

  test.each<[string, (lines: string[]) => string[] | string, string]>([
    ['cut off in a row', (lines) => `${lines.join('\n').slice(0, -5)}`, 'torn'],
    ['cut off between rows', (lines) => lines.slice(0, -1), 'torn'],
    ['empty', () => '', 'torn'],
    ['with two results for one line', (lines) => [lines[0]!, lines[1]!, lines[1]!], 'invalid'],
    [
      'with a line outside its own range',
      (lines) => [lines[0]!, lines[1]!, lines[2]!.replace('"line":1', '"line":3')],
      'invalid',
    ],
    ['of another batch', (lines) => [lines[0]!.replaceAll('bbbb', 'ffff'), ...lines.slice(1)], 'invalid'],
    ['of another attempt', (lines) => [lines[0]!.replace('"uuid":"c', '"uuid":"d'), ...lines.slice(1)], 'invalid'],
    [
      'with fewer answers than its key counts',
      (lines) => [
        lines[0]!,
        lines[1]!,
        text({ outcome: 'retry', line: 1, customId: 'id-1', cause: 'site', reason: 'r', counts: false }),
      ],
      'invalid',
    ],
    [
      'with __proto__ in an answer',
      (lines) => [lines[0]!, lines[1]!, lines[2]!.replace('"body":2', '"body":{"__proto__":1}')],
      'hostile',
    ],
    ['with a row of another shape', (lines) => [lines[0]!, lines[1]!, '{"outcome":"guessed"}'], 'invalid'],
    ['without a header', (lines) => lines.slice(1), 'invalid'],
  ])('%s: refused whole', (_what, change, fault) => {
    expect(bad(change)).toMatchObject({ fault });
  });

  test('under a key that is none of a result: refused', () => {
    expect(parseResult(`t/${tenant}/batches/${batch}/results/x.jsonl`, written([]).bytes)).toMatchObject({
      fault: 'invalid',
    });
  });

  test('hold every answer that a model may give: deep as allowed, long as allowed', () => {
    let deep: Json = 1;
    for (let i = 0; i < 64; i++) deep = [deep];
    const vectors = Array.from({ length: 300_000 }, () => 0.5);
    for (const body of [deep, { data: vectors }]) {
      const { key: at, bytes } = written([answer(0, body)]);
      expect(parseResult(at, bytes)).toMatchObject({ rows: [{ line: 0 }] });
    }
  });

  test('are cut into parts that can be read back, in order, none empty', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 60 })), (sizes) => {
        const rows = sizes.map((size, line) => answer(line, 'x'.repeat(size)));
        const parts = splitRows(rows, 100);
        expect(parts.flat()).toEqual(rows);
        expect(parts.length === 1 || parts.every((part) => part.length > 0)).toBe(true);
        for (const part of parts) {
          const size = part.reduce((sum, row) => sum + JSON.stringify((row as { body: Json }).body).length, 0);
          expect(size <= 100 || part.length === 1).toBe(true);
        }
      }),
    );
  });

  test('that are torn are quarantined with a report when they are read, and answer nothing', async () => {
    const world = new TwoSites();
    const { key: at, bytes } = written([answer(0, 1)]);
    await world.journal('aws').putIfAbsent(at, bytes.slice(0, -3));
    expect(await resultReader(world.core('aws'))(at)).toBeUndefined();
    expect((await world.state('aws').list(quarantineKey('').slice(0, -5))).entries).toHaveLength(1);
  });
});
