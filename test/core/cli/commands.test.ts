import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { inputLines } from '../../support/world.ts';
import { Clouds, Folder, holdfast } from './support.ts';

let clouds: Clouds;
let folder: Folder;
beforeEach(async () => {
  clouds = await Clouds.start();
  folder = new Folder();
});
afterEach(async () => {
  folder.remove();
  await clouds.close();
});

async function submitted(...flags: string[]): Promise<string> {
  const argv = ['submit', folder.file('in.jsonl'), '--json', '--poll-ms', '5', ...flags, ...clouds.flags];
  return (await holdfast(argv)).json.batch.id;
}

const unknownBatch = `batch_${'0'.repeat(32)}`;

describe('status', () => {
  test('without a batch: both clouds, and the newest batches', async () => {
    const id = await submitted('--wait');
    const { exitCode, json } = await holdfast(['status', '--json', ...clouds.flags]);
    expect(exitCode).toBe(0);
    expect(json).toMatchObject({
      clouds: {
        aws: { api: clouds.url.aws, answers: true, error: null },
        azure: { api: clouds.url.azure, answers: true, error: null },
      },
      batches: [{ id, status: 'completed', holdfast: { receipt: 'dual' } }],
      has_more: false,
    });
  });

  test('of one batch: receipt, home, counts, and who answered how many lines', async () => {
    const id = await submitted('--wait');
    const { exitCode, stdout } = await holdfast(['status', id, ...clouds.flags]);
    expect(exitCode).toBe(0);
    expect(stdout).toMatch(/receipt +dual/);
    expect(stdout).toMatch(/home +(aws|azure)/);
    expect(stdout).toMatch(/requests +12 in all, 12 answered, 0 failed/);
    expect(stdout).toMatch(/answered by +(aws|azure) 12/);
  });

  test('with one cloud gone: the other tells, and the lost one is shown with its reason', async () => {
    const id = await submitted();
    await clouds.kill('aws');
    const { exitCode, json } = await holdfast(['status', id, '--json', ...clouds.flags]);
    expect(exitCode).toBe(0);
    expect(json.clouds).toMatchObject({ aws: { answers: false, error: expect.any(String) }, azure: { answers: true } });
    expect(json.batch.id).toBe(id);
  });

  test('with both gone: exit 3, nothing on stdout', async () => {
    await clouds.kill('aws');
    await clouds.kill('azure');
    const { exitCode, stdout, stderr } = await holdfast(['status', '--json', ...clouds.flags]);
    expect([exitCode, stdout]).toEqual([3, '']);
    expect(stderr).toContain('neither cloud answers');
  });

  test('a host that does not exist: exit 3 with what to try', async () => {
    const argv = ['status', '--aws', 'http://holdfast.invalid', '--azure', 'http://holdfast.invalid'];
    const { exitCode, stderr } = await holdfast(argv);
    expect(exitCode).toBe(3);
    expect(stderr).toContain('--aws URL');
  });

  test('an unknown batch: not_found with its param, exit 2', async () => {
    const { exitCode, stderr } = await holdfast(['status', unknownBatch, ...clouds.flags]);
    expect(exitCode).toBe(2);
    expect(stderr).toMatch(/not_found: No such batch: '.*'\. \(id\)/);
  });

  test('a wrong key: the code of the API, and where keys are set, exit 2', async () => {
    const { exitCode, stderr } = await holdfast(['status', ...clouds.flags, '--key', 'hf_wrong']);
    expect(exitCode).toBe(2);
    expect(stderr).toMatch(/invalid_api_key: /);
    expect(stderr).toContain('HOLDFAST_KEY');
  });

  test('terminal escapes in what a server says do not reach the terminal', async () => {
    const error = { message: 'x\u001b[2Jy\u009b1A', code: 'bad\u0007', param: 'p\r', type: 't' };
    clouds.fate = () => Response.json({ error }, { status: 400 });
    const { stderr } = await holdfast(['status', ...clouds.flags]);
    expect(stderr.replaceAll('\n', '')).not.toMatch(/\p{Cc}/u);
    expect(stderr).toContain('xy');
  });

  test('an answer that is no JSON is told as such, exit 2', async () => {
    clouds.fate = () => new Response('<html>captive portal</html>');
    const { exitCode, stderr } = await holdfast(['results', unknownBatch, '--out', folder.path, ...clouds.flags]);
    expect([exitCode, stderr]).toEqual([2, expect.stringContaining('not_json')]);
  });
});

