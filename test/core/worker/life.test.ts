import { describe, expect, test } from '@jest/globals';
import { factBytes, type Publication } from '../../../shared/journal/facts.ts';
import { sha256 } from '../../../shared/journal/json.ts';
import { acceptanceKey, openKey, outputKey } from '../../../shared/journal/keys.ts';
import { withClaim } from '../../../shared/worker/claim.ts';
import { publishBatch } from '../../../shared/worker/index.ts';
import { inputLines, retried, World } from '../../support/world.ts';

type Placed = { tenant: string; batch: string };

interface OutputLine {
  custom_id: string;
  response: { status_code: number } | null;
  error: unknown;
  holdfast?: object;
}

/** Every line of an output or error file, read from one site alone. */
async function fileLines(world: World, site: 'aws' | 'azure', tenant: string, file: Publication['output']) {
  if (file === null) return [];
  const found = await world[site].journal.get(outputKey(tenant, file.sha256));
  expect(sha256(found!.bytes)).toBe(file.sha256);
  return Buffer.from(found!.bytes)
    .toString('utf8')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as OutputLine);
}

async function outcome(world: World, placed: Placed, site: 'aws' | 'azure' = 'aws') {
  const publication = await world.publication(site, placed);
  expect(publication).toBeDefined();
  const output = await fileLines(world, site, placed.tenant, publication!.output);
  const errors = await fileLines(world, site, placed.tenant, publication!.errorFile);
  return {
    publication: publication!,
    output,
    errors,
    ids: [...output, ...errors].map((line) => line.custom_id).sort(),
  };
}

const ids = (lines: number) => Array.from({ length: lines }, (_, i) => `line-${i}`).sort();

describe('life of a batch', () => {
  test('undisturbed: planned, worked and published once in both stores, each line asked once, nothing sent again', async () => {
    const world = new World();
    const placed = await world.accept({ lines: 23 });
    await world.run(60_000);
    for (const site of ['aws', 'azure'] as const) {
      const { publication, ids: found } = await outcome(world, placed, site);
      expect(found).toEqual(ids(23));
      expect(publication.counts).toEqual({ total: 23, completed: 23, failed: 0 });
      expect(publication.repeats).toBe(0);
      expect((await world[site].state.list(openKey(placed.tenant, placed.batch))).entries).toEqual([]);
    }
    expect([...world.asked.values()]).toEqual(Array(23).fill(1));
    const { output } = await outcome(world, placed);
    const attempt = expect.stringMatching(/^[0-9a-f]{32}$/);
    for (const { holdfast } of output)
      expect(holdfast).toEqual({ site: 'aws', cloud: 'aws', backend: 'fake', model: 'm-1', epoch: 1, attempt });
    expect(await world.publication('aws', placed)).toEqual(await world.publication('azure', placed));
    expect(world.called.map(({ batch }) => batch)).toEqual([placed.batch]);
    expect(await world.azure.work.depth()).toMatchObject({ visible: 0, inFlight: 0, delayed: 0 });
  });

  test('a file that fails validation is published as failed, with line numbers, and no line runs', async () => {
    const world = new World();
    const lines = inputLines(3).split('\n');
    const placed = await world.accept({ input: Buffer.from([lines[0], 'not json', lines[0], lines[2]].join('\n')) });
    await world.run(30_000);
    const { publication } = await outcome(world, placed);
    expect(publication.status).toBe('failed');
    expect(publication.errors.map(({ code, line }) => [code, line])).toEqual([
      ['invalid_json_line', 2],
      ['duplicate_custom_id', 3],
    ]);
    expect(world.asked.size).toBe(0);
  });

  test('lines that the model refuses are in the error file, the others in the output file', async () => {
    const world = new World();
    const usual = world.answer;
    world.answer = async (line, site, job) => {
      const row = await usual(line, site, job);
      return line.line % 5 === 0 && row.outcome === 'answered' ? { ...row, status: 400 } : row;
    };
    const placed = await world.accept({ lines: 10 });
    await world.run(30_000);
    const { publication, errors, output } = await outcome(world, placed);
    expect(publication.status).toBe('completed');
    expect(errors.map((line) => line.response!.status_code)).toEqual([400, 400]);
    expect(output).toHaveLength(8);
  });

  test('lines still open at the deadline expire, finished ones are kept', async () => {
    const world = new World();
    const usual = world.answer;
    world.answer = (line, site, job) => (line.line < 5 ? usual(line, site, job) : retried(line, 'backend'));
    const placed = await world.accept({ lines: 12, windowMs: 600_000 });
    await world.run(700_000, () => world.called.length > 0);
    const { publication, output, errors } = await outcome(world, placed, 'azure');
    expect(publication.status).toBe('expired');
    expect(output).toHaveLength(5);
    expect(errors.every((line) => JSON.stringify(line.error).includes('batch_expired'))).toBe(true);
    expect(errors).toHaveLength(7);
  });

  test('a second publisher of a published batch changes nothing', async () => {
    const world = new World();
    const placed = await world.accept({ lines: 7 });
    await world.run(30_000);
    const before = await world.publication('aws', placed);
    expect(await world.settled(publishBatch(world.core('azure'), placed.tenant, placed.batch))).toBe('published');
    expect(await world.publication('azure', placed)).toEqual(before);
  });
});

