import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import type { LeasedMessage, OutgoingMessage, Queue, QueueDepth } from '../../shared/ports/queue.ts';
import type { DurationMs } from '../../shared/units.ts';
import { type Gaps, type Network, rejectionOf } from './support.ts';

/** What a factory hands to the suite for one test: an empty queue, and a hand on its time and network. */
export interface QueueUnderTest {
  queue: Queue;
  /** How long this queue leases a message, at most 10 s. */
  leaseMs: DurationMs;
  /** Lets at least this much of the queue's own time pass: moves a clock, or waits. */
  pass(ms: DurationMs): Promise<void>;
  /** Needed unless the gap `network` is declared. */
  network?: Pick<Network, 'refuse'>;
  close(): Promise<void>;
}

/** Called once for each test, for several before any of them begins. */
export type QueueFactory = () => Promise<QueueUnderTest>;

/** `network`: the service cannot be made to refuse here. */
export type QueueGap = 'network';

/** The promise of `Queue`, as tests. */
export function queueConformance(name: string, factory: QueueFactory, gaps: Gaps<QueueGap> = {}): void {
  describe(`${name} as a Queue`, () => {
    let hand: Hand;
    let given: QueueUnderTest;
    let queue: Queue;
    beforeEach(async () => {
      given = await factory();
      hand = handOn(given);
      queue = given.queue;
    });
    afterEach(async () => {
      await given.close();
    });
    const receive = (count: number) => hand.receive(count);
    const receiveOne = () => hand.receiveOne();
    const depthBecomes = (expected: Partial<QueueDepth>) => hand.depthBecomes(expected);
    const testUnless = (gap: QueueGap, claim: string, run: () => Promise<void>) =>
      gaps[gap] === undefined ? test(claim, run) : test.skip(`${claim} (gap: ${gaps[gap]})`, run);

    describe('send and receive', () => {
      test('hands a message over as it was sent, the first time with delivery count 1', async () => {
        const body = JSON.stringify({ text: 'line\nbreak "quote" <tag> & ümlaut 日本 🙂' });
        await queue.send([message('a', { body })]);
        expect(await receiveOne()).toMatchObject({ body, deliveryCount: 1, id: expect.stringMatching(/./) });
      });

      test('sends nothing for an empty list', async () => {
        await queue.send([]);
        expect(await queue.receive()).toEqual([]);
      });

      test('sends 37 messages in one call, each delivered once while its lease holds', async () => {
        await queue.send(Array.from({ length: 37 }, (_, i) => message(`m${i}`)));
        const bodies = (await receive(37)).map((each) => each.body);
        expect(new Set(bodies).size).toBe(37);
        expect(await queue.receive({ max: 10 })).toEqual([]);
      });

      test('sends more than any one call of a service may carry: 12 messages of 200 KiB', async () => {
        const bodies = Array.from({ length: 12 }, (_, i) => `${i}`.padEnd(200 * 1024, 'x'));
        await queue.send(bodies.map((body, i) => message(`big${i}`, { body })));
        const received = (await receive(12)).map((each) => each.body);
        expect(received.sort()).toEqual([...bodies].sort());
      });

      test('sends a message of 250 KiB that is made of many-byte characters', async () => {
        const body = 'ü'.repeat(125 * 1024);
        await queue.send([message('small'), message('max', { body }), message('small too')]);
        expect((await receive(3)).map((each) => each.body)).toContain(body);
      });

      test('receives no more than asked for', async () => {
        await queue.send(Array.from({ length: 12 }, (_, i) => message(`m${i}`)));
        expect((await queue.receive({ max: 3, waitMs: 1000 })).length).toBeLessThanOrEqual(3);
        expect((await queue.receive({ waitMs: 1000 })).length).toBeLessThanOrEqual(10);
      });

      test('receives up to 100 messages in one call', async () => {
        await queue.send(Array.from({ length: 40 }, (_, i) => message(`m${i}`)));
        let calls = 0;
        for (let count = 0; count < 40; calls++) {
          if (calls === 20) throw new Error(`only ${count} messages came in 20 calls`);
          count += (await queue.receive({ max: 100, waitMs: 1000 })).length;
        }
        expect(calls).toBeLessThanOrEqual(20);
      });

      test('receives nothing from an empty queue, having waited or not', async () => {
        expect(await queue.receive()).toEqual([]);
        expect(await queue.receive({ max: 100, waitMs: 1000 })).toEqual([]);
      });

      test('hands a message to one of two receivers at a time', async () => {
        await queue.send(Array.from({ length: 10 }, (_, i) => message(`m${i}`)));
        const [left, right] = await Promise.all([
          queue.receive({ max: 10, waitMs: 1000 }),
          queue.receive({ max: 10, waitMs: 1000 }),
        ]);
        const bodies = [...left, ...right].map((each) => each.body);
        expect(new Set(bodies).size).toBe(bodies.length);
      });
    });

    describe('settling', () => {
      test('giveBack makes a message come again at once, and delivery counts grow', async () => {
        await queue.send([message('a')]);
        for (const deliveryCount of [1, 2, 3]) {
          const received = await receiveOne();
          expect(received).toMatchObject({ body: 'body of a', deliveryCount });
          expect(await queue.giveBack(received)).toBe(true);
        }
      });

      test('a second settlement says false', async () => {
        await queue.send([message('a')]);
        const received = await receiveOne();
        expect(await queue.complete(received)).toBe(true);
        expect(await queue.extend(received, given.leaseMs)).toBe(false);
        expect(await queue.giveBack(received)).toBe(false);
        expect(await queue.deadLetter(received, 'reason', 'description')).toBe(false);
        await depthBecomes({ visible: 0, inFlight: 0, delayed: 0, deadLettered: 0 });
      });
    });

    test('depth counts visible, in flight, delayed and dead-lettered messages apart', async () => {
      await depthBecomes({ visible: 0, inFlight: 0, delayed: 0, deadLettered: 0 });
      await queue.send([message('dead'), message('held')]);
      const received = await receive(2);
      await queue.deadLetter(received[0]!, 'unreadable', 'for the test');
      await queue.extend(received[1]!, given.leaseMs);
      await queue.send([message('x'), message('y'), message('z'), message('later', { delayMs: 60_000 })]);
      const depth = await queue.depth();
      // Service Bus counts locked messages as active and cannot tell them apart; their sum is the same everywhere.
      expect(depth.visible + depth.inFlight + depth.delayed).toBe(5);
      expect(depth).toMatchObject({ delayed: 1, deadLettered: 1 });
    });

    describe('a signal', () => {
      test('that is aborted before the call rejects with its reason, and nothing happens', async () => {
        await queue.send([message('a')]);
        const received = await receiveOne();
        const reason = new Error('no time left');
        const signal = AbortSignal.abort(reason);
        const calls: (() => Promise<unknown>)[] = [
          () => queue.send([message('b')], { signal }),
          () => queue.receive({ signal }),
          () => queue.complete(received, { signal }),
          () => queue.giveBack(received, 0, { signal }),
          () => queue.deadLetter(received, 'reason', 'description', { signal }),
          () => queue.extend(received, given.leaseMs, { signal }),
          () => queue.depth({ signal }),
        ];
        for (const call of calls) expect(await rejectionOf(call())).toBe(reason);
        expect(await queue.complete(received)).toBe(true);
        expect(await queue.receive()).toEqual([]);
      });

      test('that is aborted while receive waits ends the waiting', async () => {
        const abort = new AbortController();
        const reason = new Error('no time left');
        const waiting = queue.receive({ waitMs: 20_000, signal: abort.signal });
        setImmediate(() => abort.abort(reason));
        expect(await rejectionOf(waiting)).toBe(reason);
        await queue.send([message('a')]);
        expect((await receiveOne()).body).toBe('body of a');
      });
    });

    testUnless('network', 'a queue that does not serve rejects with SiteUnavailableError that names it', async () => {
      await queue.send([message('a')]);
      const received = await receiveOne();
      await given.network?.refuse(true);
      const errors = [
        await rejectionOf(queue.send([message('b')])),
        await rejectionOf(queue.receive()),
        await rejectionOf(queue.complete(received)),
        await rejectionOf(queue.depth()),
      ];
      await given.network?.refuse(false);
      for (const error of errors) {
        expect(error.name).toBe('SiteUnavailableError');
        expect((error as { where?: string }).where).toBe(queue.name);
      }
    });

    test('close ends the client and leaves the messages', async () => {
      await queue.send([message('a')]);
      await queue.close();
      await queue.close();
    });
  });

  describe(`${name} as a Queue, over time`, () => {
    const stories: { claim: string; run: (hand: Hand) => Promise<void> }[] = [];
    const overTime = (claim: string, run: (hand: Hand) => Promise<void>) => stories.push({ claim, run });

    overTime('keeps a delayed message back until its delay is over', async ({ queue, given, receiveOne }) => {
      await queue.send([message('late', { delayMs: 3000 }), message('now')]);
      expect((await receiveOne()).body).toBe('body of now');
      expect(await queue.receive()).toEqual([]);
      await given.pass(3000);
      expect((await receiveOne()).body).toBe('body of late');
    });

    overTime('complete ends a message for good', async ({ queue, given, receiveOne, depthBecomes }) => {
      await queue.send([message('a')]);
      expect(await queue.complete(await receiveOne())).toBe(true);
      await given.pass(given.leaseMs + 1000);
      expect(await queue.receive()).toEqual([]);
      await depthBecomes({ visible: 0, inFlight: 0, delayed: 0, deadLettered: 0 });
    });

    overTime(
      'giveBack with a delay keeps the message back for it, and the delivery count goes on',
      async ({ queue, given, receiveOne }) => {
        await queue.send([message('a')]);
        expect(await queue.giveBack(await receiveOne(), 3000)).toBe(true);
        expect(await queue.receive()).toEqual([]);
        await given.pass(3000);
        const again = await receiveOne();
        expect(again).toMatchObject({ body: 'body of a', deliveryCount: 2 });
        expect(await queue.giveBack(again, 1000)).toBe(true);
        await given.pass(1000);
        expect(await receiveOne()).toMatchObject({ deliveryCount: 3 });
      },
    );

    overTime(
      'deadLetter takes a message out of the queue and counts it as dead-lettered',
      async ({ queue, given, receive, depthBecomes }) => {
        await queue.send([message('a'), message('b')]);
        const [first, second] = await receive(2);
        expect(await queue.deadLetter(first!, 'unreadable', 'not JSON: \u0000\u001b[31m ümlaut')).toBe(true);
        expect(await queue.complete(second!)).toBe(true);
        await given.pass(given.leaseMs + 1000);
        expect(await queue.receive()).toEqual([]);
        await depthBecomes({ visible: 0, inFlight: 0, delayed: 0, deadLettered: 1 });
      },
    );

    overTime(
      'a message whose lease ran out comes again with a higher delivery count',
      async ({ queue, given, receiveOne }) => {
        await queue.send([message('a')]);
        await receiveOne();
        expect(await queue.receive()).toEqual([]);
        await given.pass(given.leaseMs);
        expect(await receiveOne()).toMatchObject({ body: 'body of a', deliveryCount: 2 });
      },
    );

    overTime('extend keeps a message away from others beyond its first lease', async ({ queue, given, receiveOne }) => {
      await queue.send([message('a')]);
      const received = await receiveOne();
      await given.pass(given.leaseMs * 0.6);
      expect(await queue.extend(received, given.leaseMs)).toBe(true);
      await given.pass(given.leaseMs * 0.6);
      expect(await queue.receive()).toEqual([]);
      expect(await queue.complete(received)).toBe(true);
    });

    overTime(
      'every settlement says false to a lease that was lost, and harms nobody',
      async ({ queue, given, receiveOne, depthBecomes }) => {
        await queue.send([message('a')]);
        const lost = await receiveOne();
        await given.pass(given.leaseMs);
        const held = await receiveOne();
        expect(await queue.extend(lost, given.leaseMs)).toBe(false);
        expect(await queue.giveBack(lost)).toBe(false);
        expect(await queue.giveBack(lost, 1000)).toBe(false);
        expect(await queue.deadLetter(lost, 'reason', 'description')).toBe(false);
        expect(await queue.complete(lost)).toBe(false);
        expect(await queue.complete(held)).toBe(true);
        await depthBecomes({ visible: 0, inFlight: 0, delayed: 0, deadLettered: 0 });
      },
    );

    // Each is mostly waiting, so they wait at the same time, with a queue for each.
    let opened: QueueUnderTest[] = [];
    let ends: Promise<void>[] = [];
    beforeAll(async () => {
      opened = await Promise.all(stories.map(() => factory()));
      // Nobody's lease shall run while others connect.
      await Promise.all(opened.map(({ queue }) => queue.receive()));
      ends = stories.map(({ run }, i) => run(handOn(opened[i]!)));
      await Promise.allSettled(ends);
    });
    afterAll(async () => {
      await Promise.all(opened.map((one) => one.close()));
    });
    test.each(stories.map(({ claim }, i) => [claim, i] as const))('%s', (_claim, i) => ends[i]!);
  });
}

