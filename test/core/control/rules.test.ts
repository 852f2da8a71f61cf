import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { assertControl } from '../../../shared/control/chain.ts';
import { applyCommand, type ControlCommand, describeChange } from '../../../shared/control/commands.ts';
import { draftOf, planCommand } from '../../../shared/control/plan.ts';
import { type RuleName, ruleNames, type Situation, situationOf, unforceable } from '../../../shared/control/rules.ts';
import { type ControlEntry, controlSchema } from '../../../shared/journal/facts.ts';
import {
  allWell,
  awsDark,
  awsFenced,
  azureDark,
  entryAfter,
  failover,
  first,
  now,
  policy,
  seen,
  well,
} from './support.ts';

const situation = (more: Partial<Situation> = {}): Situation =>
  situationOf({ control: first, observations: allWell, policy, now, actor: 'operator:x', ...more });
const objections = (command: ControlCommand, more: Partial<Situation> = {}) =>
  planCommand(command, situation(more)).objections.map(({ rule }) => rule);

const backlog = (...models: string[]) =>
  models.map((model) => ({ site: 'aws', model, openLines: 10, oldestMs: 1, answeredOfLate: 0 }));
const busy = (...models: string[]) => seen({ aws: { ...well, backlog: backlog(...models) }, azure: well, third: well });
const cordoned = (id: 'aws' | 'azure'): ControlEntry =>
  entryAfter(first, { sites: { ...first.sites, [id]: { ...first.sites[id]!, state: 'cordoned' } } });
const recovering = awsFenced('operator:x', now - 600_000, 'recovering');
const step = (weight: number): ControlCommand => ({ kind: 'failback', site: 'aws', step: weight });
const aws = { kind: 'cordon', site: 'aws' } as const;
const azureSickModels = seen({
  aws: { ...well, backlog: backlog('m') },
  azure: { aws: 'healthy', azure: ['degraded', ['model-throttled'], ['m']] },
});

