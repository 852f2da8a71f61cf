import { describe, expect, test } from '@jest/globals';
import type { Cause } from '../../../shared/health/types.ts';
import { type Fault, lastingMs, withOutage } from './faults.ts';
import { gsm8k, other, patienceMs, victims } from './support.ts';

const siteFaults: { name: string; faults: Fault[]; cause: Cause }[] = [
  { name: 'store refuses', faults: [{ service: 'store', kind: 'refuse' }], cause: 'store-down' },
  { name: 'store is read-only', faults: [{ service: 'store', kind: 'readonly' }], cause: 'store-read-only' },
  { name: 'queue is a black hole', faults: [{ service: 'queue', kind: 'blackhole' }], cause: 'queue-stuck' },
  { name: 'functions are stopped', faults: [{ service: 'functions', kind: 'refuse' }], cause: 'trigger-detached' },
  {
    name: 'credentials are expired',
    faults: [
      { service: 'store', kind: 'expired-credentials' },
      { service: 'queue', kind: 'expired-credentials' },
    ],
    cause: 'credentials-expired',
  },
];

describe.each(victims)('%s: one service alone', (victim) => {
  const survivor = other(victim);

  test.each(siteFaults)(
    '$name: named $cause, and the site is failed over',
    ({ faults: orders, cause }) =>
      withOutage(async (outage, faults) => {
        const batch = await outage.underWay(victim, 0.3);
        // What is in work when the fault comes must not be all that is left.
        await outage.behave({ latency: { ms: 20_000 } }, { clouds: [victim] });
        const { epoch } = await outage.control();
        const at = Date.now();
        for (const order of orders) await faults.inject({ ...order, site: victim, ttlMs: lastingMs });
        await outage.untilState(victim, 'fenced', survivor);
        const last = (await outage.log()).findLast(({ changes }) => changes.some((one) => one.includes('→ fenced')))!;
        expect(last.reason).toContain(`${victim} is down (`);
        expect(last.reason).toContain(cause);
        const ended = await outage.expectComplete(survivor, batch);
        const { repeats, answered_by } = ended.holdfast;
        // Workers whose own store refuses write to the other one, and may have done all of it before they are fenced.
        const isAllOfVictim = answered_by[survivor] === undefined;
        const rtoMs = isAllOfVictim ? 0 : await outage.expectRedriven(survivor, batch, { epoch, at });
        console.log(`${victim}, ${cause}: ${last.reason}; first redriven result after ${rtoMs} ms, ${repeats} repeats`);
        expect(await outage.deadLetters().catch(() => 0)).toBe(0);
      }),
    900_000,
  );

  test.each([
    { name: 'throttles for ever', order: { service: 'model', kind: 'throttle' } as Fault, cause: 'model-throttled' },
    { name: 'hangs', order: { service: 'model', kind: 'hang' } as Fault, cause: 'model-down' },
  ])(
    'model $name: named $cause, its chunks move, the site and the other models stay',
    ({ order, cause }) =>
      withOutage(async (outage, faults) => {
        const batch = await outage.underWay(victim, 0.2);
        const { epoch } = await outage.control();
        const at = Date.now();
        await faults.inject({ ...order, model: gsm8k, site: victim, ttlMs: lastingMs });
        const moved = await outage.untilStatus(`${gsm8k} is moved`, ({ moves }) => moves.length > 0, { by: survivor });
        expect(moved.moves[0]).toContain(`model ${gsm8k}: ${victim} → ${survivor}`);
        expect(moved.sites.find(({ site }) => site === victim)).toMatchObject({ state: 'active' });
        expect(moved.sites.find(({ site }) => site === victim)!.causes).toContain(cause);
        const untouched = await outage.submitGenerated(survivor, 20, 'untouched');
        const stayed = await outage.expectComplete(survivor, untouched.batch, untouched.ids);
        const fenced = (await outage.log()).filter(({ changes }) => changes.some((one) => one.includes('→ fenced')));
        expect(fenced.map(({ reason, evidence }) => ({ reason, evidence }))).toEqual([]);
        expect(stayed.holdfast.answered_by).toEqual({ [victim]: 20 });
        await outage.expectComplete(survivor, batch);
        const rtoMs = await outage.expectRedriven(survivor, batch, { epoch, at });
        console.log(`${victim}, ${cause}: first result of the other cloud after ${rtoMs} ms`);
        expect((await outage.control()).sites[victim]!.state).toBe('active');
        // When it is well again, it works at home again.
        await faults.clear();
        await outage.untilStatus(`${gsm8k} has returned`, ({ moves }) => moves.length === 0, { ms: 2 * patienceMs });
      }),
    900_000,
  );
});
