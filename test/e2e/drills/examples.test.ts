import { readdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { bootMs, type TestClouds } from '../support.ts';
import { exampleDrill, healthyClouds, runDrill } from './support.ts';

let world: TestClouds;
beforeAll(async () => {
  world = await healthyClouds();
}, 2 * bootMs);
afterAll(() => world?.stop());

const names = readdirSync(dirname(exampleDrill('x'))).map((file) => file.replace(/\.yaml$/, ''));

test.each(names)(
  'examples/drills/%s.yaml passes',
  async (name) => {
    const { code, report } = await runDrill(world, exampleDrill(name));
    expect({ code, reasons: report.verdict.reasons }).toEqual({ code: 0, reasons: [] });
  },
  1_800_000,
);
