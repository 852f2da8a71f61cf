import { describe, expect, test } from '@jest/globals';
import type { Cause, Health, Verdict } from '../../../shared/health/types.ts';
import { Eye, type Ills, wordOf } from './support.ts';

/**
 * The outages of the providers' own reports, as what a third place would see of the cloud that had them, under the
 * profile `balanced`. Offsets are minutes; long spells are cut short, since judging has no memory beyond an hour.
 */
interface Spell {
  minutes: number;
  ills: (tick: number) => Ills;
  /** What the verdict is at the end of the spell. */
  health: Health;
  causes?: Cause[];
}

const well = (): Ills => ({});

const outages: [string, Spell[]][] = [
  [
    'aws-2025-10-19-dynamodb-dns: the store goes, comes back before anybody polls, and is not healthy then; later flapping moves nothing again',
    [
      {
        minutes: 30,
        ills: () => ({ 'store.read': 'dns', 'store.write': 'dns', 'progress m': 'stalled', canary: 'overdue' }),
        health: 'down',
        causes: ['store-down', 'trigger-detached'],
      },
      {
        minutes: 60,
        ills: () => ({ 'progress m': 'stalled', canary: 'overdue' }),
        health: 'down',
        causes: ['trigger-detached'],
      },
      {
        minutes: 30,
        ills: (tick) =>
          tick % 2 === 0 ? { api: 'server_error', 'progress m': 'ok' } : { 'progress m': 'ok', canary: 'ok' },
        health: 'degraded',
      },
    ],
  ],
  [
    'aws-2021-12-07-internal-network: the front door errs, the data plane goes on: degraded, and no failover of work',
    [
      {
        minutes: 30,
        ills: () => ({ api: 'server_error', 'progress m': 'ok' }),
        health: 'degraded',
        causes: ['api-down'],
      },
    ],
  ],
  [
    'aws-2020-11-25-kinesis: metrics say nothing: unknown, not healthy',
    [{ minutes: 20, ills: () => ({ '*': null, credentials: null }), health: 'unknown', causes: [] }],
  ],
  [
    'aws-2017-02-28-s3: reads return 36 minutes before writes, and are not believed',
    [
      {
        minutes: 60,
        ills: () => ({ 'store.read': 'server_error', 'store.write': 'server_error' }),
        health: 'down',
        causes: ['store-down'],
      },
      { minutes: 36, ills: () => ({ 'store.write': 'server_error' }), health: 'down', causes: ['store-read-only'] },
      { minutes: 60, ills: well, health: 'healthy' },
    ],
  ],
  [
    'aws-2026-03-01-physical-loss: store and queue gone, for good',
    [{ minutes: 120, ills: () => ({ '*': 'refused' }), health: 'down', causes: ['site-dark'] }],
  ],
  [
    'azure-2025-10-29-front-door: only ingress is partial: never down',
    [{ minutes: 60, ills: (tick) => (tick % 2 === 0 ? { api: 'connection_lost' } : {}), health: 'healthy' }],
  ],
  [
    'azure-2021-03-15-signing-key: tokens do not validate: credentials, named, and not the jobs’ fault',
    [
      {
        minutes: 60,
        ills: () => ({
          'store.read': 'credentials',
          'store.write': 'credentials',
          queue: 'credentials',
          credentials: 'credentials',
        }),
        health: 'down',
        causes: ['credentials-expired', 'store-down', 'queue-stuck'],
      },
    ],
  ],
  [
    'azure-2018-09-04-south-central: most calls of store and queue fail',
    [
      {
        minutes: 60,
        ills: () => ({ 'store.read': 'server_error', 'store.write': 'server_error', queue: 'server_error' }),
        health: 'down',
        causes: ['store-down', 'queue-stuck'],
      },
    ],
  ],
  [
    'azure-servicebus-2018-10-08: a tenth of the calls time out, retries succeed: nothing flaps',
    [{ minutes: 120, ills: (tick) => (tick % 10 === 3 ? { 'queue work': 'timeout' } : {}), health: 'healthy' }],
  ],
  [
    'azure-openai-2026-03-09-http400: one model answers 400 and 429 for hours: degraded, by its name',
    [
      {
        minutes: 60,
        ills: () => ({ 'model gpt': 'rejected', 'progress m': 'ok' }),
        health: 'degraded',
        causes: ['model-down'],
      },
    ],
  ],
  [
    'azure-2025-11-05-west-europe-thermal: three calls in ten fail, spread out: watched, not down',
    [
      {
        minutes: 60,
        ills: (tick) => (tick % 10 < 3 && tick % 2 === 0 ? { 'store.write': 'server_error' } : {}),
        health: 'healthy',
      },
    ],
  ],
];

describe('each outage that was, as the verdict it should have had', () => {
  test.each(outages)('%s', (_, spells) => {
    const eye = new Eye(null).well();
    for (const { minutes, ills, health, causes } of spells) {
      eye.look(minutes * 6, (tick) => ({ aws: ills(tick) }));
      expect(eye.of('aws')).toMatchObject({ health, ...(causes !== undefined && { causes }) });
      expect(eye.of('azure')).toMatchObject({ health: 'healthy' });
    }
    expect(eye.falls('aws')).toBeLessThanOrEqual(1);
  });

  test('openai-2024-12-11: the vendor behind both clouds: a common cause, by its name, from the first accusation on', () => {
    const eye = new Eye(null).well();
    const bad = { 'model m': 'server_error' };
    for (let tick = 0; tick < 30; tick++)
      eye.look(1, () => ({ aws: tick >= 1 ? bad : {}, azure: tick >= 3 ? bad : {} }));
    for (const site of ['aws', 'azure'])
      expect(eye.of(site)).toMatchObject({ health: 'degraded', causes: ['common-cause', 'model-down'] });
    expect(eye.history.filter(({ health }: Verdict) => health === 'down')).toEqual([]);
  });

  test('azure-2026-02-02-identity-after-recovery: a second outage out of the recovery of the first finds the site still held', () => {
    const eye = new Eye(null).well();
    const none = { 'store.read': 'credentials', 'store.write': 'credentials', credentials: 'credentials' };
    eye
      .look(30, () => ({ aws: { '*': 'server_error' } }))
      .well(20)
      .look(30, () => ({ aws: none }));
    expect(eye.falls('aws')).toBe(1);
    expect(eye.of('aws').causes).toContain('credentials-expired');
  });

  test('azure-dns-2021-04-01: half of the calls fail, then all are slow and answer: never down', () => {
    const eye = new Eye(null).well().look(39 * 6, (tick) => ({ aws: tick % 2 === 0 ? { '*': 'dns' } : {} }));
    expect(eye.falls('aws')).toBe(0);
  });

  test('composite-split-brain-operator-race: cut both ways, both well through the witness: link-cut on both sides, nobody down', () => {
    for (const [home, peer] of [
      ['aws', 'azure'],
      ['azure', 'aws'],
    ] as const) {
      const eye = new Eye(home)
        .well()
        .look(540, () => ({ [peer]: { '*': 'timeout' } }), [
          wordOf(peer, { health: 'degraded', causes: ['link-cut'] }),
        ]);
      expect(eye.of(peer)).toMatchObject({ health: 'degraded', causes: ['link-cut'] });
      expect(eye.falls(peer)).toBe(0);
    }
  });
});
