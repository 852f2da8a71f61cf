import { describe, expect, test } from '@jest/globals';
import { decide } from '../../../shared/control/decide.ts';
import type { Cause, Health } from '../../../shared/health/types.ts';
import type { ControlEntry } from '../../../shared/journal/facts.ts';
import {
  allWell,
  awsDark,
  awsFenced,
  azureDark,
  dark,
  entryAfter,
  first,
  now,
  type Observer,
  policy,
  seen,
  well,
} from './support.ts';

const azureFine: Observer = { azure: 'healthy' };
const sees = (aws: Observer['aws']): Observer => ({ ...azureFine, aws });
const decided = (observations: ReturnType<typeof seen>, control: ControlEntry = first, past: ControlEntry[] = []) =>
  decide(observations, control, policy, now, { past });
const kindOf = (decision: ReturnType<typeof decide>) =>
  decision.kind === 'none' ? 'none' : `${decision.command.kind} ${decision.reason.split(' ')[0]}`;

describe('failover by itself', () => {
  test('two of three observers that hold a site dark move it to the other one', () => {
    const decision = decided(awsDark);
    expect(decision).toMatchObject({
      kind: 'change',
      command: { kind: 'failover', from: 'aws', to: 'azure', scope: { kind: 'all' }, mode: 'forced' },
      draft: {
        forced: [],
        sites: { aws: { state: 'fenced', weight: 0, fencedEpoch: 2 }, azure: { state: 'active', weight: 100 } },
      },
    });
    expect(decision.evidence).toContain('third: aws looks down');
  });

  const causes: [Cause, boolean][] = [
    ['site-dark', true],
    ['store-down', true],
    ['store-read-only', true],
    ['queue-stuck', true],
    ['trigger-detached', true],
    ['credentials-expired', true],
    ['model-down', false],
    ['model-throttled', false],
    ['api-down', false],
    ['link-cut', false],
    ['common-cause', false],
    ['observer-sick', false],
  ];
  test.each(causes)('a site down for %s alone moves: %s', (cause, moves) => {
    const says = sees(['down', [cause]]);
    expect(decided(seen({ aws: says, azure: says, third: says })).kind).toBe(moves ? 'change' : 'none');
  });

  // F41: every API is green, and the site's own observer is among those who say that nothing comes out of the queue.
  test('F41: a detached trigger moves the site, on the word of its own observer and one more', () => {
    const detached = sees(['down', ['trigger-detached']]);
    expect(kindOf(decided(seen({ aws: detached, azure: detached, third: well })))).toBe('failover aws');
  });

  const split: [string, Record<string, Observer>, Health | 'moves'][] = [
    ['one accuser, two who see it well', { aws: well, azure: sees(dark), third: well }, 'healthy'],
    [
      'one accuser, one who cannot tell',
      { aws: well, azure: sees(dark), third: { ...azureFine, aws: 'unknown' } },
      'unknown',
    ],
    ['one accuser alone, nobody silent', { aws: { ...well, trustsItself: false }, azure: sees(dark) }, 'unknown'],
    [
      'an accuser, and a second one that distrusts itself',
      { aws: well, azure: sees(dark), third: { ...sees(dark), trustsItself: false } },
      'healthy',
    ],
    [
      'an accuser, and a second one that fell silent',
      { aws: well, azure: sees(dark), third: { ...sees(dark), stale: true } },
      'healthy',
    ],
    [
      'an accuser, and the accused silent in every store',
      { aws: { ...well, stale: true }, azure: sees(dark) },
      'moves',
    ],
    [
      'an accuser, and the accused silent where the witness was not heard',
      { aws: { ...well, stale: true, stores: ['azure'] }, azure: { ...sees(dark), stores: ['azure'] } },
      'unknown',
    ],
    ['an accuser for a whole window, and nobody ever heard the accused', { azure: sees(dark) }, 'moves'],
    [
      'an accuser for a moment, and nobody ever heard the accused',
      { azure: { ...sees(dark), since: now - 5_000 } },
      'unknown',
    ],
    ['silence alone, all others see it well', { aws: { ...well, stale: true }, azure: well, third: well }, 'healthy'],
    [
      'the accused accuses itself, and one agrees',
      { aws: sees(['down', ['credentials-expired']]), azure: sees(dark), third: well },
      'moves',
    ],
    [
      'two observers in one place',
      { aws: well, azure: sees(dark), azure2: { ...sees(dark), home: 'azure' } },
      'healthy',
    ],
  ];
  test.each(split)('%s', (_, observers, outcome) => {
    expect(decided(seen(observers)).kind).toBe(outcome === 'moves' ? 'change' : 'none');
  });

  // F42, as one side sees it: A's observer has the word of B's own observer through the witness, and says `link-cut`.
  test('F42: a link cut one way, named as such by the side that sees the other dark, moves nothing', () => {
    const cut: Observer['aws'] = ['degraded', ['link-cut']];
    expect(decided(seen({ aws: well, azure: sees(cut), third: well })).kind).toBe('none');
    expect(decided(seen({ aws: { aws: 'healthy', azure: cut }, azure: sees(cut), third: well })).kind).toBe('none');
  });

  test('F43: an observer that is slow itself, and to which everybody looks dead, moves nothing', () => {
    const sick: Observer = {
      aws: ['unknown', ['observer-sick']],
      azure: ['unknown', ['observer-sick']],
      trustsItself: false,
    };
    expect(decided(seen({ aws: sick, azure: well, third: well })).kind).toBe('none');
    // Even if it believed itself, it would be one of three.
    expect(decided(seen({ aws: { aws: dark, azure: dark }, azure: well, third: well })).kind).toBe('none');
  });

  test('F44: a model vendor down behind both clouds moves neither a site nor the model, ever', () => {
    const both: Observer = {
      aws: ['degraded', ['common-cause', 'model-down'], ['m']],
      azure: ['degraded', ['common-cause', 'model-down'], ['m']],
    };
    const unnamed: Observer = { aws: ['degraded', ['model-down'], ['m']], azure: ['degraded', ['model-down'], ['m']] };
    for (const says of [both, unnamed])
      expect(decided(seen({ aws: says, azure: says, third: says })).kind).toBe('none');
  });

  test('F45: no word at all, and words that say nothing, are neither health nor death', () => {
    const silentWorld = decided([]);
    expect(silentWorld).toMatchObject({ kind: 'none', reason: 'no observer is heard: nothing is known of any site' });
    const unknown: Observer = { aws: 'unknown', azure: 'unknown' };
    expect(decided(seen({ aws: unknown, azure: unknown, third: unknown })).kind).toBe('none');
    // Nor does a site that nobody can judge take over from one that is dark.
    const half: Observer = { aws: dark, azure: 'unknown' };
    expect(decided(seen({ aws: { ...well, stale: true }, azure: half, third: half }))).toMatchObject({
      kind: 'none',
      reason: expect.stringContaining('target-healthy'),
    });
  });

  test('F46: a second failover within the minimum interval is refused, whatever the observers say', () => {
    const back = entryAfter(awsFenced('monitor/azure', now - 60_000), {
      at: now - 30_000,
      actor: 'operator:x',
      sites: { aws: { ...first.sites.aws!, fencedEpoch: 2 }, azure: first.sites.azure! },
    });
    const past = [awsFenced('monitor/azure', now - 60_000), first];
    expect(decided(awsDark, back, past)).toMatchObject({
      kind: 'none',
      reason: expect.stringContaining('minimum-interval'),
    });
    expect(decided(awsDark, { ...back, at: now - 130_000 }, past).kind).toBe('change');
  });

  test('the same fault on both sides moves nothing', () => {
    const both: Observer = { aws: dark, azure: dark };
    expect(
      decided(seen({ aws: { ...well, stale: true }, azure: { ...well, stale: true }, third: both, fourth: both })).kind,
    ).toBe('none');
  });

  test.each([
    ['no witness is configured', { ...policy, hasWitness: false }, awsDark],
    ['the witness answers nobody', policy, awsDark.map((one) => ({ ...one, stores: ['azure'] }))],
  ])('%s: nothing moves by itself, and the reason says so', (why, withPolicy, observations) => {
    const decision = decide(observations, first, withPolicy, now);
    expect(decision).toMatchObject({ kind: 'none', reason: expect.stringContaining(why) });
  });

  test('frozen control moves nothing', () => {
    expect(decided(awsDark, { ...first, frozen: true })).toMatchObject({
      kind: 'none',
      reason: expect.stringContaining('not-frozen'),
    });
  });

  test('a site that is fenced already is not failed over again', () => {
    expect(decided(awsDark, awsFenced(), [first]).kind).toBe('none');
  });

  test('a site that falls again while it recovers is put out again at once', () => {
    const control = awsFenced('monitor/azure', now - 10_000, 'recovering');
    const decision = decided(awsDark, control, [first]);
    expect(decision).toMatchObject({
      kind: 'change',
      draft: { sites: { aws: { state: 'fenced', fencedEpoch: 2 + 1 } } },
    });
  });

  test('F37: a lone survivor that goes dark does not hand over to a site without its facts', () => {
    const control = awsFenced();
    expect(decided(azureDark, control, [first])).toMatchObject({
      kind: 'none',
      reason: expect.stringContaining('no-solo-flip'),
    });
  });

  test('a survivor that went dark before anybody knew it was alone hands over, since nothing else can be done', () => {
    const control = awsFenced();
    const decision = decide(azureDark, control, policy, now, { past: [first], surprised: new Set(['aws']) });
    expect(decision).toMatchObject({ kind: 'change', command: { from: 'azure', to: 'aws' } });
  });
});

