import type { Socket } from 'node:net';
import { type Fault, touches } from './faults.ts';

/** A connection through a route. */
export interface Pair {
  readonly client: Socket;
  readonly upstream: Socket;
  /** Goes to the gate, not to the service itself. */
  readonly gated: boolean;
  /** True where the last request was answered, as far as bytes tell, and nothing came for a moment. */
  isQuiet(): boolean;
  /** Takes the faults that hold now. */
  apply(): void;
}

/** Longer than any pause within one answer on this machine. */
const QUIET_MS = 20;
/** Bytes that one direction may hold back before it stops reading. */
const HELD_BYTES_MAX = 4 * 1024 * 1024;

/** Resets a connection. One that is being shut down cannot be reset any more, and would stay open for ever. */
export function reset(socket: Socket): void {
  if (socket.writableEnded) socket.destroy();
  else socket.resetAndDestroy();
}

/** Passes bytes both ways under the faults that hold when they arrive. */
export function joinPair(client: Socket, upstream: Socket, gated: boolean, faults: () => readonly Fault[]): Pair {
  let askedAt = Number.NEGATIVE_INFINITY;
  let answeredAt = Number.NEGATIVE_INFINITY;
  const there = lane(client, upstream, 'there', faults, () => {
    askedAt = performance.now();
  });
  const back = lane(upstream, client, 'back', faults, () => {
    answeredAt = performance.now();
  });
  client.once('close', () => upstream.destroy());
  upstream.on('error', () => reset(client));
  upstream.once('close', () => {
    if (!upstream.readableEnded) client.destroy();
  });
  return {
    client,
    upstream,
    gated,
    isQuiet: () => answeredAt >= askedAt && performance.now() - answeredAt > QUIET_MS,
    apply() {
      there();
      back();
    },
  };
}

/** One direction. Returns a function to be called when the faults have changed. */
function lane(
  source: Socket,
  sink: Socket,
  way: 'there' | 'back',
  faults: () => readonly Fault[],
  passed: () => void,
): () => void {
  /** What waits for its time, oldest first. */
  const held: { chunk: Buffer; due: number }[] = [];
  let heldBytes = 0;
  let timer: NodeJS.Timeout | undefined;
  let ended = false;

  const isBlocked = () => faults().some((fault) => fault.kind === 'blackhole' && touches(fault, way));
  const delayMs = () =>
    faults().reduce((sum, fault) => (fault.kind === 'delay' && touches(fault, way) ? sum + (fault.ms ?? 0) : sum), 0);

  /** Takes what has come, and passes on what is due, unless something forbids it. */
  function flow(): void {
    if (sink.destroyed) return;
    while (heldBytes < HELD_BYTES_MAX && !sink.writableNeedDrain) {
      const chunk: Buffer | null = source.read();
      if (chunk === null) break;
      held.push({ chunk, due: performance.now() + delayMs() });
      heldBytes += chunk.length;
      pass();
    }
    pass();
  }

  function pass(): void {
    clearTimeout(timer);
    if (isBlocked()) return;
    while (held[0] && !sink.writableNeedDrain) {
      const early = held[0].due - performance.now();
      if (early > 0) {
        timer = setTimeout(flow, early);
        return;
      }
      const { chunk } = held.shift()!;
      heldBytes -= chunk.length;
      sink.write(chunk);
      passed();
    }
    if (ended && !held[0] && !sink.writableEnded) sink.end();
  }

  source.on('readable', flow);
  source.once('end', () => {
    ended = true;
    // Whoever gives up on a request must not have it carried out minutes later, when nobody waits for it.
    if (way === 'there' && isBlocked()) source.destroy();
    else flow();
  });
  sink.on('drain', flow);
  sink.once('close', () => clearTimeout(timer));
  return flow;
}