const table: [RuleName, string, ControlCommand, Partial<Situation>, objects: boolean][] = [
  ['at-least-one-active', 'cordoning the last active site', aws, { control: cordoned('azure') }, true],
  ['at-least-one-active', 'cordoning one of two', aws, {}, false],
  [
    'at-least-one-active',
    'draining the lone survivor',
    { kind: 'drain', site: 'azure' },
    { control: awsFenced(), past: [first] },
    true,
  ],
  ['not-frozen', 'a failover while frozen', failover('aws', 'azure'), { control: { ...first, frozen: true } }, true],
  ['not-frozen', 'unfreezing', { kind: 'unfreeze' }, { control: { ...first, frozen: true } }, false],
  ['target-healthy', 'a failover to a site that is well', failover('aws', 'azure'), {}, false],
  ['target-healthy', 'a failover to a site that is dark', failover('aws', 'azure'), { observations: azureDark }, true],
  [
    'target-healthy',
    'a failover away from a site that is dark',
    failover('azure', 'aws'),
    { observations: azureDark },
    false,
  ],
  ['target-healthy', 'a failover where nobody is heard', failover('aws', 'azure'), { observations: [] }, true],
  [
    'target-healthy',
    'moving one model to a dark site',
    { ...failover('aws', 'azure'), scope: { kind: 'model', name: 'm' } },
    { observations: azureDark },
    true,
  ],
  ['target-healthy', 'cordoning the well site of two', aws, { observations: azureDark }, true],
  ['target-healthy', 'cordoning the dark site of two', aws, { observations: awsDark }, false],
  [
    'target-healthy',
    'letting a dark site recover',
    { kind: 'failback', site: 'aws', step: 'start' },
    { control: awsFenced(), observations: awsDark },
    true,
  ],
  [
    'target-healthy',
    'more weight for a site that is down',
    { kind: 'weights', weights: { aws: 100 } },
    { observations: awsDark },
    true,
  ],
  [
    'target-healthy',
    'less weight for a site that is down',
    { kind: 'weights', weights: { aws: 5 } },
    { observations: awsDark },
    false,
  ],
  [
    'target-healthy',
    'unfreezing, with everything dark',
    { kind: 'unfreeze' },
    { control: { ...first, frozen: true }, observations: [] },
    false,
  ],
  [
    'target-has-models-and-headroom',
    'work that the target serves',
    failover('aws', 'azure'),
    { observations: busy('m') },
    false,
  ],
  [
    'target-has-models-and-headroom',
    'work that the target does not serve',
    failover('aws', 'azure'),
    { observations: busy('only-aws') },
    true,
  ],
  [
    'target-has-models-and-headroom',
    'work of which something runs there',
    failover('aws', 'azure'),
    { observations: busy('only-aws', 'm') },
    false,
  ],
  [
    'target-has-models-and-headroom',
    'a model that is throttled there, too',
    failover('aws', 'azure'),
    { observations: azureSickModels },
    true,
  ],
  [
    'target-has-models-and-headroom',
    'one model that is not served there',
    { ...failover('aws', 'azure'), scope: { kind: 'model', name: 'only-aws' } },
    {},
    true,
  ],
  [
    'minimum-interval',
    'a failover soon after another role change',
    step(5),
    { control: entryAfter(recovering, { actor: 'operator:x' }), past: [recovering, first] },
    false,
  ],
  [
    'minimum-interval',
    'returning 20 s after being fenced',
    failover('azure', 'aws'),
    { control: awsFenced('operator:x', now - 20_000), past: [first] },
    true,
  ],
  [
    'minimum-interval',
    'returning ten minutes after being fenced',
    failover('azure', 'aws'),
    { control: awsFenced(), past: [first] },
    false,
  ],
  [
    'minimum-interval',
    'a cordon 20 s after a failover',
    { kind: 'freeze' },
    { control: awsFenced('x', now - 20_000), past: [first] },
    false,
  ],
  [
    'not-common-cause',
    'the same fault in both clouds',
    failover('aws', 'azure'),
    { observations: seen({ third: { aws: ['down', ['common-cause', 'store-down']], azure: 'healthy' } }) },
    true,
  ],
  ['not-common-cause', 'a fault in one', failover('aws', 'azure'), { observations: awsDark }, false],
  // F36
  ['no-solo-flip', 'weight for a site that lacks facts', step(5), { control: recovering, past: [first] }, true],
  [
    'no-solo-flip',
    'weight for a site that has all facts',
    step(5),
    { control: recovering, past: [first], converged: new Set(['aws']) },
    false,
  ],
  ['no-solo-flip', 'more weight for a site that has some', step(25), { control: first }, false],
  // F37
  [
    'no-solo-flip',
    'from A alone straight to B alone',
    failover('azure', 'aws'),
    { control: awsFenced(), past: [first] },
    true,
  ],
  [
    'no-solo-flip',
    'from A alone to B alone, B holding everything',
    failover('azure', 'aws'),
    { control: awsFenced(), past: [first], converged: new Set(['aws']) },
    false,
  ],
  [
    'no-solo-flip',
    'A dark, B never knew',
    failover('azure', 'aws'),
    { control: awsFenced(), past: [first], observations: azureDark, surprised: new Set(['aws']) },
    false,
  ],
  [
    'no-solo-flip',
    'A well, B never knew',
    failover('azure', 'aws'),
    { control: awsFenced(), past: [first], surprised: new Set(['aws']) },
    true,
  ],
  ['no-drill-in-incident', 'a drill while all is well', failover('aws', 'azure'), { actor: 'drill/one' }, false],
  [
    'no-drill-in-incident',
    'a drill while a site is fenced',
    failover('azure', 'aws'),
    { actor: 'drill/one', control: awsFenced(), past: [first] },
    true,
  ],
  [
    'no-drill-in-incident',
    'a drill that undoes what it did',
    { kind: 'failback', site: 'aws', step: 'start' },
    { actor: 'drill/one', control: awsFenced('drill/one'), past: [first] },
    false,
  ],
  [
    'no-drill-in-incident',
    'a person while a site is fenced',
    { kind: 'failback', site: 'aws', step: 'start' },
    { control: awsFenced(), past: [first] },
    false,
  ],
  [
    'drained',
    'graceful, with lines in work',
    { ...failover('aws', 'azure'), mode: 'graceful' },
    { control: cordoned('aws'), observations: busy('m') },
    true,
  ],
  [
    'drained',
    'graceful, with nothing left',
    { ...failover('aws', 'azure'), mode: 'graceful' },
    { control: cordoned('aws') },
    false,
  ],
  [
    'drained',
    'graceful, with a batch that is not planned yet',
    { ...failover('aws', 'azure'), mode: 'graceful' },
    {
      control: cordoned('aws'),
      observations: seen({ aws: { ...well, backlog: [{ ...backlog('unplanned')[0]!, openLines: 0 }] }, azure: well }),
    },
    true,
  ],
  [
    'drained',
    'graceful, with nothing left by a count of before the cordon',
    { ...failover('aws', 'azure'), mode: 'graceful' },
    { control: { ...cordoned('aws'), at: now - 10_000 } },
    true,
  ],
  [
    'drained',
    'graceful, with nobody there who counts',
    { ...failover('aws', 'azure'), mode: 'graceful' },
    { control: cordoned('aws'), observations: seen({ azure: well, third: well }) },
    true,
  ],
  [
    'drained',
    'forced, with lines in work',
    failover('aws', 'azure'),
    { control: cordoned('aws'), observations: busy('m') },
    false,
  ],
  [
    'witness-present',
    'a machine without a witness',
    failover('aws', 'azure'),
    { actor: 'monitor/azure', policy: { ...policy, hasWitness: false } },
    true,
  ],
  [
    'witness-present',
    'a person without a witness',
    failover('aws', 'azure'),
    { policy: { ...policy, hasWitness: false } },
    false,
  ],
  [
    'witness-present',
    'a machine that moves a model without a witness',
    { ...failover('aws', 'azure'), scope: { kind: 'model', name: 'm' } },
    { actor: 'monitor/azure', policy: { ...policy, hasWitness: false } },
    false,
  ],
];