describe('results', () => {
  test('before the end: exit 1 and no file', async () => {
    await clouds.stopWorkers();
    const id = await submitted();
    const out = join(folder.path, 'out');
    const { exitCode, stderr } = await holdfast(['results', id, '--out', out, ...clouds.flags]);
    expect([exitCode, stderr]).toEqual([1, expect.stringContaining('is validating')]);
    expect(readdirSync(folder.path)).toEqual(['in.jsonl']);
  });

  test('saves from the surviving cloud', async () => {
    const id = await submitted('--wait');
    await clouds.kill('aws');
    const { exitCode, json } = await holdfast(['results', id, '--json', '--out', folder.path, ...clouds.flags]);
    expect(exitCode).toBe(0);
    expect(json).toMatchObject({ batch: id, status: 'completed' });
    for (const { path, bytes } of json.files) expect(readFileSync(path)).toHaveLength(bytes);
  });

  test('refuses to overwrite, keeps what is there, and replaces it with --force', async () => {
    const id = await submitted('--wait');
    const path = join(folder.path, `${id}_output.jsonl`);
    writeFileSync(path, 'mine');
    const argv = ['results', id, '--out', folder.path, ...clouds.flags];
    const refused = await holdfast(argv);
    expect([refused.exitCode, refused.stderr]).toEqual([2, expect.stringContaining('--force')]);
    expect(readFileSync(path, 'utf8')).toBe('mine');
    expect((await holdfast([...argv, '--force'])).exitCode).toBe(0);
    expect(readFileSync(path, 'utf8')).toContain('"custom_id":"line-0"');
  });

  test('bytes that are not what was announced are asked for again, at the other cloud', async () => {
    const id = await submitted('--wait');
    const isContent = (path: string) => path.endsWith('/content');
    clouds.fate = ({ cloud, path }) => (cloud === 'aws' && isContent(path) ? new Response('torn') : undefined);
    const { exitCode } = await holdfast(['results', id, '--out', folder.path, ...clouds.flags]);
    expect(exitCode).toBe(0);
    expect(readFileSync(join(folder.path, `${id}_output.jsonl`), 'utf8').split('\n')).toHaveLength(13);
  });

  test('bytes that stay wrong in both clouds: exit 1, and no file is left under any name', async () => {
    const id = await submitted('--wait');
    clouds.fate = ({ path }) => (path.endsWith('/content') ? new Response('torn') : undefined);
    const { exitCode, stderr } = await holdfast(['results', id, '--out', folder.path, ...clouds.flags]);
    expect([exitCode, stderr]).toEqual([1, expect.stringContaining('not what the API announced')]);
    expect(readdirSync(folder.path)).toEqual(['in.jsonl']);
  });

  test('a batch id from a server cannot lead out of the folder', async () => {
    const id = await submitted('--wait');
    clouds.fate = ({ path }) =>
      path === `/v1/batches/${id}`
        ? Response.json({
            id: '../../escaped',
            status: 'completed',
            output_file_id: 'file-x',
            error_file_id: null,
            errors: null,
          })
        : path === '/v1/files/file-x'
          ? Response.json({ id: 'file-x', bytes: 2 })
          : path === '/v1/files/file-x/content'
            ? new Response('ok')
            : undefined;
    const out = join(folder.path, 'a', 'b');
    const { json } = await holdfast(['results', id, '--json', '--out', out, ...clouds.flags]);
    expect(json.files[0].path).toBe(join(out, '______escaped_output.jsonl'));
  });
});

describe('cancel', () => {
  test('asks for the end, once and again, exit 0', async () => {
    await clouds.stopWorkers();
    const id = await submitted();
    for (let i = 0; i < 2; i++) {
      const { exitCode, json } = await holdfast(['cancel', id, '--json', ...clouds.flags]);
      expect([exitCode, json.id, json.status]).toEqual([0, id, 'cancelling']);
    }
  });

  test('a batch that has completed: exit 1 with the reason', async () => {
    const id = await submitted('--wait');
    const { exitCode, stderr } = await holdfast(['cancel', id, ...clouds.flags]);
    expect([exitCode, stderr]).toEqual([1, expect.stringContaining('batch_not_cancellable')]);
  });
});