/** What a test does with a queue. */
interface Hand {
  given: QueueUnderTest;
  queue: Queue;
  /** Receives until `count` messages have come, or half a minute of the queue's time has gone. */
  receive(count: number): Promise<LeasedMessage[]>;
  receiveOne(): Promise<LeasedMessage>;
  /** Counts are approximate and may lag: waits until they are as expected, and shows them where they never are. */
  depthBecomes(expected: Partial<QueueDepth>): Promise<void>;
}

function handOn(given: QueueUnderTest): Hand {
  const { queue } = given;
  const receive = async (count: number): Promise<LeasedMessage[]> => {
    const received: LeasedMessage[] = [];
    for (let tries = 0; tries < 30 && received.length < count; tries++) {
      received.push(...(await queue.receive({ max: Math.min(100, count - received.length), waitMs: 1000 })));
    }
    return received;
  };
  return {
    given,
    queue,
    receive,
    async receiveOne() {
      const [message] = await receive(1);
      if (message === undefined) throw new Error('no message came');
      return message;
    },
    async depthBecomes(expected) {
      let depth = await queue.depth();
      for (let tries = 0; tries < 50; tries++) {
        if (Object.entries(expected).every(([field, value]) => depth[field as keyof QueueDepth] === value)) break;
        await new Promise((resolve) => setTimeout(resolve, 200));
        depth = await queue.depth();
      }
      expect(depth).toMatchObject(expected);
    },
  };
}

function message(id: string, rest: Partial<OutgoingMessage> = {}): OutgoingMessage {
  return { id, body: `body of ${id}`, ...rest };
}
