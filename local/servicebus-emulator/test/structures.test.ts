import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { formatDuration, parseDuration } from '../src/admin/duration.ts';
import { deliveryTag, lockTokenBytes, lockTokenOf, lockTokenOfTag } from '../src/amqp/lock-token.ts';
import { splitBatch, splitSections } from '../src/amqp/sections.ts';
import { resolveQueueConfig } from '../src/config.ts';
import { readSubmission } from '../src/content.ts';
import { IndexedHeap } from '../src/heap.ts';
import { SequenceIndex } from '../src/sequence-index.ts';

describe('structures', () => {
  test('a heap gives back what a sorted list would, whatever is removed from its middle', () => {
    const steps = fc.array(fc.tuple(fc.constantFrom('push', 'pop', 'remove'), fc.nat(50)), { maxLength: 300 });
    fc.assert(
      fc.property(steps, (commands) => {
        const heap = new IndexedHeap<{ key: number }>((one, other) => one.key < other.key);
        let model: { key: number }[] = [];
        for (const [command, number] of commands) {
          if (command === 'push') {
            const item = { key: number };
            heap.push(item);
            model.push(item);
          } else if (command === 'pop') {
            const least = model.length > 0 ? Math.min(...model.map(({ key }) => key)) : undefined;
            const popped = heap.peek();
            expect(popped?.key).toBe(least);
            if (popped) expect(heap.remove(popped)).toBe(true);
            model = model.filter((item) => item !== popped);
          } else {
            const victim = model[number % Math.max(model.length, 1)];
            if (victim) expect(heap.remove(victim)).toBe(true);
            model = model.filter((item) => item !== victim);
          }
          expect(heap.size).toBe(model.length);
          expect(heap.peek()?.key).toBe(model.length > 0 ? Math.min(...model.map(({ key }) => key)) : undefined);
        }
        expect(heap.remove({ key: 1 })).toBe(false);
      }),
    );
  });

  test('a heap of 100,000 is filled and emptied with some 30 comparisons for each', () => {
    let comparisons = 0;
    const heap = new IndexedHeap<{ key: number }>((one, other) => {
      comparisons += 1;
      return one.key < other.key;
    });
    const count = 100_000;
    for (let index = 0; index < count; index += 1) heap.push({ key: (index * 7_919) % count });
    for (let index = 0; index < count; index += 1) heap.remove(heap.peek() as { key: number });
    expect(heap.size).toBe(0);
    expect(comparisons).toBeLessThan(count * 45);
  });

  test('a sequence index lists what is alive in order from any number, whatever came and went', () => {
    const steps = fc.array(fc.tuple(fc.boolean(), fc.nat(200)), { maxLength: 600 });
    fc.assert(
      fc.property(steps, fc.nat(200), (commands, from) => {
        const alive = new Set<number>();
        const index = new SequenceIndex((number) => alive.has(number));
        for (const [adds, number] of commands) {
          if (adds && !alive.has(number)) {
            alive.add(number);
            index.add(number);
          } else if (!adds && alive.delete(number)) index.removed();
        }
        expect([...index.from(from)]).toEqual([...alive].filter((number) => number >= from).sort((a, b) => a - b));
      }),
    );
  });

  test('any bytes are a message or a fault, never a crash', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        for (const read of [splitSections, splitBatch, readSubmission]) {
          try {
            read(Buffer.from(bytes));
          } catch (error) {
            expect((error as Error).name).toBe('ServiceBusFault');
          }
        }
      }),
      { numRuns: 2_000 },
    );
  });

  test('a lock token survives the way through a delivery tag, whose first three fields are reversed', () => {
    const token = '00112233-4455-6677-8899-aabbccddeeff';
    expect(deliveryTag(token).toString('hex')).toBe('33221100554477668899aabbccddeeff');
    expect(lockTokenOfTag(deliveryTag(token))).toBe(token);
    expect(lockTokenOf(lockTokenBytes(token))).toBe(token);
  });

  test.each([
    ['PT1M', 60_000],
    ['P1DT2H3M4.5S', 93_784_500],
    ['PT0.05S', 50],
    ['P10675199DT2H48M5.4775807S', undefined],
  ])('the duration %s is %s ms', (text, durationMs) => {
    expect(parseDuration(text)).toBe(durationMs);
    expect(parseDuration(formatDuration(durationMs))).toBe(durationMs);
  });

  test.each(['', 'P', 'PT', '1M', 'PT-1S', 'PT1', 'P1M'])('%j is not a duration', (text) => {
    expect(() => parseDuration(text)).toThrow(RangeError);
  });

  test.each([
    [{ name: '' }],
    [{ name: '/q' }],
    [{ name: 'q$' }],
    [{ name: 'x'.repeat(261) }],
    [{ name: 'q', lockDurationMs: 0 }],
    [{ name: 'q', lockDurationMs: 300_001 }],
    [{ name: 'q', maxDeliveryCount: 2_001 }],
    [{ name: 'q', maxDeliveryCount: 1.5 }],
    [{ name: 'q', defaultTtlMs: Number.NaN }],
  ])('the configuration %j is refused', (config) => {
    expect(() => resolveQueueConfig(config)).toThrow(RangeError);
  });
});
