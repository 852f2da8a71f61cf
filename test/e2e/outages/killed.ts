import { expect } from '@jest/globals';
import { type Cloud, gsm8kIds, Outage, other } from './support.ts';

/**
 * Kills a cloud when `share` of a run of the shared example file is answered; the other one has to notice, take over and
 * complete, with nobody's help.
 * @returns what it cost
 */
export async function expectTakeover(victim: Cloud, share: number): Promise<{ rtoMs: number; repeats: number }> {
  const outage = await Outage.begin();
  try {
    const survivor = other(victim);
    await outage.homeIs(victim);
    await outage.slow(700);
    // All chunks of a run of this size are in work at once: they must not all end at once, or nothing is left at 90 %.
    await outage.behave({ latency: { p50Ms: 700, p99Ms: 10_000 } }, { clouds: [victim] });
    const batch = await outage.submit(survivor);
    expect(batch.holdfast).toMatchObject({ home: victim, receipt: 'dual' });
    await outage.untilAnswered(survivor, batch, share);
    const { epoch } = await outage.control();
    const killedAt = Date.now();
    outage.world.kill(victim);
    const status = await outage.untilState(victim, 'fenced', survivor);
    expect(status.sites.find(({ site }) => site === victim)!.causes).toContain('site-dark');
    const ended = await outage.expectComplete(survivor, batch, gsm8kIds);
    const rtoMs = await outage.expectRedriven(survivor, batch, { epoch, at: killedAt });
    const repeats = ended.holdfast.repeats!;
    console.log(`${victim} killed at ${share * 100} %: first redriven result after ${rtoMs} ms, ${repeats} repeats`);
    const last = (await outage.log()).at(-1)!;
    expect(last.actor).toMatch(/^monitor\//);
    return { rtoMs, repeats };
  } finally {
    await outage.stop();
  }
}
