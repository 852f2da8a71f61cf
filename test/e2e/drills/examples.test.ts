import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { defaultDrills } from '../../../shared/drill/defaults.ts';
import type { DrillSource } from '../../../shared/drill/file.ts';
import { bootMs, type TestClouds } from '../support.ts';
import { exampleDrill, healthyClouds, runDrill } from './support.ts';

// Each on clouds of its own: a site that fell within the last hour is held down four times as long the next time.
let world: TestClouds;
beforeEach(async () => {
  world = await healthyClouds();
}, 2 * bootMs);
afterEach(() => world?.stop());

const names = readdirSync(dirname(exampleDrill('x'))).map((file) => file.replace(/\.yaml$/, ''));

// As a deployment runs them where nothing is configured, but for their schedule.
test.each(defaultDrills(['aws', 'azure']).map((source): [string, DrillSource] => [source.title, source]))(
  '%s, which runs by itself, passes',
  async (title, source) => {
    const folder = mkdtempSync(join(tmpdir(), 'holdfast-drill-'));
    try {
      const file = join(folder, 'drill.json');
      writeFileSync(file, JSON.stringify(source));
      const { code, report } = await runDrill(world, file);
      expect({ code, title: report.title, reasons: report.verdict.reasons }).toEqual({ code: 0, title, reasons: [] });
    } finally {
      rmSync(folder, { recursive: true });
    }
  },
  1_800_000,
);

test.each(names)(
  'examples/drills/%s.yaml passes',
  async (name) => {
    const { code, report } = await runDrill(world, exampleDrill(name));
    expect({ code, reasons: report.verdict.reasons }).toEqual({ code: 0, reasons: [] });
  },
  1_800_000,
);
