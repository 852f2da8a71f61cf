import { describe, expect, test } from '@jest/globals';
import { createApiKey } from '../../../shared/api/keys.ts';
import type { DrillEntry } from '../../../shared/drill/facts.ts';
import type { DrillSource } from '../../../shared/drill/file.ts';
import { recentKey } from '../../../shared/journal/keys.ts';
import { action, DrillWorld, shadowSource } from './support.ts';

function switchover(more: Partial<DrillSource['holdfast']> = {}): DrillSource {
  const source = shadowSource({ kind: 'switchover', 'blast-radius': { scope: 'all' }, objectives: {}, ...more });
  source.method = [
    action('hand over', { func: 'failover', arguments: { from: 'aws', to: 'azure', mode: 'graceful', scope: 'all' } }),
  ];
  return source;
}

/** A batch that came while the drill ran: its tenant is known by its key, the batch by its marker. */
async function comesMeanwhile({ world, cores, now }: DrillWorld): Promise<void> {
  const { batch } = await world.accept({ tenant: 'globex', lines: 7 });
  await createApiKey(cores.azure, { tenant: 'globex', role: 'submitter' });
  for (const { journal } of [world.aws, world.azure])
    await journal.putIfAbsent(recentKey('globex', now, batch), new Uint8Array());
}

/** @param answer what Azure's journal answers under a key, once all is as before */
async function runWithWork(source: DrillSource, answer?: (key: string, bytes: Uint8Array) => Uint8Array) {
  const drills = await DrillWorld.start();
  const { batch } = await drills.world.accept({ lines: 12 });
  let hasCome = false;
  let told: readonly DrillEntry[] = [];
  const { journal } = drills.world.azure.site;
  const get = journal.get.bind(journal);
  journal.get = async (key, options) => {
    const found = await get(key, options);
    const isOver = told.some(({ text }) => text.startsWith('after:'));
    return found === undefined || !isOver || answer === undefined
      ? found
      : { ...found, bytes: answer(key, found.bytes) };
  };
  const report = await drills.run(source, {
    each: async (entries) => {
      told = entries;
      if (hasCome || !entries.some(({ kind }) => kind === 'control')) return;
      hasCome = true;
      await comesMeanwhile(drills);
    },
  });
  return { report, batch };
}

describe('a drill that strikes everybody is judged on what everybody had in work', () => {
  test('what was open when it struck and what came while it ran: both are whole', async () => {
    const { report } = await runWithWork(switchover());
    expect(report.verdict).toMatchObject({
      outcome: 'passed',
      accepted: 19,
      production: { known: 2, judged: 2, unfinished: 0, unread: 0 },
      lost: [],
      publishedTwice: [],
      computedTwice: { lines: 0 },
    });
    expect(report.batches).toEqual([]);
  });

  test('a published line that one cloud lacks is lost, and fails the drill by name', async () => {
    const isOutput = (key: string) => key.startsWith('t/acme/outputs/');
    const { report, batch } = await runWithWork(switchover(), (key, bytes) =>
      isOutput(key) ? bytes.subarray(bytes.indexOf(10) + 1) : bytes,
    );
    expect(report.verdict.outcome).toBe('failed');
    expect(report.verdict.lost).toHaveLength(1);
    expect(report.verdict.reasons.join('\n')).toMatch(new RegExp(`lost: 1, and ≤ 0 was the objective: .* of ${batch}`));
    expect(report.verdict.reasons.join('\n')).toContain('files that differ between the clouds: 1');
  });

  test('what did not end is counted, and nothing is said of it', async () => {
    const drills = await DrillWorld.start();
    await drills.world.accept({ lines: 12 });
    drills.world.answer = ({ line, customId }) =>
      ({ outcome: 'retry', line, customId, cause: 'backend', counts: false, reason: 'busy' }) as never;
    const report = await drills.run(switchover());
    expect(report.verdict.production).toEqual({ known: 1, judged: 0, unfinished: 1, unread: 0 });
    expect(report.verdict.outcome).toBe('passed');
  });

  test('a drill of its own batches looks at nobody else', async () => {
    const { report } = await runWithWork(shadowSource());
    expect(report.verdict.production).toBeNull();
    expect(report.verdict.accepted).toBe(24);
  });
});
