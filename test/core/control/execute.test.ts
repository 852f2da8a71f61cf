import { describe, expect, test } from '@jest/globals';
import { actOnObservations } from '../../../shared/control/act.ts';
import { auditControl } from '../../../shared/control/audit.ts';
import { decide } from '../../../shared/control/decide.ts';
import { proposeControl, readEntry } from '../../../shared/control/log.ts';
import { isStale } from '../../../shared/worker/pointers.ts';
import { awsDark, azureDark, ControlWorld, failover, gate, now, policy, seen, well } from './support.ts';

const states = async (world: ControlWorld, self: 'aws' | 'azure' = 'aws') => {
  const { epoch, sites } = await world.learned(self);
  return { epoch, aws: sites.aws!.state, azure: sites.azure!.state };
};

describe('a command', () => {
  test('is decided, written to every journal, and says who wanted it and why', async () => {
    const world = await ControlWorld.start();
    const outcome = await world.run(world.process('aws'), failover('aws', 'azure'), { operationId: 'op' });
    expect(outcome).toMatchObject({
      status: 'done',
      entry: { epoch: 2, actor: 'operator:test', reason: 'because', operation: 'op', forced: [] },
      plan: { changes: ['aws: active → fenced', 'aws: weight 50 → 0', 'azure: weight 50 → 100'] },
    });
    for (const id of ['aws', 'azure', 'witness'] as const)
      expect((await world.keys(id)).map(({ key }) => key)).toContain('control/00000002.json');
    expect(await auditControl(world.core('aws'))).toEqual({ faults: [], unseen: [] });
  });

  test.each(['aws', 'azure'] as const)(
    'works from the other cloud and from a laptop with %s dark',
    async (darkSite) => {
      const world = await ControlWorld.start();
      world.dark(darkSite);
      const living = darkSite === 'aws' ? 'azure' : 'aws';
      const observations = darkSite === 'aws' ? awsDark : azureDark;
      // A laptop has the dark cloud first in its list, or the living one.
      for (const [i, self] of ([living, darkSite] as const).entries()) {
        const outcome = await world.run(world.process(self), failover(darkSite, living), {
          observations,
          operationId: 'op',
        });
        expect(outcome.status).toBe(i === 0 ? 'done' : 'replayed');
      }
      expect((await world.learned(living)).sites[darkSite]).toMatchObject({ state: 'fenced', fencedEpoch: 2 });
    },
  );

  test('with one cloud and the witness dark is undecided, says so by name, and leaves no trace', async () => {
    const world = await ControlWorld.start();
    world.dark('aws');
    world.dark('witness');
    const core = world.process('azure');
    const outcome = await world.run(core, failover('aws', 'azure'), { observations: awsDark });
    expect(outcome).toMatchObject({ status: 'undecided', objections: [{ rule: 'no-witness' }] });
    world.dark('aws', false);
    expect((await world.learned('azure')).epoch).toBe(1);
  });

  test('with one cloud and the witness dark passes by --force no-witness, a person being the third vote', async () => {
    const world = await ControlWorld.start();
    world.dark('aws');
    world.dark('witness');
    const core = world.process('azure');
    const outcome = await world.run(core, failover('aws', 'azure'), {
      observations: awsDark,
      force: ['no-witness'],
      operationId: 'op',
    });
    expect(outcome).toMatchObject({ status: 'done', isSolo: true, entry: { epoch: 2, forced: ['no-witness'] } });
    expect(await states(world, 'azure')).toEqual({ epoch: 2, aws: 'fenced', azure: 'active' });
    // Sent again, and again when all are back: one entry, joint in the end.
    for (const darkness of [true, false]) {
      for (const id of ['aws', 'witness'] as const) world.dark(id, darkness);
      expect(await world.run(core, failover('aws', 'azure'), { operationId: 'op' })).toMatchObject({
        status: 'replayed',
      });
    }
    expect(await world.learned('aws')).toMatchObject({ epoch: 2, operation: 'op' });
    expect(await auditControl(world.core('aws'))).toEqual({ faults: [], unseen: [] });
  });

  test('a machine is no third vote', async () => {
    const world = await ControlWorld.start();
    world.dark('aws');
    world.dark('witness');
    const outcome = await world.run(world.process('azure'), failover('aws', 'azure'), {
      actor: 'monitor/azure',
      observations: awsDark,
      force: ['no-witness'],
    });
    expect(outcome.status).toBe('undecided');
    expect((await world.learned('azure')).epoch).toBe(1);
  });

  test('without any witness configured is decided as long as both clouds answer', async () => {
    const world = await ControlWorld.start();
    const outcome = await world.run(world.process('aws', { witness: false }), { kind: 'cordon', site: 'aws' });
    expect(outcome.status).toBe('done');
  });

  test('as a dry run tells what would change and what objects, and changes nothing', async () => {
    const world = await ControlWorld.start();
    const outcome = await world.run(world.process('aws'), failover('aws', 'azure'), {
      dryRun: true,
      observations: azureDark,
    });
    expect(outcome).toMatchObject({
      status: 'planned',
      plan: { epoch: 1, changes: expect.any(Array), objections: [{ rule: 'target-healthy' }] },
    });
    expect((await world.learned('aws')).epoch).toBe(1);
  });

  test('refused by a rule passes by --force with its name, which stands in the entry with what was overridden', async () => {
    const world = await ControlWorld.start();
    const core = world.process('aws');
    const refused = await world.run(core, failover('aws', 'azure'), { observations: azureDark });
    expect(refused).toMatchObject({ status: 'refused', objections: [{ rule: 'target-healthy' }] });
    const forced = await world.run(core, failover('aws', 'azure'), {
      observations: azureDark,
      force: ['target-healthy'],
      reason: 'I see it working',
    });
    expect(forced).toMatchObject({
      status: 'done',
      entry: {
        forced: ['target-healthy'],
        reason: 'I see it working',
        evidence: [expect.stringMatching(/^target-healthy overridden: azure is down/)],
      },
    });
  });

  test('that finds everything as it wants it proposes nothing', async () => {
    const world = await ControlWorld.start();
    const core = world.process('aws');
    expect(await world.run(core, { kind: 'unfreeze' })).toMatchObject({ status: 'unchanged' });
    expect((await world.learned('aws')).epoch).toBe(1);
  });

  test('for another entry than the one that stands does nothing', async () => {
    const world = await ControlWorld.start();
    const core = world.process('aws');
    await world.run(core, { kind: 'cordon', site: 'aws' });
    const outcome = await world.run(core, failover('aws', 'azure'), { expectedEpoch: 1 });
    expect(outcome).toMatchObject({ status: 'stale', entry: { epoch: 2 } });
    expect((await world.learned('aws')).epoch).toBe(2);
  });

  test('from a machine forces nothing', async () => {
    const world = await ControlWorld.start();
    const outcome = await world.run(world.process('aws'), failover('aws', 'azure'), {
      actor: 'monitor/aws',
      observations: azureDark,
      force: ['target-healthy'],
    });
    expect(outcome.status).toBe('refused');
  });

  test('F24: a failover captured and sent again, when everything has returned and its target is sick, does nothing', async () => {
    const world = await ControlWorld.start();
    const core = world.process('aws');
    const captured = { operationId: 'captured' };
    await world.run(core, failover('aws', 'azure'), captured);
    world.now += 600_000;
    const isConverged = async () => true;
    for (const step of ['start', 100] as const)
      await world.run(core, { kind: 'failback', site: 'aws', step }, { isConverged });
    for (let i = 0; i < 20; i++) await world.run(core, { kind: i % 2 === 0 ? 'freeze' : 'unfreeze' });
    const before = await states(world);
    expect(before).toMatchObject({ aws: 'active', azure: 'active' });
    // Another process, from the other cloud, with every rule overridden: still the same operation.
    const again = await world.run(world.process('azure'), failover('aws', 'azure'), {
      ...captured,
      observations: azureDark,
      force: ['target-healthy', 'minimum-interval'],
    });
    expect(again).toMatchObject({ status: 'replayed', entry: { epoch: 2 } });
    expect(await states(world)).toEqual(before);
  });

  test('F25: of two operators who switch off a cloud each, in the same second, one is decided and the other is told', async () => {
    for (const order of [0, 1]) {
      const world = await ControlWorld.start();
      const commands = [
        () => world.run(world.process('aws'), failover('aws', 'azure'), { actor: 'operator:a' }),
        () => world.run(world.process('azure'), failover('azure', 'aws'), { actor: 'operator:b' }),
      ];
      const outcomes = await Promise.all(
        order === 0 ? commands.map((run) => run()) : commands.reverse().map((run) => run()),
      );
      expect(outcomes.map(({ status }) => status).sort()).toEqual(['done', 'lost']);
      const { epoch, aws, azure } = await states(world);
      expect(epoch).toBe(2);
      expect([aws, azure].sort()).toEqual(['active', 'fenced']);
      const lost = outcomes.find(({ status }) => status === 'lost')!;
      expect(lost).toMatchObject({ entry: { epoch: 2, actor: expect.stringMatching(/^operator:[ab]$/) } });
    }
  });

  test('F25: the second operator, a minute later, is refused by name: the other cloud is alone', async () => {
    const world = await ControlWorld.start();
    await world.run(world.process('aws'), failover('aws', 'azure'));
    world.now += 60_000;
    const outcome = await world.run(world.process('azure'), failover('azure', 'aws'));
    expect(outcome).toMatchObject({
      status: 'refused',
      objections: [{ rule: 'minimum-interval' }, { rule: 'no-solo-flip' }],
    });
  });

  test('F27: a decider that is frozen between promise and accept finds the value of the other one, not its own', async () => {
    const world = await ControlWorld.start();
    const [frozen, thawed] = [gate(), gate()];
    // At each store the first write is the slow one's promise, and the second one its accept.
    for (const store of ['aws/state', 'azure/state'] as const) {
      let puts = 0;
      world.faultsOf(store).before = async (op, key) => {
        if (!op.startsWith('put') || !key.includes('control/') || ++puts !== 2) return;
        frozen.open();
        await thawed.opened;
      };
    }
    const slow = world.run(world.process('aws'), failover('aws', 'azure'), { actor: 'operator:slow' });
    await frozen.opened;
    const fast = await world.run(world.process('azure'), { kind: 'freeze' }, { actor: 'operator:fast' });
    thawed.open();
    const late = await slow;
    expect([fast.status, late.status]).toEqual(['done', 'lost']);
    expect((late as { entry: unknown }).entry).toEqual((fast as { entry: unknown }).entry);
    expect(await auditControl(world.core('aws'))).toEqual({ faults: [], unseen: [] });
  });

  test('F51: an entry that is accepted by one store and fences the very site that comes next is finished by it', async () => {
    const world = await ControlWorld.start();
    const decider = world.core('aws');
    const control = await world.learned('aws');
    for (const id of ['azure', 'witness'] as const) world.faultsOf(`${id}/state`).set('putIfMatch', { refuse: true });
    const decision = decide(azureDark, control, policy, now);
    if (decision.kind !== 'change') throw new Error(decision.reason);
    await expect(proposeControl(decider, control, decision.draft)).rejects.toMatchObject({
      name: 'SiteUnavailableError',
    });
    for (const id of ['azure', 'witness'] as const) world.faultsOf(`${id}/state`).clear();
    // The decider never comes back; azure, which this entry fences, wants something else.
    const outcome = await world.run(world.process('azure'), { kind: 'freeze' });
    expect(outcome).toMatchObject({ status: 'done', entry: { epoch: 3, frozen: true } });
    expect(await states(world, 'azure')).toEqual({ epoch: 3, aws: 'active', azure: 'fenced' });
    expect((await readEntry(world.core('azure'), 2))?.entry.operation).toBe(decision.operation);
  });
});

