import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { expect, test } from '@jest/globals';
import type { Plugin } from 'esbuild';
import { buildFunctions } from '../../../scripts/build.ts';
import type { DrillReport } from '../../../shared/drill/report.ts';
import { exampleDrill, healthyClouds, runDrill } from './support.ts';

const shared = resolve(import.meta.dirname, '../../../shared');

/** One place in a source below `shared/`, and what stands there in a build with a bug. */
interface Planted {
  file: string;
  right: string;
  wrong: string;
}

const mirroredNever: Planted[] = [
  // A worker writes what it answered to its own cloud alone …
  {
    file: 'journal/replicas.ts',
    right: 'sites.map(async (id) => {',
    wrong: "sites.filter((id) => id === core.self || !key.includes('/results/')).map(async (id) => {",
  },
  // … and anti-entropy believes that it is in both.
  {
    file: 'journal/copy.ts',
    right: '  if (bytes > streamFromBytes)',
    wrong: "  if (key.includes('/results/')) return true;\n  if (bytes > streamFromBytes)",
  },
];

const redriveSkipsAChunk: Planted[] = [
  { file: 'redrive/redrive.ts', right: '    ranges: need.ranges,\n', wrong: '    ranges: need.ranges.slice(1),\n' },
];

/** @throws Error, which ends the build, where the right text is not there just once */
function plant({ file, right, wrong }: Planted): Plugin {
  const source = join(shared, file);
  return {
    name: `planted-in-${file}`,
    setup(build) {
      build.onLoad({ filter: new RegExp(`/shared/${file.replaceAll('.', '\\.')}$`) }, ({ path }) => {
        if (path !== source) return undefined;
        const parts = readFileSync(path, 'utf8').split(right);
        if (parts.length !== 2)
          throw new Error(`${file} holds ${right.trim()} ${parts.length - 1} times, and not once`);
        return { contents: parts.join(wrong), loader: 'ts' };
      });
    },
  };
}

/** Both clouds from a build of their own with the bug in it, and `examples/drills/shadow.yaml` run against them. */
async function drillAgainst(bug: readonly Planted[]): Promise<{ code: number | null; report: DrillReport }> {
  const bundles = mkdtempSync(join(tmpdir(), 'holdfast-planted-'));
  try {
    await buildFunctions(bundles, bug.map(plant));
    const world = await healthyClouds({ bundles });
    try {
      return await runDrill(world, exampleDrill('shadow'));
    } finally {
      await world.stop();
    }
  } finally {
    rmSync(bundles, { recursive: true, force: true });
  }
}

const limitMs = 1_800_000;

test(
  'a build that never mirrors a result: the drill fails, for results are in one cloud alone',
  async () => {
    const { code, report } = await drillAgainst(mirroredNever);
    const { outcome, reasons } = report.verdict;
    expect({ code, outcome }).toEqual({ code: 1, outcome: 'failed' });
    expect(reasons.join('\n')).toMatch(
      /facts in one cloud alone: [1-9]\d*, .*: results\/\S+-azure-\S+ is in azure alone/,
    );
  },
  limitMs,
);

test(
  'a build whose redrive skips a chunk: the drill fails, for the lines of that chunk are lost',
  async () => {
    const { code, report } = await drillAgainst(redriveSkipsAChunk);
    const { outcome, reasons, lost } = report.verdict;
    expect({ code, outcome }).toEqual({ code: 1, outcome: 'failed' });
    expect(lost.length).toBeGreaterThan(0);
    expect(reasons.join('\n')).toMatch(/in the method: both batches ended was false/);
    expect(reasons.join('\n')).toMatch(/lost: [1-9]\d*, and ≤ 0 was the objective/);
  },
  limitMs,
);
