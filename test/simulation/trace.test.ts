import { expect, test } from '@jest/globals';
import { runCampaign } from '../../local/simulator/campaign.ts';
import { simulate } from '../../local/simulator/run.ts';
import { seedsApart } from '../../local/simulator/seeds-apart.ts';
import { short } from './seeds.ts';

test('a seed run twice: the same trace, byte for byte; another seed: another one', async () => {
  const run = (seed: string) => simulate({ seed, knobs: { ...short, hours: 0.3, batches: 4 }, keepTrace: 100_000 });
  const [first, again, other] = [await run('11'), await run('11'), await run('12')];
  expect(again.trace).toEqual(first.trace);
  expect(again.hash).toBe(first.hash);
  expect(other.hash).not.toBe(first.hash);
});

test('seeds that are shared among processes: the same report, in the same order, as from one', async () => {
  const campaign = { first: 21, seeds: 5, knobs: { ...short, hours: 0.3, batches: 4, tickMs: 60_000 } };
  const alone = await runCampaign(campaign);
  const apart = [seedsApart(), seedsApart()];
  try {
    const shared = await runCampaign({ ...campaign, simulators: apart.map((one) => (run) => one.ask(run)) });
    expect(shared.hash).toBe(alone.hash);
    expect(JSON.stringify({ ...shared.totals, virtualHours: 0, skippedHours: 0 })).toBe(
      JSON.stringify({ ...alone.totals, virtualHours: 0, skippedHours: 0 }),
    );
    expect(shared.reached).toEqual(alone.reached);
  } finally {
    for (const one of apart) one.end();
  }
});

test('what a run in another process throws is told, and the process goes on', async () => {
  const apart = seedsApart();
  try {
    await expect(apart.ask({ seed: '1', keep: 7 as never })).rejects.toThrow('keep.flatMap');
    expect((await apart.ask({ seed: '1', knobs: { ...short, hours: 0.2 } })).seed).toBe('1');
  } finally {
    apart.end();
  }
});

test('a failing seed is told at once, and then shrunk by the process that ran it; an interrupt ends that too', async () => {
  const report = await simulate({ seed: '1', knobs: { ...short, hours: 0.2, faults: 8 } });
  const failing = { ...report, violations: [{ invariant: 'I1', sentence: 'lost', at: 0 }] } as typeof report;
  const campaign = async (signal?: AbortController) => {
    const events: string[] = [];
    const { failures } = await runCampaign({
      first: 1,
      seeds: 1,
      knobs: { ...short, hours: 0.2, faults: 8 },
      onRun: () => {
        events.push('told');
        signal?.abort();
      },
      simulators: [
        async ({ keep }) => {
          events.push(keep === undefined ? 'run' : 'shrink');
          return failing;
        },
      ],
      ...(signal && { signal: signal.signal }),
    });
    return { events, keep: failures[0]!.keep };
  };
  const { events, keep } = await campaign();
  expect(events.slice(0, 3)).toEqual(['run', 'told', 'shrink']);
  expect(keep).toEqual([]);
  const interrupted = await campaign(new AbortController());
  expect(interrupted.events).toEqual(['run', 'told']);
  expect(interrupted.keep).toHaveLength(report.schedule.length);
});

test('a run whose calls beget each other is broken off, fails, and is the same each time', async () => {
  const run = () => simulate({ seed: '1', knobs: { ...short, hours: 0.3, batches: 4 }, callsMax: 1_000 });
  const [one, again] = [await run(), await run()];
  expect(one.violations.map(({ invariant, sentence }) => `${invariant}: ${sentence}`)).toEqual([
    'liveness: broken off after 1000 calls: they beget each other',
  ]);
  expect(one.totals.calls).toBeLessThan(1_100);
  expect(again.hash).toBe(one.hash);
});
