import { describe, expect, test } from '@jest/globals';
import type { OpenBatchLook } from '../../../shared/control/open-batches.ts';
import { type StatusInput, statusPage } from '../../../shared/control/status.ts';
import { causes } from '../../../shared/health/types.ts';
import {
  allWell,
  awsDark,
  awsFenced,
  azureDark,
  entryAfter,
  first,
  now,
  type Observer,
  policy,
  type Says,
  seen,
  well,
} from './support.ts';

const look = (batch: string, more: Partial<OpenBatchLook> = {}): OpenBatchLook => ({
  tenant: 'acme',
  batch,
  model: 'm',
  owner: 'aws',
  lines: 100,
  answered: 0,
  tokens: 1_000,
  deadline: now + 3_600_000,
  receipt: 'dual',
  ...more,
});
const page = (more: Partial<StatusInput> = {}) =>
  statusPage({ control: first, observations: allWell, open: { batches: [], unread: 0 }, policy, now, ...more });
const everybodySays = (aws: Says) => {
  const says: Observer = { aws, azure: 'healthy' };
  return seen({ aws: says, azure: says, third: says });
};
const typed = (more: Partial<StatusInput>) => page(more).type.map(({ command }) => command);

describe('whose fault it is', () => {
  test.each<[Says, string]>([
    [['down', ['site-dark']], 'them'],
    [['down', ['store-read-only']], 'them'],
    [['degraded', ['model-throttled'], ['m']], 'them'],
    [['down', ['trigger-detached']], 'us'],
    [['down', ['credentials-expired']], 'us'],
    [['degraded', ['link-cut']], 'link'],
    [['down', ['common-cause', 'store-down']], 'everybody'],
    ['unknown', 'unknown'],
    ['healthy', 'nobody'],
  ])('%j: %s', (says, blame) => {
    expect(page({ observations: everybodySays(says) }).blame).toBe(blame);
  });

  test("every cause is somebody's", () => {
    for (const cause of causes)
      expect(page({ observations: everybodySays(['down', [cause]]) }).headline).toMatch(/^(It is|Nobody)/);
  });

  test('the page says since when, on what evidence, and who says so', () => {
    expect(page({ observations: awsDark })).toMatchObject({
      since: '2026-01-01T23:59:00Z',
      evidence: expect.arrayContaining(['azure: aws looks down', 'the observer in aws is silent in every store']),
      sites: [
        { site: 'aws', health: 'down', accusers: ['aws', 'azure', 'third'] },
        { site: 'azure', health: 'healthy' },
      ],
      runbooks: ['site-dark'],
    });
  });
});

describe('what happens, and what to type', () => {
  test('where the machine is about to act, the page says what and within what time', () => {
    const told = page({ observations: awsDark, policy: { ...policy, isActing: false } });
    expect(told.byItself[0]).toMatch(/^Nothing: monitors only recommend here .* aws is down/);
    expect(told.otherwise).not.toContain('by itself');
    const { byItself, otherwise } = page({ observations: awsDark });
    expect(byItself[0]).toMatch(/^Within a tick or two \(10 s each\): aws is down/);
    expect(otherwise).toMatch(/^Holdfast does it by itself/);
  });

  test('without a witness it says that nothing moves, which rule blocks it, and gives the command', () => {
    const observations = awsDark.map((one) => ({ ...one, stores: ['azure'] }));
    const shown = page({
      observations: [
        ...observations,
        ...seen({ fourth: { aws: ['down', ['site-dark']], azure: 'healthy', stores: ['azure'] } }),
      ],
    });
    expect(shown.witness).toBe('silent');
    expect(shown.byItself[0]).toContain('witness-present');
    expect(shown.type[0]!.command).toBe('holdfast failover --from aws --to azure --reason "…" --dry-run');
    expect(shown.type[0]!.why).toContain('--force no-witness');
    expect(shown.otherwise).toContain('stands still');
  });

  test('without a witness the one cloud that is left, which accuses alone, is told how to move all the same', () => {
    const observations = awsDark
      .filter(({ observation }) => observation.home !== null)
      .map((one) => ({ ...one, stores: ['azure'] }));
    const shown = page({ observations });
    expect(shown.byItself[0]).toContain('two of three are needed');
    expect(shown.type[0]!.why).toContain('--force no-witness');
  });

  test('a fenced site that is well is offered its return, by machine or by hand, as who fenced it says', () => {
    const automatic = { control: awsFenced(), past: [first] };
    expect(page(automatic).byItself[0]).toContain('it starts to recover');
    const manual = { control: awsFenced('operator:x'), past: [first] };
    expect(page(manual).byItself.join(' ')).toContain('stays fenced until somebody starts its return');
    expect(typed(manual)).toContain('holdfast failback aws --reason "…"');
  });

  test('a lone survivor that is dark is no dead end: the command with its rule is there', () => {
    const control = awsFenced();
    expect(typed({ control, past: [first], observations: azureDark })).toContain(
      'holdfast failover --from azure --to aws --force no-solo-flip --reason "…"',
    );
  });

  test('a store that was replaced and does not vote yet is told', () => {
    const voters = first.voters.map((voter) => (voter.store === 'aws' ? { ...voter, joining: true } : voter));
    expect(page().byItself.join(' ')).not.toContain('votes again');
    expect(page({ control: entryAfter(first, { voters }) }).byItself.join(' ')).toContain(
      'The store of aws was replaced: it votes again once it holds every register',
    );
  });

  test('frozen control is named first, and how to end it', () => {
    expect(typed({ control: entryAfter(first, { frozen: true }), observations: awsDark })[0]).toContain('unfreeze');
  });
});

