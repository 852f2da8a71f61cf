import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { initControl, learnControl } from '../../../shared/control/log.ts';
import { causes } from '../../../shared/health/types.ts';
import { observationKey } from '../../../shared/journal/keys.ts';
import { Clouds, holdfast } from './support.ts';

let clouds: Clouds;
const why = ['--reason', 'a test wants it'];
const failover = ['failover', '--from', 'aws', '--to', 'azure', ...why];

beforeEach(async () => {
  clouds = await Clouds.start();
  await initControl(clouds.world.core('aws'), {
    sites: { aws: { cloud: 'aws', region: 'local' }, azure: { cloud: 'azure', region: 'local' } },
    voters: ['aws', 'azure', 'witness'].map((store) => ({ store, incarnation: `${store}-1` })),
    actor: 'test',
    reason: 'first entry',
  });
  await observed();
});
afterEach(() => clouds.close());

/** What both monitors say: all is well, and this many lines are open at aws. */
async function observed(openLines = 0): Promise<void> {
  const { world } = clouds;
  const now = world.clock.now();
  const verdict = (site: string) => ({
    site,
    health: 'healthy',
    causes: [],
    models: [],
    since: now,
    at: now,
    evidence: [],
    flaps: 0,
    holdUntil: 0,
  });
  for (const observer of ['aws', 'azure'] as const) {
    const observation = {
      v: 1,
      kind: 'observation',
      observer,
      home: observer,
      at: now,
      trustsItself: true,
      verdicts: [verdict('aws'), verdict('azure')],
      backlog: openLines === 0 ? [] : [{ site: 'aws', model: 'm', openLines, oldestMs: 1, answeredOfLate: 0 }],
    };
    for (const { state } of [world.aws, world.azure, world.witness]) {
      await state.delete(observationKey(observer));
      await state.putIfAbsent(observationKey(observer), Buffer.from(JSON.stringify(observation)));
    }
  }
}

const standing = () => learnControl(clouds.world.core('azure'));
const run = (argv: readonly string[]) => holdfast([...argv, ...clouds.flags]);