describe('rules', () => {
  test.each(table)('%s, %s: objects %#', (rule, _, command, more, objects) => {
    expect(objections(command, more).includes(rule)).toBe(objects);
  });

  test('every rule has a row that objects and one that does not, but for the one that is found by trying', () => {
    for (const rule of ruleNames.filter((one) => one !== 'no-witness'))
      expect({
        rule,
        verdicts: [...new Set(table.filter((row) => row[0] === rule).map((row) => row[4]))].sort(),
      }).toEqual({ rule, verdicts: [false, true] });
  });

  test('an objection is a sentence that names what was seen', () => {
    const [objection] = planCommand(failover('aws', 'azure'), situation({ observations: azureDark })).objections;
    expect(objection).toMatchObject({
      rule: 'target-healthy',
      sentence: expect.stringMatching(/^azure is down: .*site-dark/),
    });
  });

  test('F24, F25: a failover aimed at a sick site passes only for whoever names the rule', () => {
    const at = situation({ observations: azureDark });
    expect(planCommand(failover('aws', 'azure'), at).objections).toHaveLength(1);
    expect(planCommand(failover('aws', 'azure'), at, ['not-frozen']).objections).toHaveLength(1);
    expect(planCommand(failover('aws', 'azure'), at, ['target-healthy'])).toMatchObject({
      objections: [],
      overridden: [{ rule: 'target-healthy' }],
    });
  });

  test('that some site stays active cannot be overridden', () => {
    const plan = planCommand(aws, situation({ control: cordoned('azure') }), [...ruleNames]);
    expect(plan.objections.map(({ rule }) => rule)).toEqual(['at-least-one-active']);
    expect([...unforceable]).toContain('at-least-one-active');
  });
});

const site = fc.constantFrom('aws', 'azure');
const scope = fc.oneof(
  fc.constant({ kind: 'all' as const }),
  fc.record({ kind: fc.constantFrom('model' as const, 'batch' as const), name: fc.constantFrom('m', 'e') }),
);
const command: fc.Arbitrary<ControlCommand> = fc.oneof(
  fc.record({
    kind: fc.constant('failover' as const),
    from: site,
    to: site,
    scope,
    mode: fc.constantFrom('graceful' as const, 'forced' as const),
  }),
  fc.record({
    kind: fc.constant('failback' as const),
    site,
    step: fc.oneof(fc.constant('start' as const), fc.integer({ min: -1, max: 101 })),
  }),
  fc.record({
    kind: fc.constant('failback' as const),
    site,
    step: fc.constant('return' as const),
    scope: fc.record({ kind: fc.constant('model' as const), name: fc.constant('m') }),
  }),
  fc.record({ kind: fc.constantFrom('cordon' as const, 'uncordon' as const, 'drain' as const), site }),
  fc.record({ kind: fc.constantFrom('freeze' as const, 'unfreeze' as const) }),
  fc.record({
    kind: fc.constant('weights' as const),
    weights: fc.record({ aws: fc.integer({ min: -1, max: 101 }), azure: fc.integer({ min: -1, max: 101 }) }),
  }),
);
const health = fc.constantFrom(allWell, awsDark, azureDark, []);

