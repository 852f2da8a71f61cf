import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { learnControl } from '../../shared/control/log.ts';
import { exampleDrill, healthyClouds, runDrill } from './drills/support.ts';
import { bootMs, type TestClouds } from './support.ts';

// What the gate has time for; `npm run drills` runs every example, and kills runners.
let world: TestClouds;
beforeAll(async () => {
  world = await healthyClouds();
}, 2 * bootMs);
afterAll(() => world?.stop());

test('the shadow drill passes on both local clouds, leaves its report in three forms, and nothing else', async () => {
  const out = mkdtempSync(join(tmpdir(), 'holdfast-drill-'));
  try {
    const before = await learnControl(world.core);
    const { code, report, stderr } = await runDrill(world, exampleDrill('shadow'), '--reason', 'a test', '--out', out);
    expect({ code, reasons: report.verdict.reasons }).toEqual({ code: 0, reasons: [] });
    expect(report.verdict).toMatchObject({ outcome: 'passed', accepted: 80, lost: [], publishedTwice: [], rpoMs: 0 });
    expect(report).toMatchObject({ reason: 'a test', actor: expect.stringMatching(/^operator:/) });
    expect(stderr).toContain('phase   method');
    const files = readdirSync(out).map((name) => name.slice(name.lastIndexOf('.')));
    expect(files.sort()).toEqual(['.html', '.json', '.xml']);
    const junit = readFileSync(join(out, `${report.drill}.xml`), 'utf8');
    expect(junit).toContain('failures="0"');
    const { sites, moves } = await learnControl(world.core);
    expect(moves).toEqual([]);
    expect(Object.values(sites).map(({ state, weight }) => `${state} ${weight}`)).toEqual(
      Object.values(before.sites).map(({ state, weight }) => `${state} ${weight}`),
    );
  } finally {
    rmSync(out, { recursive: true });
  }
}, 240_000);
