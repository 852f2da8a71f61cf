import { spawn } from 'node:child_process';
import { join, resolve } from 'node:path';
import type { DrillReport } from '../../../shared/drill/report.ts';
import { startClouds, type TestClouds, until } from '../support.ts';

const root = resolve(import.meta.dirname, '../../..');
export const exampleDrill = (name: string) => join(root, 'examples', 'drills', `${name}.yaml`);

/** Both clouds, once three observers hold both of them healthy. */
export async function healthyClouds(options: Parameters<typeof startClouds>[0] = {}): Promise<TestClouds> {
  const world = await startClouds(options);
  const { clouds } = world;
  await until(
    async () => {
      const url = `${clouds.aws!.api.replace(/\/v1$/, '')}/ops/v1/status`;
      const page = await fetch(url, { headers: { authorization: `Bearer ${clouds.key}` } }).then(
        (reply) =>
          reply.ok
            ? (reply.json() as Promise<{ sites: { health: string }[]; observers: { silent: boolean }[] }>)
            : undefined,
        () => undefined,
      );
      const isWell = page?.sites.every(({ health }) => health === 'healthy');
      return isWell && page!.observers.filter(({ silent }) => !silent).length >= 3 ? true : undefined;
    },
    'three observers hold both clouds healthy',
    300_000,
  );
  return world;
}

/** A `holdfast drill` command as a process of its own, so that it can be killed. */
export function drillCommand(world: TestClouds, ...args: string[]) {
  const flags = ['--data', world.dataDir, '--port-base', String(world.ports.console), '--json'];
  const child = spawn(process.execPath, [join(root, 'cli', 'main.ts'), 'drill', ...args, ...flags], { cwd: root });
  const out = { stdout: '', stderr: '' };
  child.stdout.on('data', (piece) => (out.stdout += piece));
  child.stderr.on('data', (piece) => (out.stderr += piece));
  const ended = new Promise<{ code: number | null; stdout: string; stderr: string }>((done) =>
    child.once('close', (code) => done({ code, ...out })),
  );
  return { child, out, ended };
}

/** Runs one to its end. */
export async function runDrill(
  world: TestClouds,
  ...args: string[]
): Promise<{ code: number | null; report: DrillReport; stderr: string }> {
  const { code, stdout, stderr } = await drillCommand(world, 'run', ...args).ended;
  if (stdout === '') throw new Error(`it said nothing, and ended with ${code}: ${stderr.slice(-4_000)}`);
  return { code, report: JSON.parse(stdout), stderr };
}