describe('what a crash leaves behind is repaired by the sweeper', () => {
  test('F6 accepted, and the plan pointer never sent: planned after the queue was short for long enough', async () => {
    const world = new World();
    const placed = await world.accept({ lines: 7, tellIntake: false });
    await world.run(300_000, () => world.called.length > 0);
    expect((await outcome(world, placed)).ids).toEqual(ids(7));
  });

  test('both queues purged in mid-run: every line comes back, each result published once', async () => {
    const world = new World();
    const placed = await world.accept({ lines: 40 });
    await world.serve('aws', 'intake');
    await world.serve('aws', 'work', 2);
    for (const message of await world.aws.work.receive({ max: 100 })) await world.aws.work.complete(message);
    await world.run(900_000, () => world.called.length > 0);
    expect((await outcome(world, placed)).ids).toEqual(ids(40));
    expect((await outcome(world, placed)).publication.repeats).toBe(0);
  });

  test('a long backlog that nobody touches is never sent again', async () => {
    const world = new World();
    await world.accept({ lines: 100 });
    await world.serve('aws', 'intake');
    const sent = world.aws.work.calls.send;
    for (let tick = 0; tick < 100; tick++) {
      await world.sweepAll();
      await world.clock.advance(world.settings.tickMs);
    }
    expect(world.aws.work.calls.send).toBe(sent);
  });
});

test('facts without a hint, written while a site was dark, are there a minute after it answers again', async () => {
  const world = new World();
  world.models = { sitesFor: () => ['aws'] };
  world.answer = async ({ line, customId }) => {
    return { outcome: 'retry', line, customId, cause: 'backend', reason: 'busy', counts: false };
  };
  // Open all the time, so that each tick looks for it at both sites.
  await world.accept({ home: 'aws', lines: 1 });
  await world.run(30 * 60_000, undefined, ['aws']);
  world.azure.faults.set('all', { refuse: true });
  await world.run(5 * 60_000, undefined, ['aws']);
  const key = 'keys/0123456789abcdef.json';
  await world.aws.journal.putIfAbsent(key, Buffer.from('{}'));
  world.azure.faults.clear();
  await world.run(60_000 + 2 * world.settings.tickMs, undefined, ['aws']);
  expect(await world.azure.journal.get(key)).toBeDefined();
});

test('F54: one job sent to both doors at the same moment is planned by both, and each line is asked for once', async () => {
  const world = new World();
  const batch = await world.accept({ home: 'aws', isTwice: true });
  await Promise.all([world.serve('aws', 'intake'), world.serve('azure', 'intake')]);
  await world.run(600_000, () => world.called.length > 0);
  expect(await world.publication('azure', batch)).toMatchObject({ status: 'completed', counts: { completed: 12 } });
  expect([...world.asked.values()]).toEqual(Array(12).fill(1));
});

test('F54: both requests to plan it come to one site, to two processes of it at once', async () => {
  const world = new World();
  const batch = await world.accept({ home: 'aws', isTwice: true });
  const [message] = await world.azure.intake.receive({ max: 1 });
  await world.aws.intake.send([{ id: 'again', body: message!.body }]);
  await world.azure.intake.complete(message!);
  await Promise.all([world.serve('aws', 'intake', 1), world.serve('aws', 'intake', 1)]);
  await world.run(600_000, () => world.called.length > 0);
  expect(await world.publication('azure', batch)).toMatchObject({ status: 'completed', counts: { completed: 12 } });
  expect([...world.asked.values()]).toEqual(Array(12).fill(1));
  expect(await world.aws.state.list('planning/')).toMatchObject({ entries: [] });
});