describe('who decides does not matter', () => {
  test('two observers that decide on the same entry at other moments give one operation', () => {
    const [a, b] = [
      decide(awsDark, first, policy, now, { actor: 'monitor/azure' }),
      decide(
        seen({ aws: { ...well, stale: true }, azure: sees(['down', ['store-down']]), third: sees(dark) }),
        first,
        policy,
        now + 900,
        { actor: 'monitor/third' },
      ),
    ];
    expect(a.kind === 'change' && b.kind === 'change' && a.operation === b.operation).toBe(true);
  });

  test('the same cause under another epoch is another operation', () => {
    const [a, b] = [decided(awsDark), decided(awsDark, entryAfter(first, { operation: 'x' }), [first])];
    expect(a.kind === 'change' && b.kind === 'change' && a.operation !== b.operation).toBe(true);
  });

  test('the same inputs give the same decision, to the byte', () => {
    expect(JSON.stringify(decided(awsDark))).toBe(JSON.stringify(decided(structuredClone(awsDark))));
  });
});

describe('spillover', () => {
  const throttled: Observer['aws'] = ['degraded', ['model-throttled'], ['m']];
  const moved = entryAfter(first, {
    at: now - 600_000,
    actor: 'monitor/aws',
    moves: [{ scope: 'model', name: 'm', from: 'aws', to: 'azure', since: 2 }],
  });

  const refused: Observer = { ...sees(throttled), looks: { m: 'failed' } };
  const answered: Observer = { ...well, looks: { m: 'ok' } };

  test('a model throttled in one cloud, by the word of its own observer, moves alone: the sites stay as they are', () => {
    expect(decided(seen({ aws: refused, azure: answered, third: well }))).toMatchObject({
      kind: 'change',
      draft: { sites: first.sites, moves: [{ scope: 'model', name: 'm', from: 'aws', to: 'azure', since: 2 }] },
    });
  });

  test.each([
    [
      'the other cloud does not serve it',
      ['degraded', ['model-down'], ['only-aws']] as Observer['aws'],
      'healthy' as const,
    ],
    ['it is down in the other cloud, too', throttled, ['degraded', ['model-down'], ['m']] as Observer['azure']],
    ['nobody can judge the other cloud', throttled, 'unknown' as const],
  ])('does not happen where %s', (_, aws, azure) => {
    const says: Observer = { aws, azure: azure! };
    const observers = {
      aws: { ...says, looks: { m: 'failed', 'only-aws': 'failed' } as const },
      azure: { ...says, looks: { m: 'ok', 'only-aws': 'ok' } as const },
      third: says,
    };
    expect(decided(seen(observers)).kind).toBe('none');
  });

  test('does not happen on the word of outsiders', () => {
    const outsider = sees(throttled);
    expect(
      decided(seen({ aws: { ...well, looks: { m: 'failed' } }, azure: { ...outsider, ...answered }, third: outsider }))
        .kind,
    ).toBe('none');
  });

  test.each<[string, Observer]>([
    ['nobody looked', well],
    ['only another model answered', { ...well, looks: { e: 'ok' } }],
    ['it did not answer', { ...well, looks: { m: 'failed' } }],
    ['it answered before it was ill here', { ...answered, at: now - 61_000 }],
    ['who saw it answer has gone silent', { ...answered, stale: true }],
    ['who saw it answer doubts itself', { ...answered, trustsItself: false }],
  ])('F44: does not happen where it is not accused in the other cloud, and %s', (_, azure) => {
    expect(decided(seen({ aws: refused, azure, third: well })).kind).toBe('none');
  });

  test('F44: is the business of the monitor that lives there, and not of one that hears sooner that a vendor is back', () => {
    const by = (actor: string, aws = refused) =>
      decide(seen({ aws, azure: answered, third: well }), first, policy, now, { actor }).kind;
    expect(by('monitor/aws')).toBe('change');
    expect(by('monitor/azure')).toBe('none');
    // It is held ill for a while yet, and its last look was answered, or there was none.
    expect(by('monitor/aws', { ...refused, looks: { m: 'ok' } })).toBe('none');
    expect(by('monitor/aws', { ...refused, looks: {} })).toBe('none');
  });

  test('a model that is well at home again returns', () => {
    const decision = decided(allWell, moved, [first]);
    expect(decision).toMatchObject({
      kind: 'change',
      command: { kind: 'failback', step: 'return' },
      draft: { moves: [] },
    });
  });

  test.each([
    ['it was moved by a person', { ...moved, actor: 'operator:x' }, allWell],
    ['somebody still sees it throttled', moved, seen({ aws: well, azure: sees(throttled), third: well })],
    ['it was moved a moment ago', { ...moved, at: now - 10_000 }, allWell],
    ['its home does not speak', moved, seen({ azure: well, third: well })],
  ])('does not return where %s', (_, control, observations) => {
    expect(decided(observations, control, [first]).kind).toBe('none');
  });

  test('a model that dies where it was moved to is not sent round', () => {
    const dead: Observer['azure'] = ['degraded', ['model-down'], ['m']];
    const says: Observer = { aws: throttled, azure: dead };
    expect(decided(seen({ aws: says, azure: says, third: says }), moved, [first]).kind).toBe('none');
  });
});

