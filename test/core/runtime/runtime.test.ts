import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { readConfig } from '../../../runtime/config-file.ts';
import { lazyPort, once } from '../../../runtime/lazy.ts';
import { jsonLog, logLevel } from '../../../runtime/log.ts';
import { systemClock, systemIds } from '../../../runtime/machine.ts';
import { runTicks } from '../../../runtime/ticks.ts';
import { silentLog } from '../../../shared/ports/log.ts';
import type { Queue } from '../../../shared/ports/queue.ts';
import { defaultSettings } from '../../../shared/settings.ts';
import { environment, source } from '../config/support.ts';

describe('once', () => {
  test('callers at the same time share one making', async () => {
    let made = 0;
    const get = once(async () => ++made);
    expect(await Promise.all([get(), get()])).toEqual([1, 1]);
    expect(await get()).toBe(1);
  });

  test('a failure is not kept: the next call tries again', async () => {
    let tries = 0;
    const get = once(async () => {
      if (++tries === 1) throw new Error('dark');
      return tries;
    });
    await expect(get()).rejects.toThrow('dark');
    expect(await get()).toBe(2);
  });
});

describe('a lazy port', () => {
  const setUp = () => {
    const calls: string[] = [];
    const queue = lazyPort<Queue>({ name: 'aws/work' }, async () => {
      calls.push('connect');
      return { complete: async (message) => message.id === 'a', close: async () => {} } as Queue;
    });
    return { calls, queue };
  };

  test('answers its name and closes without connecting', async () => {
    const { calls, queue } = setUp();
    expect(queue.name).toBe('aws/work');
    await queue.close();
    expect(await Promise.resolve(queue)).toBe(queue);
    expect(calls).toEqual([]);
  });

  test('connects at the first call, once, and passes arguments and answer on', async () => {
    const { calls, queue } = setUp();
    const message = { id: 'a', body: '', deliveryCount: 1, lease: null };
    expect(await queue.complete(message)).toBe(true);
    expect(await queue.complete({ ...message, id: 'b' })).toBe(false);
    expect(calls).toEqual(['connect']);
  });
});

describe('the log', () => {
  test('writes one JSON object a line, whatever is in a field', () => {
    const lines: string[] = [];
    const log = jsonLog('info', { site: 'aws' }, (line) => lines.push(line));
    log.debug('unheard');
    log.warn('pointer.unreadable', { detail: 'a\r\n{"level":"error"}\u001b[2J', none: undefined });
    expect(lines).toHaveLength(1);
    expect(lines[0]).toMatch(/^[\x20-\x7e]+\n$/);
    expect(JSON.parse(lines[0]!)).toEqual({
      level: 'warn',
      time: expect.stringMatching(/^\d{4}-.*Z$/),
      event: 'pointer.unreadable',
      site: 'aws',
      detail: 'a\r\n{"level":"error"}\u001b[2J',
    });
  });

  test('a level that does not exist is refused', () => {
    expect(logLevel(undefined)).toBe('info');
    expect(() => logLevel('verbose')).toThrow(/HOLDFAST_LOG: 'verbose' must be one of debug, info/);
  });
});

describe('the machine', () => {
  test('a sleep that is aborted rejects with the reason given', async () => {
    const reason = new Error('enough');
    await expect(systemClock.sleep(60_000, AbortSignal.abort(reason))).rejects.toBe(reason);
  });

  test('ids are 32 hex digits and fresh', () => {
    expect(systemIds.uuid()).toMatch(/^[0-9a-f]{32}$/);
    expect(systemIds.uuid()).not.toBe(systemIds.uuid());
  });
});

