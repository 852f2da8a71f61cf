import { execFile } from 'node:child_process';
import { cp, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';

const root = resolve(import.meta.dirname, '..', '..');
const run = promisify(execFile);

let folder: string;
/** Runs a line of code in a plain Node that finds no packages: a bundle must hold all it needs. */
const node = async (code: string, env: Record<string, string> = {}) =>
  (await run(process.execPath, ['--input-type=module', '-e', code], { cwd: folder, env: { PATH: '', ...env } })).stdout;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'holdfast-bundles-'));
  // In a process of its own: esbuild and jest disagree on whose Uint8Array is the true one.
  const build = `import { buildFunctions } from ${JSON.stringify(join(root, 'scripts/build.ts'))};
    console.log(JSON.stringify(await buildFunctions(${JSON.stringify(folder)})));`;
  const { stdout } = await run(process.execPath, ['--input-type=module', '-e', build], { cwd: root });
  await writeFile(join(folder, 'sizes.json'), stdout);
}, 120_000);
afterAll(() => rm(folder, { recursive: true, force: true }));

describe('the built functions', () => {
  test.each(['worker', 'api', 'monitor', 'drills'])(
    'AWS: %s loads in a plain Node and exports its handler',
    async (name) => {
      const out = await node(`console.log(typeof (await import('./functions-aws/${name}.mjs')).handler)`);
      expect(out).toBe('function\n');
    },
  );

  test('Azure: what package.json names as main is required by a plain Node, without the host', async () => {
    const { main } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8'));
    expect(main).toBe('dist/functions-azure/main.cjs');
    await run(process.execPath, ['-e', `require('./functions-azure/main.cjs')`], { cwd: folder });
  });

  test('Azure: the host is given five functions, and HTTP is streamed', async () => {
    const stub = join(folder, 'node_modules/@azure/functions-core');
    await cp(join(root, 'test/cloud/functions-core-stub'), stub, { recursive: true });
    const out = await node(`import { createRequire } from 'node:module';
      const require = createRequire(process.cwd() + '/x');
      require('./functions-azure/main.cjs');
      const { registered, programmingModel } = require('@azure/functions-core');
      const capabilities = await programmingModel.getCapabilities({});
      console.log(JSON.stringify({ registered, streams: 'HttpUri' in capabilities }));
      process.exit(0);`);
    const { registered, streams } = JSON.parse(out);
    expect(streams).toBe(true);
    const bindings = Object.fromEntries(
      registered.map(({ name, bindings }: { name: string; bindings: Record<string, { direction: string }> }) => [
        name,
        Object.values(bindings).find(({ direction }) => direction === 'in'),
      ]),
    );
    expect(bindings).toEqual({
      workerIntake: expect.objectContaining({
        type: 'serviceBusTrigger',
        queueName: 'holdfast-intake',
        connection: 'HOLDFAST_SERVICEBUS',
        cardinality: 'one',
      }),
      workerWork: expect.objectContaining({
        type: 'serviceBusTrigger',
        queueName: 'holdfast-work',
        cardinality: 'one',
      }),
      api: expect.objectContaining({ type: 'httpTrigger', authLevel: 'anonymous', route: '{*path}' }),
      monitor: expect.objectContaining({ type: 'timerTrigger', schedule: '*/10 * * * * *' }),
      drills: expect.objectContaining({ type: 'timerTrigger', schedule: '30 * * * * *' }),
    });
  });

  test('loading one reads no configuration and loads no SDK', async () => {
    const sizes = JSON.parse(await readFile(join(folder, 'sizes.json'), 'utf8'));
    expect(sizes).toHaveLength(9);
    for (const { entry, eagerBytes } of sizes) {
      expect(entry).toMatch(/^functions-(aws|azure)\//);
      // The smaller SDK alone is more than three times this. The largest entry runs drills: nobody waits for it.
      expect(eagerBytes).toBeLessThan(500_000);
    }
  });

  test('the configuration lies beside each bundle, and an invocation without its variables says which are missing', async () => {
    for (const cloud of ['functions-aws', 'functions-azure'])
      expect(await readdir(join(folder, cloud))).toContain('holdfast.config.json');
    const out = await node(
      `const { handler } = await import('./functions-aws/worker.mjs');
       await handler({ Records: [] }, { getRemainingTimeInMillis: () => 1000 }).catch((e) => console.log(e.name, e.message));`,
      { HOLDFAST_SITE: 'aws' },
    );
    expect(out).toMatch(/^ConfigError \d+ errors in the configuration:/);
    expect(out).toContain('names the variable HOLDFAST_AWS_ACCOUNT, which is not set');
  });
});