describe('failback by itself', () => {
  test('a site that a machine failed over, and all hold well, starts to recover and nothing more', () => {
    const decision = decided(allWell, awsFenced(), [first]);
    expect(decision).toMatchObject({
      kind: 'change',
      command: { kind: 'failback', site: 'aws', step: 'start' },
      draft: { sites: { aws: { state: 'recovering', weight: 0 }, azure: { state: 'active', weight: 100 } } },
    });
  });

  test.each([
    ['a person failed it over', awsFenced('operator:x'), allWell],
    [
      'its hold-down is not over',
      awsFenced(),
      seen({ aws: { ...well, holdUntil: now + 1 }, azure: well, third: well }),
    ],
    [
      'one observer does not agree',
      awsFenced(),
      seen({ aws: well, azure: sees(['degraded', ['api-down']]), third: well }),
    ],
    ['only one observer is heard', awsFenced(), seen({ azure: well })],
    ['it recovers already', awsFenced('monitor/azure', now - 600_000, 'recovering'), allWell],
  ])('does not begin where %s', (_, control, observations) => {
    expect(decided(observations, control, [first]).kind).toBe('none');
  });

  test('does not begin where policy says so', () => {
    const decision = decide(allWell, awsFenced(), { ...policy, automaticFailback: false }, now, { past: [first] });
    expect(decision.kind).toBe('none');
  });
});