describe('a monitor that acts', () => {
  test('F18: a machine and a person who name two survivors in the same second end with one entry', async () => {
    for (const machineFirst of [true, false]) {
      const world = await ControlWorld.start();
      const machine = () => actOnObservations(world.process('azure'), awsDark, { policy });
      const person = () => world.run(world.process('aws'), failover('azure', 'aws'), { force: ['target-healthy'] });
      const ended = await Promise.all(machineFirst ? [machine(), person()] : [person(), machine()]);
      const { epoch, aws, azure } = await states(world);
      expect(epoch).toBe(2);
      expect([aws, azure].sort()).toEqual(['active', 'fenced']);
      const won = ended.filter(
        (one) => ('outcome' in one ? one.outcome?.status : 'status' in one && one.status) === 'done',
      );
      expect(won).toHaveLength(1);
    }
  });

  test('under failover: recommend it decides the same, and commits nothing', async () => {
    const world = await ControlWorld.start();
    world.dark('aws');
    const told = { policy: { ...policy, isActing: false } };
    const { decision, outcome } = await actOnObservations(world.process('azure'), awsDark, told);
    expect(decision.kind).toBe('change');
    expect(outcome).toBeUndefined();
    expect((await world.learned('azure')).epoch).toBe(1);
  });

  test('both monitors that see the same thing in the same second make one entry, and neither flaps', async () => {
    const world = await ControlWorld.start();
    world.dark('aws');
    const [one, other] = [world.process('azure'), { ...world.process('azure'), random: () => 0.9 }];
    const ended = await Promise.all([
      actOnObservations(one, awsDark, { policy }),
      actOnObservations(other, awsDark, { policy, observer: 'third' }),
    ]);
    const operations = ended.map(({ decision }) => decision.kind === 'change' && decision.operation);
    expect(operations[0]).toBe(operations[1]);
    for (let tick = 0; tick < 20; tick++) {
      world.now += 10_000;
      for (const core of [one, other]) await actOnObservations(core, awsDark, { policy });
    }
    expect((await world.learned('azure')).epoch).toBe(2);
    expect(await world.learned('azure')).toMatchObject({
      actor: expect.stringMatching(/^monitor\//),
      evidence: expect.arrayContaining([expect.stringContaining('aws')]),
    });
  });

  test('F46: ten seconds down, ten seconds up, for an hour: one failover at most, whatever verdicts come of it', async () => {
    const world = await ControlWorld.start();
    const core = world.process('azure');
    const fencings = new Set<number>();
    for (let s = 0; s < 3_600; s += 10) {
      world.now = now + s * 1_000;
      // Verdicts without any hysteresis: the control rules alone have to hold.
      const { outcome } = await actOnObservations(
        core,
        s % 20 === 0 ? awsDark : seen({ aws: well, azure: well, third: well }),
        {
          policy: { ...policy, automaticFailback: false },
        },
      );
      if (outcome?.status === 'done') fencings.add(outcome.entry.epoch);
    }
    expect([...fencings]).toEqual([2]);
  });

  test('a survivor that was alone without the knowledge of the other, and is dark now, is taken over from', async () => {
    const world = await ControlWorld.start();
    const azure = world.process('azure');
    await azure.control.current();
    // AWS makes itself alone while azure looks away, and goes dark before azure learns of it.
    world.dark('azure');
    await world.run(world.process('aws'), failover('azure', 'aws'), { observations: azureDark });
    world.dark('azure', false);
    world.dark('aws');
    world.now += policy.minimumIntervalMs;
    const { outcome } = await actOnObservations(azure, awsDark, { policy });
    expect(outcome).toMatchObject({
      status: 'done',
      entry: { epoch: 3, sites: { aws: { state: 'fenced' }, azure: { state: 'active', fencedEpoch: 2 } } },
    });
  });

  test('F23: what a process goes by is one decided entry, never a number of one and sites of another', async () => {
    const world = await ControlWorld.start();
    const core = world.process('azure');
    for (let round = 0; round < 10; round++) {
      const [seenEntry] = await Promise.all([
        core.control.current(),
        world.run(world.process('aws'), { kind: round % 2 === 0 ? 'freeze' : 'unfreeze' }),
      ]);
      // Entry 2, 4, … are frozen, entry 1, 3, … are not: a mixed pair would show.
      expect(seenEntry.frozen).toBe(seenEntry.epoch % 2 === 0);
      world.now += 60_000;
    }
  });

  test('F26: a witness that shows old objects decides nothing: what it says is held against its ETag', async () => {
    const world = await ControlWorld.start();
    const state = world.state('witness');
    const first = await world.run(world.process('aws'), { kind: 'freeze' });
    expect(first.status).toBe('done');
    // Its cache answers: every read of a register shows what was there before anything was promised.
    const core = world.process('azure');
    const cache = new Proxy(state, {
      get: (target, name) => {
        if (name === 'get' || name === 'head') return async () => undefined;
        const member = Reflect.get(target, name);
        return typeof member === 'function' ? member.bind(target) : member;
      },
    });
    const cached: typeof core = { ...core, witness: { ...core.witness!, state: cache } };
    // The journal of azure lost entry 2, and AWS is dark: only the registers know.
    await world.journal('azure').delete('control/00000002.json');
    await world.journal('witness').delete('control/00000002.json');
    world.dark('aws');
    const outcome = await world.run(cached, { kind: 'cordon', site: 'aws' }, { observations: awsDark });
    expect(['undecided', 'lost']).toContain(outcome.status);
    world.dark('aws', false);
    expect(await world.learned('aws')).toMatchObject({ epoch: 2, frozen: true });
  });
});

describe('returning', () => {
  test('F34: what was sent to a site before it was fenced stays stale after it returned', async () => {
    const world = await ControlWorld.start();
    const core = world.process('azure');
    await world.run(core, failover('aws', 'azure'));
    world.now += 600_000;
    await world.run(core, { kind: 'failback', site: 'aws', step: 'start' });
    await world.run(core, { kind: 'failback', site: 'aws', step: 5 }, { isConverged: async () => true });
    const control = await world.learned('aws');
    expect(control.sites.aws).toMatchObject({ state: 'active', weight: 5 });
    expect([1, 2, control.epoch].map((epoch) => isStale({ epoch }, control, 'aws'))).toEqual([true, false, false]);
  });

  test('F36: a site gets no work before it is proved to have every fact, and gets it then', async () => {
    const world = await ControlWorld.start();
    const core = world.process('azure');
    await world.run(core, failover('aws', 'azure'));
    world.now += 600_000;
    const step = { kind: 'failback', site: 'aws', step: 5 } as const;
    expect(await world.run(core, step)).toMatchObject({ status: 'impossible' });
    await world.run(core, { kind: 'failback', site: 'aws', step: 'start' });
    const unproved = [undefined, async () => false, async () => Promise.reject(new Error('dark'))];
    for (const isConverged of unproved)
      expect(await world.run(core, step, isConverged === undefined ? {} : { isConverged })).toMatchObject({
        status: 'refused',
        objections: [{ rule: 'no-solo-flip' }],
      });
    expect(await world.run(core, step, { isConverged: async () => true })).toMatchObject({ status: 'done' });
  });

  test('F37: from A alone straight to B alone is refused until B has every fact', async () => {
    const world = await ControlWorld.start();
    const core = world.process('azure');
    await world.run(core, failover('aws', 'azure'));
    world.now += 600_000;
    expect(await world.run(core, failover('azure', 'aws'))).toMatchObject({
      status: 'refused',
      objections: [{ rule: 'no-solo-flip', sentence: expect.stringContaining('azure is alone') }],
    });
    expect(await world.run(core, failover('azure', 'aws'), { isConverged: async () => true })).toMatchObject({
      status: 'done',
    });
  });
});
