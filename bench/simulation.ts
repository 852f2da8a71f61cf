/**
 * Virtual hours that the simulator covers in a minute of one core's time, and how many of them ran tick by tick: the
 * others were quiet and left out. Faults on, every judge on. `npm run bench simulation`.
 */
import { simulate } from '../local/simulator/run.ts';

interface Case {
  name: string;
  seeds: readonly string[];
  knobs: Parameters<typeof simulate>[0]['knobs'];
}

const tenThousandLines = {
  tickMs: 60_000,
  batches: 40,
  linesMax: 600,
  chunkLines: 50,
  modelConcurrency: 500,
  faults: 10,
  laterVersions: 0,
};
const seedsOf = (count: number) => Array.from({ length: count }, (_, i) => String(i + 1));

const cases: readonly Case[] = [
  { name: 'a day, as campaigns draw it', seeds: seedsOf(10), knobs: { hours: 24 } },
  { name: '10,000 lines in a day', seeds: ['bench'], knobs: { ...tenThousandLines, hours: 24 } },
  { name: '10,000 lines in three days', seeds: ['bench'], knobs: { ...tenThousandLines, hours: 72 } },
  { name: '10,000 lines in a week', seeds: ['bench'], knobs: { ...tenThousandLines, hours: 168 } },
  { name: '10,000 lines in a fortnight', seeds: ['bench'], knobs: { ...tenThousandLines, hours: 336 } },
  {
    name: 'a quiet day, nothing left out',
    seeds: ['bench'],
    knobs: { hours: 24, tickMs: 60_000, batches: 1, faults: 0, laterVersions: 0, leavesOutQuiet: false },
  },
];

// Two runs to be warm: a campaign is long, and its first seconds are the compiler's.
for (let i = 0; i < 2; i++) await simulate({ seed: 'warm', knobs: { ...tenThousandLines, hours: 24 } });
for (const { name, seeds, knobs } of cases) {
  const sum = { hours: 0, skipped: 0, lines: 0, calls: 0, violations: 0 };
  const before = process.cpuUsage();
  for (const seed of seeds) {
    const { totals, violations } = await simulate({ seed, ...(knobs && { knobs }) });
    sum.hours += totals.virtualHours;
    sum.skipped += totals.skippedHours;
    sum.lines += totals.lines;
    sum.calls += totals.calls;
    sum.violations += violations.length;
  }
  const { user, system } = process.cpuUsage(before);
  const minutes = (user + system) / 60_000_000;
  const perMinute = (value: number) => Math.round(value / minutes).toLocaleString('en');
  console.log(
    `${name}: ${perMinute(sum.hours)} virtual hours a minute, ${perMinute(sum.hours - sum.skipped)} of them run tick by tick ` +
      `(${sum.hours.toFixed(1)} h, ${sum.lines.toLocaleString('en')} lines, ${sum.calls.toLocaleString('en')} calls, ` +
      `${(minutes * 60).toFixed(1)} s of one core, ${sum.violations} violations)`,
  );
}