describe('ticks', () => {
  /** Ticks that take `costs[i]` ms each on a clock of their own; gives the moments at which they began. */
  const run = async (tickMs: number, lastingMs: number, costs: (number | Error)[]) => {
    let now = 1_000_000;
    const began: number[] = [];
    const clock = {
      now: () => now,
      sleep: async (ms: number) => {
        now += ms;
      },
    };
    const tick = async () => {
      const cost = costs[began.length] ?? 0;
      began.push(now - 1_000_000);
      if (cost instanceof Error) throw cost;
      now += cost;
    };
    const done = runTicks({ clock, log: silentLog, settings: { ...defaultSettings, tickMs } }, lastingMs, tick);
    return { began, done: await done.catch((error: Error) => error) };
  };

  test.each([
    [10_000, 60_000, [], [0, 10_000, 20_000, 30_000, 40_000, 50_000]],
    [10_000, 10_000, [], [0]],
    [1000, 3000, [], [0, 1000, 2000]],
    // One that takes 2.5 ticks skips those it ran into, and the rhythm stays.
    [1000, 5000, [2500], [0, 3000, 4000]],
    // One that takes exactly a tick, or two, runs into the next and does not skip it.
    [1000, 4000, [1000, 2000], [0, 1000, 3000]],
    [1000, 1000, [1000], [0]],
    [60_000, 10_000, [], [0]],
  ])('every %i ms for %i ms, taking %j: begin at %j', async (tickMs, lastingMs, costs, moments) => {
    expect(await run(tickMs, lastingMs, costs)).toEqual({ began: moments, done: undefined });
  });

  test('one that fails does not keep the next from coming', async () => {
    expect(await run(1000, 3000, [new Error('dark')])).toEqual({ began: [0, 1000, 2000], done: undefined });
  });

  test('if every one fails the invocation fails', async () => {
    const { done } = await run(1000, 2000, [new Error('first'), new Error('last')]);
    expect(done).toMatchObject({ message: 'last' });
  });
});

describe('the configuration file', () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'holdfast-config-'));
  });
  afterAll(() => rm(folder, { recursive: true }));

  test('is read from HOLDFAST_CONFIG, as YAML', async () => {
    const path = join(folder, 'mine.yaml');
    await writeFile(path, `# a comment\n${JSON.stringify(source())}`);
    expect(await readConfig('/nowhere', { ...environment, HOLDFAST_CONFIG: path })).toMatchObject({ self: 'aws' });
  });

  test('is read from beside the bundle where nothing else is named, JSON first', async () => {
    await writeFile(join(folder, 'holdfast.config.yaml'), 'not: used');
    await writeFile(join(folder, 'holdfast.config.json'), JSON.stringify(source()));
    expect(await readConfig(folder, environment)).toMatchObject({ self: 'aws' });
  });

  test.each([
    ['that is not there', undefined, /^HOLDFAST_CONFIG: '.*' cannot be read \(ENOENT\)$/],
    ['that is not YAML', 'sites: [', /^HOLDFAST_CONFIG: '.*' is not valid: /],
    ['that does not hold', 'sites: {}', /sites: an object must name at least two sites/],
  ])('one %s is refused', async (_, text, message) => {
    const path = join(folder, 'bad.yaml');
    await rm(path, { force: true });
    if (text !== undefined) await writeFile(path, text);
    await expect(readConfig(folder, { ...environment, HOLDFAST_CONFIG: path })).rejects.toThrow(message);
  });

  test('each error names file, line, key, value and rule', async () => {
    const path = join(folder, 'wrong.yaml');
    const lines = [
      'sites: # two are needed',
      '  aws: { cloud: aws }',
      'witness: null',
      'models:',
      '  gpt-4.1:',
      '    polcy: any',
      '    azure:',
      '      kind: bedrok',
      '  "*":',
      '    clouds: [aws, gcp]',
      '    aws:',
      '      url: http://x/v1',
      '      limits:',
      '        tokensPerMinute: 0',
    ];
    await writeFile(path, lines.join('\n'));
    const error = await readConfig(folder, { ...environment, HOLDFAST_CONFIG: path }).catch((thrown) => thrown);
    const said = (error.message as string).split('\n').map((line) => line.trim().replace(path, 'FILE'));
    expect(said).toEqual(
      expect.arrayContaining([
        'FILE:2: sites.aws.region: is required',
        "FILE:6: models.gpt-4.1: unknown key 'polcy' (did you mean 'policy'?)",
        "FILE:8: models.gpt-4.1.azure.kind: \"bedrok\" must be 'openai' or 'azure-openai' or 'bedrock-openai' or 'bedrock'",
        "FILE:10: models.*.clouds.1: \"gcp\" must be 'aws' or 'azure'",
        'FILE:14: models.*.aws.limits.tokensPerMinute: 0 must be at least 1',
      ]),
    );
  });
});