test('F54: the other door accepts a job while it is planned, and asks for the same: each line is asked for once', async () => {
  const world = new World();
  const batch = await world.accept({ home: 'aws' });
  const pointer = { v: 1, kind: 'plan', ...batch, epoch: 1 };
  await world.azure.intake.send([{ id: 'again', body: JSON.stringify(pointer) }]);
  await Promise.all([world.serve('aws', 'intake'), world.serve('azure', 'intake')]);
  await world.run(600_000, () => world.called.length > 0);
  expect(await world.publication('azure', batch)).toMatchObject({ status: 'completed', counts: { completed: 12 } });
  expect([...world.asked.values()]).toEqual(Array(12).fill(1));
});

test('F54: an acceptance that makes a job the other site’s comes while it is claimed here: nothing is sent from here', async () => {
  const world = new World();
  const { tenant, batch } = await world.accept({ home: 'azure' });
  const [known] = (await world.azure.journal.list(`t/${tenant}/batches/${batch}/acceptances/`)).entries;
  const accepted = JSON.parse(Buffer.from((await world.azure.journal.get(known!.key))!.bytes).toString('utf8'));
  const id = { epoch: accepted.epoch, site: 'aws', uuid: 'a'.repeat(32) } as const;
  const other = factBytes({ ...accepted, ...id, home: 'aws', at: accepted.at - 1_000 });
  world.azure.faults.after = async (op, key) => {
    if (op !== 'putIfAbsent' || !key.startsWith('planning/')) return;
    for (const { journal } of [world.aws, world.azure])
      await journal.putIfAbsent(acceptanceKey(tenant, batch, id), other);
  };
  expect(await world.serve('azure', 'intake')).toEqual(['giveBack']);
  expect((await world.azure.work.depth()).visible).toBe(0);
  await world.clock.advance(10_000);
  expect(await world.serve('azure', 'intake')).toEqual(['complete']);
  expect((await world.aws.work.depth()).visible).toBeGreaterThan(0);
  await world.run(600_000, () => world.called.length > 0);
  expect([...world.asked.values()]).toEqual(Array(12).fill(1));
});

test('F54: whoever had the claim to send a job died with it: another one sends it after one lease', async () => {
  const world = new World();
  const batch = await world.accept({ home: 'aws', isTwice: true });
  const died = withClaim(world.core('aws'), 'aws', batch.batch, () => new Promise(() => {}));
  died.catch(() => {});
  expect(await world.serve('azure', 'intake')).toEqual(['giveBack']);
  // Clocks that are four minutes apart do not make it look dead.
  await world.clock.advance(4 * 60_000);
  expect(await world.serve('azure', 'intake')).toEqual(['giveBack']);
  await world.clock.advance(world.settings.dispatchLeaseMs - 4 * 60_000);
  expect(await world.serve('azure', 'intake')).toEqual(['complete']);
  await world.run(600_000, () => world.called.length > 0);
  expect(await world.publication('azure', batch)).toMatchObject({ status: 'completed', counts: { completed: 12 } });
  expect(await world.aws.state.list('planning/')).toMatchObject({ entries: [] });
});

test('a hint that was copied here while its batch was closed elsewhere is deleted, and not before it was closed there', async () => {
  const world = new World();
  const { tenant, batch } = await world.accept({ home: 'azure' });
  await world.serveAll();
  expect(await world.publication('aws', { tenant, batch })).toMatchObject({ site: 'azure' });
  const key = openKey(tenant, batch);
  for (const { state } of [world.aws, world.azure]) await state.putIfAbsent(key, new Uint8Array([1]));
  // Azure, which decided it, still has to look after it.
  await world.run(600_000, undefined, ['aws']);
  expect(await world.aws.state.head(key)).toBeDefined();
  await world.azure.state.delete(key);
  await world.run(600_000, undefined, ['aws']);
  expect(await world.aws.state.head(key)).toBeUndefined();
});
