import { afterAll, afterEach, describe, expect, test } from '@jest/globals';
import { ManualClock } from '../../local/in-memory/clock.ts';
import { Faults } from '../../local/in-memory/faults.ts';
import { faultyQueue, faultyStore } from '../../local/in-memory/faulty.ts';
import { InMemoryObjectStore, type StoreOp } from '../../local/in-memory/object-store.ts';
import { InMemoryQueue, type QueueOp } from '../../local/in-memory/queue.ts';
import { objectStoreConformance, type StoreUnderTest, stateStoreConformance } from './object-store.ts';
import { type QueueUnderTest, queueConformance } from './queue.ts';
import { rejectionOf, utf8 } from './support.ts';

const memory = 'objects live in this process';
const network = 'there is none';

/**
 * About twenty times as fast as the machine's, so that leases and delays of seconds pass while one watches; but it goes
 * turn by turn of the event loop, so that a machine which stands still for a second ends nobody's lease.
 */
const fastClock = new ManualClock();
let isMoving = true;
void (async () => {
  for (; isMoving; await new Promise((resolve) => setTimeout(resolve, 5))) await fastClock.advance(100);
})();
afterAll(() => {
  isMoving = false;
});
const noRandom = () => 0.5;

const plainStore = async () => ({ store: new InMemoryObjectStore('memory/state'), close: async () => {} });
objectStoreConformance('InMemoryObjectStore', plainStore, { memory, network });
stateStoreConformance('InMemoryObjectStore', plainStore, { memory, network });

const wrappedStore = async (): Promise<StoreUnderTest<ReturnType<typeof faultyStore>>> => {
  const faults = new Faults<StoreOp>(fastClock, noRandom);
  return {
    store: faultyStore(new InMemoryObjectStore('memory/state'), faults),
    network: {
      loseNextWriteReply() {
        for (const op of ['putIfAbsent', 'putStreamIfAbsent', 'putIfMatch'] as const) {
          faults.set(op, { dropReply: 'once' });
        }
      },
      loseReplies: (on) => (on ? faults.set('all', { dropReply: 'always' }) : faults.clear()),
      refuse: (on) => (on ? faults.set('all', { refuse: true }) : faults.clear()),
    },
    close: async () => {},
  };
};
objectStoreConformance('faultyStore', wrappedStore, { memory });
stateStoreConformance('faultyStore', wrappedStore, { memory });

const lossyStore = async (): Promise<StoreUnderTest<ReturnType<typeof faultyStore>>> => {
  const faults = new Faults<StoreOp>(fastClock, noRandom);
  faults.set('putIfAbsent', { dropReply: 'always' });
  faults.set('putStreamIfAbsent', { dropReply: 'always' });
  faults.set('putIfMatch', { dropReply: 'always' });
  return { store: faultyStore(new InMemoryObjectStore('memory/state'), faults), close: async () => {} };
};
describe('with every reply to a write lost', () => {
  const lossyNetwork = 'its faults are set already';
  objectStoreConformance('faultyStore', lossyStore, { memory, network: lossyNetwork, replies: 'all are lost' });
  stateStoreConformance('faultyStore', lossyStore, { memory, network: lossyNetwork });
});

const plainQueue = async (): Promise<QueueUnderTest & { queue: InMemoryQueue }> => ({
  queue: new InMemoryQueue({ name: 'memory/work', clock: fastClock, leaseMs: 5000 }),
  leaseMs: 5000,
  pass: (ms) => fastClock.sleep(ms),
  close: async () => {},
});
queueConformance('InMemoryQueue', plainQueue, { network });

queueConformance('faultyQueue', async () => {
  const faults = new Faults<QueueOp>(fastClock, noRandom);
  const plain = await plainQueue();
  return {
    ...plain,
    queue: faultyQueue(plain.queue, faults),
    network: { refuse: (on) => (on ? faults.set('all', { refuse: true }) : faults.clear()) },
  };
});