describe('commands', () => {
  test('a dry run shows what would change, changes nothing, and ends with 0', async () => {
    const { exitCode, stdout } = await run([...failover, '--mode', 'forced', '--dry-run']);
    expect(exitCode).toBe(0);
    expect(stdout).toContain('nothing was changed');
    expect(stdout).toContain('aws: active → fenced');
    expect((await standing()).epoch).toBe(1);
  });

  test('a forced failover is done, and the same operation again is not', async () => {
    const argv = [...failover, '--mode', 'forced', '--operation-id', 'op', '--json'];
    expect((await run(argv)).json).toMatchObject({ status: 'done', epoch: 2 });
    expect((await run(argv)).json).toMatchObject({ status: 'replayed', epoch: 2 });
    expect(await standing()).toMatchObject({ epoch: 2, reason: 'a test wants it', operation: 'op' });
  });

  test('with the first cloud gone the second one does it', async () => {
    await clouds.kill('aws');
    const { exitCode, json } = await run([...failover, '--mode', 'forced', '--json']);
    expect([exitCode, json.status]).toEqual([0, 'done']);
  });

  test('a lost reply is asked for again, at the other cloud, and happened once', async () => {
    let lost = 0;
    clouds.fate = ({ path, cloud }) =>
      cloud === 'aws' && path.endsWith('/failover') && lost++ === 0 ? 'loseReply' : undefined;
    const { json } = await run([...failover, '--mode', 'forced', '--json']);
    expect(json).toMatchObject({ status: 'replayed', epoch: 2 });
    expect((await standing()).epoch).toBe(2);
  });

  test('a rule that objects ends with 1 and its name; --force with the name goes through', async () => {
    for (const { state } of [clouds.world.aws, clouds.world.azure, clouds.world.witness])
      for (const observer of ['aws', 'azure']) await state.delete(observationKey(observer));
    const refused = await run([...failover, '--mode', 'forced']);
    expect(refused).toMatchObject({ exitCode: 1, stdout: '' });
    expect(refused.stderr).toContain('target-healthy');
    expect(await run([...failover, '--mode', 'forced', '--dry-run'])).toMatchObject({
      exitCode: 1,
      stdout: expect.stringContaining('objects  target-healthy'),
    });
    expect((await run([...failover, '--mode', 'forced', '--force', 'target-healthy'])).exitCode).toBe(0);
    expect((await standing()).forced).toEqual(['target-healthy']);
  });

  test('a graceful failover cordons, waits until nothing is open and counted so, and fences then', async () => {
    await observed(7);
    const { world } = clouds;
    let asked = 0;
    clouds.fate = ({ path }) => {
      // Once it was told that lines are open, they are done, and the monitors say so.
      if (path.endsWith('/failover') && ++asked === 3) void world.clock.advance(60_000).then(() => observed(0));
      return undefined;
    };
    const { exitCode, json, stderr } = await run([...failover, '--mode', 'graceful', '--poll-ms', '5', '--json']);
    expect(stderr).toContain('still works on 7 lines');
    expect([exitCode, json.status, json.epoch]).toEqual([0, 'done', 3]);
    expect((await standing()).sites.aws).toMatchObject({ state: 'fenced', fencedEpoch: 3 });
  });

  test('a graceful failover that is not followed leaves the site cordoned', async () => {
    await observed(7);
    expect((await run([...failover, '--mode', 'graceful', '--wait', '0', '--json'])).json).toMatchObject({ epoch: 2 });
    expect((await standing()).sites.aws!.state).toBe('cordoned');
    expect((await run(['uncordon', 'aws', ...why])).exitCode).toBe(0);
    expect((await standing()).sites.aws!.state).toBe('active');
  });

  test.each([
    [['cordon', 'aws'], { sites: { aws: { state: 'cordoned' } } }],
    [['drain', 'aws'], { sites: { aws: { state: 'cordoned' } } }],
    [['freeze'], { frozen: true }],
    [
      ['replace-store', 'witness'],
      {
        voters: [
          { store: 'aws', incarnation: 'aws-1' },
          { store: 'azure', incarnation: 'azure-1' },
          { store: 'witness', incarnation: expect.not.stringMatching('witness-1'), joining: true },
        ],
      },
    ],
    [['weights', 'aws=80', 'azure=20'], { sites: { aws: { weight: 80 }, azure: { weight: 20 } } }],
    [
      [...failover.slice(0, 5), '--scope', 'model=m'],
      { moves: [{ scope: 'model', name: 'm', from: 'aws', to: 'azure' }] },
    ],
  ])('%j does what it says', async (argv, entry) => {
    expect((await run([...argv, ...why])).exitCode).toBe(0);
    expect(await standing()).toMatchObject({ epoch: 2, ...entry });
  });

  test.each([
    ['no reason', ['freeze'], "'--reason <text>' not specified"],
    ['a scope that is none', [...failover, '--scope', 'tenant=x'], 'all, model=NAME or batch=ID'],
    ['a share that is none', ['weights', 'aws=101', ...why], 'the weight from 0 to 100'],
    ['a weight that is none', ['failback', 'aws', '--weight', '0', ...why], 'from 1 to 100'],
    ['an unknown site', ['cordon', 'gcp', ...why], 'there is no site gcp'],
    ['an unknown rule', ['freeze', '--force', 'luck', ...why], 'force'],
  ])('%s: exit 2, the reason on stderr, nothing done', async (_, argv, message) => {
    const { exitCode, stdout, stderr } = await run(argv);
    expect([exitCode, stdout]).toEqual([2, '']);
    expect(stderr).toContain(message);
    expect((await standing()).epoch).toBe(1);
  });
});

describe('status', () => {
  test('shows the page of whoever was woken before the batches, from either cloud', async () => {
    await clouds.kill('aws');
    const { exitCode, stdout } = await run(['status']);
    expect(exitCode).toBe(0);
    expect(stdout).toMatch(/^All is well: every site is healthy/);
    expect(stdout).toContain('If nobody does anything');
  });

  test('gives the page to programs, too', async () => {
    expect((await run(['status', '--json'])).json.page).toMatchObject({ object: 'status', blame: 'nobody', epoch: 1 });
  });
});

describe('runbook', () => {
  const pages = [...causes, 'drill-failed'];

  test.each(pages)(
    '%s has a page, read without any cloud: what it means, what to check, what to type, how to undo',
    async (cause) => {
      const { exitCode, stdout } = await holdfast(['runbook', cause]);
      expect(exitCode).toBe(0);
      expect(stdout.startsWith(`# ${cause}: `)).toBe(true);
      for (const part of ['What it means', 'by itself', 'What to check', 'What to type', 'How to undo'])
        expect(stdout).toContain(part);
    },
  );

  test('every command on a page is one that this program takes', async () => {
    for (const cause of pages) {
      const { stdout } = await holdfast(['runbook', cause]);
      for (const [, name] of stdout.matchAll(/holdfast ([a-z]+)(?= |`|$)/gm))
        expect((await holdfast([name!, '--help'])).stdout).toContain(`Usage: holdfast ${name} `);
    }
  });

  test('without a cause lists all of them, and another word is none', async () => {
    const { json } = await holdfast(['runbook', '--json']);
    expect(json.map(({ cause }: { cause: string }) => cause)).toEqual(pages);
    expect((await holdfast(['runbook', 'gremlins'])).exitCode).toBe(2);
  });
});
