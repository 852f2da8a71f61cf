/**
 * Virtual hours that the simulator covers in a minute on one core, and how many of them were quiet and left out.
 * `npm run bench simulation`.
 */
import { simulate } from '../local/simulator/run.ts';

interface Case {
  name: string;
  hours: number;
  knobs: Parameters<typeof simulate>[0]['knobs'];
}

const cases: readonly Case[] = [
  { name: 'short outages, a tick each 30 s', hours: 1, knobs: { tickMs: 30_000 } },
  {
    name: '10,000 lines over three days, a tick each minute, faults on',
    hours: 72,
    knobs: {
      tickMs: 60_000,
      batches: 34,
      linesMax: 600,
      chunkLines: 50,
      modelConcurrency: 500,
      faults: 10,
      laterVersions: 0,
    },
  },
  {
    name: 'a quiet day, a tick each minute',
    hours: 24,
    knobs: { tickMs: 60_000, batches: 1, faults: 0, laterVersions: 0 },
  },
];

// One run to be warm.
await simulate({ seed: 'warm', knobs: { hours: 0.1 } });
for (const { name, hours, knobs } of cases) {
  const before = process.cpuUsage();
  const { totals, violations } = await simulate({ seed: 'bench', knobs: { ...knobs, hours } });
  const { user, system } = process.cpuUsage(before);
  const minutes = (user + system) / 60_000_000;
  const perMinute = (value: number) => Math.round(value / minutes).toLocaleString('en');
  console.log(
    `${name}: ${perMinute(totals.virtualHours)} virtual hours a minute, ${perMinute(totals.virtualHours - totals.skippedHours)} of them run tick by tick (${totals.virtualHours.toFixed(1)} h, ${totals.lines} lines, ` +
      `${totals.calls.toLocaleString('en')} calls, ${perMinute(totals.events)} events a minute, ${violations.length} violations)`,
  );
}
