import type { RuleName } from '../../shared/control/rules.ts';
import type { Operators } from './actors/operator.ts';
import { differences } from './checkers/convergence.ts';
import { openDrills } from './checkers/drills.ts';
import { pending } from './checkers/liveness.ts';
import { type Cloud, clouds, type World } from './world.ts';

/** When all is well again people put back what they had changed by hand, and give it time. */
export function helpBack(world: World, operators: Operators, lost: () => Cloud | undefined): void {
  const give = (command: Parameters<Operators['give']>[0]['command'], name: string, force: RuleName[] = []) =>
    operators.give({
      command,
      force: ['minimum-interval', ...force],
      at: lost() === 'aws' ? 'azure' : 'aws',
      operationId: `tidy-${name}-${world.now}`,
    });
  world.scheduler.after(60_000, () => {
    void (async () => {
      await give({ kind: 'unfreeze' }, 'unfreeze');
      for (const site of clouds) await give({ kind: 'uncordon', site }, `uncordon-${site}`);
    })();
  });
  // Whoever was failed over by hand comes back by hand; verdicts may hold back for hours what a person sees at once.
  const back = (round: number) => {
    if (round > 12) return;
    world.scheduler.after(600_000, () => {
      // Not once this round is answered: a laptop that dies answers nobody, and its owner asks again.
      back(round + 1);
      void (async () => {
        const force: RuleName[] = round < 6 ? [] : ['target-healthy'];
        const from = lost();
        // A cloud that is gone for good may have been the only one that was active: that takes a person.
        if (from !== undefined)
          await give(
            { kind: 'failover', from, to: from === 'aws' ? 'azure' : 'aws', scope: { kind: 'all' }, mode: 'forced' },
            'give-up',
            ['no-solo-flip', 'target-healthy'],
          );
        else
          for (const site of clouds) await give({ kind: 'failback', site, step: 'start' }, `failback-${site}`, force);
      })();
    });
  };
  back(0);
}

/** Everything accepted is published, everywhere, and both journals hold the same. */
export function isAtRest(world: World, lost: Cloud | undefined): boolean {
  if (pending(world, lost).length > 0 || openDrills(world).length > 0) return false;
  return lost !== undefined || (differences(world).length === 0 && areLogsEqual(world));
}

function areLogsEqual(world: World): boolean {
  const [aws, azure] = clouds.map((site) => world.stores[site].journal.keysUnder('control/').length);
  return aws === azure;
}