describe('explain', () => {
  test('tells the life of a line in order, from acceptance to publication', async () => {
    const id = await submitted('--wait');
    const { exitCode, stdout } = await holdfast(['explain', id, 'line-7', ...clouds.flags]);
    expect(exitCode).toBe(0);
    const story = stdout.split('\n');
    const at = (what: RegExp) => story.findIndex((line) => what.test(line));
    const order = [
      /accepted with a dual receipt/,
      /sent to the queue of (aws|azure) \(planned\)/,
      /answered: status 200/,
    ];
    const found = [...order, /batch published as completed/, /Published result: /].map(at);
    expect(found).not.toContain(-1);
    expect(found).toEqual(found.toSorted((a, b) => a - b));
  });

  test('--json is what the API says', async () => {
    const id = await submitted('--wait');
    const { json } = await holdfast(['explain', id, 'line-0', '--json', ...clouds.flags]);
    expect(json).toMatchObject({ batch: id, custom_id: 'line-0', line: 1, publication: { status: 'completed' } });
  });

  test('a custom_id that the batch does not have: exit 2', async () => {
    const id = await submitted('--wait');
    const { exitCode, stderr } = await holdfast(['explain', id, 'nobody', ...clouds.flags]);
    expect([exitCode, stderr]).toEqual([2, expect.stringContaining('not_found')]);
  });
});

describe('doctor', () => {
  test('where all is well: every check is ok, exit 0', async () => {
    const { exitCode, json } = await holdfast(['doctor', '--json', ...clouds.flags]);
    expect(json.checks.filter(({ verdict }: { verdict: string }) => verdict !== 'ok')).toEqual([]);
    expect([exitCode, json.ok]).toEqual([0, true]);
  });

  test('a cloud that is gone: a problem with advice, exit 1', async () => {
    await clouds.kill('azure');
    const { exitCode, stdout } = await holdfast(['doctor', ...clouds.flags]);
    expect(exitCode).toBe(1);
    expect(stdout).toMatch(/PROBLEM +azure +http:\S+ does not answer: ECONNREFUSED/);
    expect(stdout).toContain('holdfast up --only azure');
  });

  test('both gone: exit 3', async () => {
    await clouds.kill('aws');
    await clouds.kill('azure');
    expect((await holdfast(['doctor', ...clouds.flags])).exitCode).toBe(3);
  });

  test('a witness that does not answer, and a dead-lettered message: warnings with advice', async () => {
    clouds.world.witness.faults.set('all', { refuse: true });
    const { work } = clouds.world.azure;
    await clouds.stopWorkers();
    await work.send([{ id: '1', body: 'rubbish' }]);
    const [message] = await work.receive();
    await work.deadLetter(message!, 'unreadable', 'no pointer');
    const { json } = await holdfast(['doctor', '--json', ...clouds.flags]);
    const found = json.checks.filter(({ verdict }: { verdict: string }) => verdict !== 'ok');
    expect(found).toEqual([
      expect.objectContaining({ name: 'witness, as aws sees it', verdict: 'warning', advice: expect.any(String) }),
      expect.objectContaining({ name: 'witness, as azure sees it', verdict: 'warning' }),
      expect.objectContaining({
        name: 'queue azure/work',
        verdict: 'warning',
        detail: expect.stringContaining('1 dead'),
      }),
    ]);
  });

  test('a configuration that does not hold is named with its key', async () => {
    const config = folder.file('c.yaml', 'sites: {}\nwitness: null\n');
    const { json } = await holdfast(['doctor', '--json', ...clouds.flags], { env: { HOLDFAST_CONFIG: config } });
    expect(json.checks).toContainEqual(
      expect.objectContaining({ name: 'configuration', verdict: 'problem', detail: expect.stringContaining('sites') }),
    );
  });
});

test('large files: parts to AWS beyond what one request carries, whole to Azure', async () => {
  const filler = 'x'.repeat(1_000_000);
  const path = folder.file('in.jsonl', inputLines(6).replaceAll('hello', filler));
  const flags = ['--json', ...clouds.flags];
  const aws = await holdfast(['submit', path, '--cloud', 'aws', ...flags]);
  const azure = await holdfast(['submit', path, '--cloud', 'azure', ...flags]);
  expect([aws.json.upload.way, azure.json.upload.way]).toEqual(['parts', 'form']);
  expect(aws.json.upload.bytes).toBeGreaterThan(6_000_000);
});