describe('I7', () => {
  test('no sequence of commands, forced or not, whatever is seen, leaves no site active or an entry that nobody takes', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(command, health, fc.subarray([...ruleNames])), { maxLength: 30 }), (commands) => {
        let control = first;
        const past: ControlEntry[] = [];
        for (const [one, observations, force] of commands) {
          const plan = planCommand(one, situation({ control, past, observations, now: control.at + 60_000 }), force);
          if (plan.impossible !== undefined || plan.changes.length === 0 || plan.objections.length > 0) continue;
          const cause = { at: control.at + 60_000, actor: 'x', reason: 'x', operation: 'x', evidence: [] };
          const next = { ...first, ...draftOf(plan, cause), epoch: control.epoch + 1, previous: '0'.repeat(64) };
          expect(Object.values(next.sites).filter(({ state }) => state === 'active').length).toBeGreaterThan(0);
          assertControl(next, control);
          controlSchema.parse(next);
          past.unshift(control);
          control = next;
        }
      }),
      { numRuns: 500, seed: 20261120 },
    );
  });

  test('the same sequences without the rules do leave none: the property can fail', () => {
    let control = first;
    for (const one of [aws, { kind: 'cordon', site: 'azure' } as const]) {
      const applied = applyCommand(control, one);
      control = entryAfter(control, 'state' in applied ? applied.state : {});
    }
    expect(() => assertControl(control, undefined)).toThrow('no site active');
  });

  test('a command that has happened changes nothing when it is applied again', () => {
    fc.assert(
      fc.property(command, (one) => {
        const applied = applyCommand(first, one);
        if ('impossible' in applied) return;
        const next = entryAfter(first, applied.state);
        const isFirstStep = one.kind === 'failover' && one.mode === 'graceful' && one.scope.kind === 'all';
        const again = applyCommand(next, one);
        if (!isFirstStep && 'state' in again) expect(describeChange(next, again.state)).toEqual([]);
      }),
      { numRuns: 500, seed: 20261120 },
    );
  });
});

describe('commands', () => {
  const stateAfter = (one: ControlCommand, control: ControlEntry = first) => {
    const applied = applyCommand(control, one);
    if ('impossible' in applied) throw new Error(applied.impossible);
    return applied.state;
  };

  test('a forced failover fences by the entry to come, gives the target all weight and forgets moves of the site', () => {
    const moves = [{ scope: 'model' as const, name: 'm', from: 'azure', to: 'aws', since: 1 }];
    const state = stateAfter(failover('aws', 'azure'), entryAfter(first, { moves }));
    expect(state).toMatchObject({
      sites: {
        aws: { state: 'fenced', weight: 0, fencedEpoch: 3 },
        azure: { state: 'active', weight: 100, fencedEpoch: 0 },
      },
      moves: [],
    });
  });

  test('a graceful failover cordons first, and fences when it is sent again', () => {
    const graceful = { ...failover('aws', 'azure'), mode: 'graceful' as const };
    const cordon = stateAfter(graceful);
    expect(cordon.sites.aws).toMatchObject({ state: 'cordoned', fencedEpoch: 0 });
    expect(stateAfter(graceful, entryAfter(first, cordon)).sites.aws).toMatchObject({
      state: 'fenced',
      fencedEpoch: 3,
    });
  });

  test('a returning site keeps the epoch that fenced it, so that its old pointers stay stale', () => {
    const recovers = stateAfter({ kind: 'failback', site: 'aws', step: 'start' }, awsFenced());
    expect(recovers.sites.aws).toMatchObject({ state: 'recovering', weight: 0, fencedEpoch: 2 });
    expect(stateAfter(step(5), entryAfter(awsFenced(), recovers)).sites.aws).toMatchObject({
      state: 'active',
      weight: 5,
      fencedEpoch: 2,
    });
  });

  test.each<[string, ControlCommand, ControlEntry]>([
    ['giving weight to a fenced site', step(5), awsFenced()],
    ['weighing a fenced site', { kind: 'weights', weights: { aws: 5 } }, awsFenced()],
    ['failing back a site that is active', { kind: 'failback', site: 'aws', step: 'start' }, first],
    ['uncordoning a fenced site', { kind: 'uncordon', site: 'aws' }, awsFenced()],
    ['failing over to itself', failover('aws', 'aws'), first],
    ['an unknown site', { kind: 'cordon', site: 'gcp' }, first],
  ])('%s is impossible, and said to be', (_, one, control) => {
    expect(applyCommand(control, one)).toEqual({ impossible: expect.any(String) });
  });

  test('moving one model leaves every site as it is, and moving it again leaves everything', () => {
    const one = { ...failover('aws', 'azure'), scope: { kind: 'model' as const, name: 'm' } };
    const state = stateAfter(one);
    expect(state).toMatchObject({
      sites: first.sites,
      moves: [{ scope: 'model', name: 'm', from: 'aws', to: 'azure', since: 2 }],
    });
    expect(stateAfter(one, entryAfter(first, state)).moves).toEqual(state.moves);
  });
});