describe('batches', () => {
  const withPace = (answeredOfLate: number) => {
    const backlog = [{ site: 'aws', model: 'm', openLines: 300, oldestMs: 1, answeredOfLate }];
    return seen({ aws: { ...well, backlog }, azure: well, third: well });
  };

  test('come in the order in which they miss their window, those of a dark site first', () => {
    const batches = [
      look('batch_late', { owner: 'azure', deadline: now + 1_000_000 }),
      look('batch_dark', { deadline: now + 2_000_000 }),
    ];
    const shown = page({ observations: awsDark, open: { batches, unread: 3 } });
    expect(shown.batches.map(({ batch, misses }) => [batch, misses])).toEqual([
      ['batch_dark', true],
      ['batch_late', false],
    ]);
    expect(shown).toMatchObject({ unread: 3, otherwise: expect.stringContaining('One batch misses') });
  });

  test('at a site that is too slow are told by the pace that was seen, the ones before them counted', () => {
    const batches = [look('batch_a', { deadline: now + 100_000 }), look('batch_b', { deadline: now + 150_000 })];
    // 10 lines a tick of 10 s: 100 lines take 100 s, the second hundred until 200 s.
    expect(page({ observations: withPace(10), open: { batches, unread: 0 } }).batches).toMatchObject([
      { batch: 'batch_b', misses: true, doneAt: '2026-01-02T00:03:20Z' },
      { batch: 'batch_a', misses: false, doneAt: '2026-01-02T00:01:40Z' },
    ]);
  });

  test('of which nothing is known are said to be unknown', () => {
    expect(page({ open: undefined })).toMatchObject({ batches: [], unread: null });
  });
});

describe('backends that are held off', () => {
  const note = (site: string, state: 'open' | 'closed' = 'open') => ({
    site,
    backend: 'vendor',
    model: 'm-1',
    state,
    since: now - 5_000,
    until: now + 2_000,
    cause: 'backend' as const,
    reason: 'status 500',
    at: now,
  });
  const told = (stale = false) =>
    seen({ aws: { ...well, stale }, azure: well }).map((one) => ({
      ...one,
      // An observer speaks for the workers of its own site, and of no other.
      observation: { ...one.observation, breakers: [note('aws')] },
    }));

  test('are on the page: since when, until when, and why, once, by the word of their own site', () => {
    expect(page({ observations: told() }).breakers).toEqual([
      {
        site: 'aws',
        backend: 'vendor',
        model: 'm-1',
        state: 'open',
        since: '2026-01-01T23:59:55Z',
        until: '2026-01-02T00:00:02Z',
        cause: 'backend',
        reason: 'status 500',
        concurrency: null,
      },
    ]);
  });

  test.each([
    ['before its pause is over, open', { state: 'open', until: now + 1 }, 'open'],
    ['when it is over, half open: the next call is a probe', { state: 'open', until: now }, 'halfOpen'],
    ['served again lately, ramping', { state: 'closed', until: now + 1 }, 'ramping'],
    ['served again for longer, closed', { state: 'closed', until: now }, 'closed'],
  ] as const)('%s', (_, told, state) => {
    const breakers = [{ ...note('aws'), ...told, concurrency: 24 }];
    const observations = seen({ aws: well, azure: well }).map((one) => ({
      ...one,
      observation: { ...one.observation, breakers },
    }));
    expect(page({ observations }).breakers).toMatchObject([{ state, concurrency: 24 }]);
  });

  test('are not believed of an observer that is silent', () => {
    expect(page({ observations: told(true) }).breakers).toEqual([]);
  });
});
