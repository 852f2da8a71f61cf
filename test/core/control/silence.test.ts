import { expect, test } from '@jest/globals';
import { execute } from '../../../shared/control/execute.ts';
import { initControl } from '../../../shared/control/init.ts';
import { controlView, learnControl } from '../../../shared/control/log.ts';
import { readObservations } from '../../../shared/health/observation.ts';
import { World } from '../../support/world.ts';

const swallows = { delayMs: 86_400_000 };

/** A process of azure that hears nothing of aws, whose every call is swallowed. */
async function alone(witness: { delayMs: number } | { refuse: true }) {
  const world = new World();
  const bare = world.newProcess('azure');
  const site = (cloud: 'aws' | 'azure') => ({ cloud, region: 'local' });
  await initControl(bare, {
    sites: { aws: site('aws'), azure: site('azure') },
    voters: ['aws', 'azure', 'witness'].map((store) => ({ store, incarnation: `${store}-1` })),
    actor: 'test',
    reason: 'first entry',
  });
  world.aws.faults.set('all', swallows);
  world.witness.faults.set('all', witness);
  const took = async <T>(run: () => Promise<T>): Promise<{ outcome: T; tookMs: number }> => {
    const startedAt = world.clock.now();
    let endedAt = startedAt;
    const outcome = await world.settled(
      run().finally(() => {
        endedAt = world.clock.now();
      }),
    );
    return { outcome, tookMs: endedAt - startedAt };
  };
  return { core: { ...bare, control: controlView(bare) }, took, callMs: world.settings.peerTimeoutMs };
}

test.each([
  ['refuses', { refuse: true } as const],
  ['swallows them, too', swallows],
])(
  'with the link swallowing calls and a witness that %s, who asks gets a word before the client gives up',
  async (_, witness) => {
    const { core, took, callMs } = await alone(witness);
    const learned = await took(() => learnControl(core));
    expect(learned.outcome.epoch).toBe(1);
    expect(learned.tookMs).toBeLessThanOrEqual(2 * callMs);
    const observations = await took(() => readObservations(core));
    expect(observations.tookMs).toBeLessThanOrEqual(callMs);
    const command = { kind: 'failover', from: 'aws', to: 'azure', mode: 'forced', scope: { kind: 'all' } } as const;
    const options = { operationId: 'op', actor: 'operator:test', reason: 'is it decided?', observations: [] };
    const decided = await took(() => execute(core, command, { ...options, force: ['target-healthy'] }));
    expect(decided.outcome.status).toBe('undecided');
    // `holdfast failover` waits 45 s for an answer.
    expect(decided.tookMs).toBeLessThanOrEqual(35_000);
    const solo = await took(() => execute(core, command, { ...options, force: ['target-healthy', 'no-witness'] }));
    expect(solo.outcome).toMatchObject({ status: 'done', isSolo: true });
    expect(solo.tookMs).toBeLessThanOrEqual(40_000);
  },
);