describe('faults', () => {
  const clock = new ManualClock();
  let draws: number[] = [];
  const faults = new Faults<StoreOp>(clock, () => draws.shift() ?? 0);
  const inner = new InMemoryObjectStore('memory/state');
  const store = faultyStore(inner, faults);
  afterEach(() => faults.clear());

  test('a refused call never reaches the store', async () => {
    faults.set('putIfAbsent', { refuse: true });
    expect((await rejectionOf(store.putIfAbsent('refused', utf8('x')))).name).toBe('SiteUnavailableError');
    expect(await store.head('refused')).toBeUndefined();
  });

  test('an error rate throttles the calls whose draw is below it, before any effect', async () => {
    faults.set('putIfAbsent', { errorRate: 0.3 });
    draws = [0.29, 0.3];
    expect((await rejectionOf(store.putIfAbsent('rate', utf8('x')))).name).toBe('TransientError');
    expect(await store.head('rate')).toBeUndefined();
    expect((await store.putIfAbsent('rate', utf8('x'))).status).toBe('created');
  });

  test('a delay holds a call back by the injected clock alone', async () => {
    faults.set('get', { delayMs: 3_600_000 });
    let done = false;
    const reading = store.get('delay').then(() => {
      done = true;
    });
    await clock.advance(3_599_999);
    expect(done).toBe(false);
    await clock.advance(1);
    await reading;
  });

  test('the before hook sees operation and key, and can hold a call in the middle', async () => {
    const seen: string[] = [];
    const { promise: thaw, resolve } = Promise.withResolvers<void>();
    faults.before = (op, key) => {
      seen.push(`${op} ${key}`);
      return op === 'putIfAbsent' ? thaw : undefined;
    };
    const frozen = store.putIfAbsent('frozen', utf8('late'));
    expect(await store.get('frozen')).toBeUndefined();
    resolve();
    expect((await frozen).status).toBe('created');
    expect(seen).toEqual(['putIfAbsent frozen', 'get frozen']);
  });

  test('the after hook runs when the effect has happened and the reply has not been given', async () => {
    let seen = '';
    faults.after = async (op, key) => {
      seen = `${op} of ${(await inner.head(key))?.bytes} bytes`;
    };
    await store.putIfAbsent('after', utf8('four'));
    expect(seen).toBe('putIfAbsent of 4 bytes');
  });

  test('calls are counted by operation, where they reach the store', async () => {
    const counted = new InMemoryObjectStore('memory/counted');
    await counted.putIfAbsent('a', utf8('a'));
    await counted.putIfAbsent('b', utf8('b'));
    await counted.list('');
    expect(counted.calls).toMatchObject({ putIfAbsent: 2, list: 1, get: 0 });
  });
});

describe('InMemoryQueue', () => {
  test('dead-letters a message that was handed out too often', async () => {
    const clock = new ManualClock();
    const queue = new InMemoryQueue({ name: 'memory/work', clock, leaseMs: 1000, deliveriesMax: 2 });
    await queue.send([{ id: 'a', body: 'poison' }]);
    for (const deliveryCount of [1, 2]) {
      expect(await queue.receive()).toMatchObject([{ deliveryCount }]);
      await clock.advance(1000);
    }
    expect(await queue.receive()).toEqual([]);
    expect(queue.deadLetters).toMatchObject([{ id: 'a', body: 'poison', reason: 'MaxDeliveryCountExceeded' }]);
  });

  test('a waiting receive wakes when a delayed message becomes visible, on the injected clock', async () => {
    const clock = new ManualClock();
    const queue = new InMemoryQueue({ name: 'memory/work', clock });
    const waiting = queue.receive({ waitMs: 20_000 });
    await queue.send([{ id: 'a', body: 'late', delayMs: 15_000 }]);
    await clock.advance(15_000);
    expect(await waiting).toMatchObject([{ body: 'late' }]);
    expect(clock.sleeping).toBe(0);
  });

  test('purge forgets messages, leased and delayed ones too', async () => {
    const queue = new InMemoryQueue({ name: 'memory/work', clock: new ManualClock() });
    await queue.send([
      { id: 'a', body: 'a' },
      { id: 'b', body: 'b', delayMs: 1000 },
    ]);
    const [leased] = await queue.receive();
    queue.purge();
    expect(await queue.complete(leased!)).toBe(false);
    expect(await queue.depth()).toEqual({ visible: 0, inFlight: 0, delayed: 0, deadLettered: 0 });
  });
});
