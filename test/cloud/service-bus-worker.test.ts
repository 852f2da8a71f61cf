import { describe, expect, test } from '@jest/globals';
import { holdOf, serviceBusDelivery } from '../../functions-azure/handlers/deliveries.ts';
import type { Settlement } from '../../shared/ports/delivery.ts';

/** One invocation as the host calls it; gives what was sent, and how the invocation ended. */
async function invoke(message: unknown, settlements: Settlement[], triggerMetadata: Record<string, unknown> = {}) {
  const copies: unknown[] = [];
  const { delivery, conclude } = serviceBusDelivery(
    message,
    { triggerMetadata: { messageId: 'a', deliveryCount: 1, ...triggerMetadata } },
    async (...copy) => {
      copies.push(copy);
    },
    async () => {},
  );
  for (const settlement of settlements) await delivery.settle(settlement);
  const ending = await conclude().then(
    () => 'completed by the host',
    (error: Error) => `abandoned by the host: ${error.message}`,
  );
  return { delivery, copies, ending };
}

describe('the message of one Functions invocation', () => {
  test.each<[string, Settlement[], string]>([
    ['complete', [{ kind: 'complete' }], 'completed by the host'],
    [
      'deadLetter',
      [{ kind: 'deadLetter', reason: 'unreadable', description: 'not JSON' }],
      'abandoned by the host: unreadable: not JSON',
    ],
    ['nothing', [], 'abandoned by the host: the message was not settled'],
    [
      'complete, then something else',
      [{ kind: 'complete' }, { kind: 'giveBack', delayMs: 1 }],
      'completed by the host',
    ],
  ])('settled with %s: %3$s', async (_, settlements, ending) => {
    expect(await invoke('x', settlements)).toMatchObject({ copies: [], ending });
  });

  test('F11: given back, a copy comes after the delay and remembers every delivery', async () => {
    const settlement: Settlement = { kind: 'giveBack', delayMs: 30_000 };
    expect(
      await invoke('x', [settlement], { deliveryCount: 2, applicationProperties: { holdfastEarlierDeliveries: 5 } }),
    ).toMatchObject({
      delivery: { deliveryCount: 7 },
      copies: [[{ id: 'a', body: 'x', deliveryCount: 7 }, 30_000]],
      ending: 'completed by the host',
    });
  });

  test.each([
    ['a JSON body that the host parsed', { kind: 'chunk', v: 1 }, '{"kind":"chunk","v":1}'],
    ['a body of bytes', Buffer.from('{"v":1}'), '{"v":1}'],
  ])('%s is given back as text', async (_, message, text) => {
    const { copies } = await invoke(message, [{ kind: 'giveBack', delayMs: 0 }]);
    expect(copies).toEqual([[{ id: 'a', body: text, deliveryCount: 1 }, 0]]);
  });

  test('a copy that could not be sent leaves the message to the broker', async () => {
    const held: number[] = [];
    const { delivery, conclude } = serviceBusDelivery(
      'x',
      {},
      async () => {
        throw new Error('dark');
      },
      async (ms) => void held.push(ms),
    );
    await delivery.settle({ kind: 'giveBack', delayMs: 60_000 });
    await expect(conclude()).rejects.toThrow('dark');
    expect(delivery.deliveryCount).toBe(1);
    // Not at once, or a broker that takes no sends would hand it out a thousand times within a minute.
    expect(held).toEqual([60_000]);
  });

  test('a message is held no longer than its invocation may last', async () => {
    let now = 0;
    const sleep = async (ms: number) => {
      now += ms;
    };
    const clock = { now: () => now, sleep };
    await holdOf(clock, 0)(1_800_000);
    expect(now).toBe(285_000);
    await holdOf(clock, 0)(60_000);
    expect(now).toBe(285_000);
  });

  test('the host renews the lock, so a lease is never lost in here', async () => {
    const { delivery } = await invoke('x', [{ kind: 'complete' }]);
    expect(await delivery.extend(60_000)).toBe(true);
  });
});
