import { createHash } from 'node:crypto';
import { SiteUnavailableError } from '../errors.ts';
import { withDeadline } from '../ports/deadline.ts';
import type { PutResult } from '../ports/object-store.ts';
import type { SiteId } from '../ports/site.ts';
import type { DurationMs } from '../units.ts';
import type { ApiCore, Placement } from './placement.ts';

/** Length and hashes of a stream that went by. */
export interface StreamSum {
  bytes: number;
  sha256: string;
  /** Hex. */
  md5: string;
}

/** A piece may have to wait for a part of 8 MB or more to be sent on its way, so this is longer than a call may take. */
const stallMs: DurationMs = 20_000;

/**
 * Streams one body into the journals of `sites` (default: where payload may go) at the same time, at the pace of the
 * slowest: no store is more than one piece ahead of another. A peer that takes longer than 20 s over one piece, or over
 * the end, counts as not answering.
 * @throws what `source` throws; 503 as `Placement.each` does. What was being written then leaves no object behind.
 */
export async function streamToSites(
  core: ApiCore,
  placement: Placement,
  key: string,
  source: AsyncIterable<Uint8Array>,
  sites: readonly SiteId[] = placement.payloadSites,
): Promise<StreamSum> {
  const sha256 = createHash('sha256');
  const md5 = createHash('md5');
  let bytes = 0;
  const branches = new Map(sites.map((id) => [id, openBranch(core, key, id)]));
  /** Waits for all branches; one that fails is given up or ends everything, as the policy says. */
  const onEach = (step: (branch: Branch) => Promise<unknown>) =>
    Promise.all(
      [...branches].map(async ([id, branch]) => {
        try {
          if (id === core.self) await step(branch);
          else await withDeadline(core.clock, stallMs, id, () => step(branch));
        } catch (error) {
          branch.fail(error);
          branches.delete(id);
          placement.lost(id, error);
        }
      }),
    );
  try {
    for await (const piece of source) {
      if (piece.byteLength === 0) continue;
      sha256.update(piece);
      md5.update(piece);
      bytes += piece.byteLength;
      await onEach((branch) => branch.push(piece));
    }
    await onEach((branch) => branch.end());
  } catch (error) {
    for (const branch of branches.values()) branch.fail(error);
    const settled = [...branches].map(([id, branch]) => withDeadline(core.clock, stallMs, id, () => branch.settled));
    await Promise.allSettled(settled);
    throw error;
  }
  return { bytes, sha256: sha256.digest('hex'), md5: md5.digest('hex') };
}

interface Branch {
  /** Resolves when the store has taken `piece`; rejects when it failed. */
  push(piece: Uint8Array): Promise<void>;
  /** Resolves when the object is durable. */
  end(): Promise<PutResult>;
  /** Ends the store's reading with an error, so that nothing is created. */
  fail(error: unknown): void;
  /** Never rejects: the store is done with it. */
  settled: Promise<unknown>;
}

/** One store's side: a hand-over of one piece at a time. */
function openBranch(core: ApiCore, key: string, id: SiteId): Branch {
  const abort = new AbortController();
  let offered: { piece: Uint8Array | undefined; taken: () => void } | undefined;
  let wake: (() => void) | undefined;
  let isEnding = false;
  const offer = (piece: Uint8Array | undefined) =>
    new Promise<void>((taken) => {
      offered = { piece, taken };
      wake?.();
    });
  async function* body(): AsyncGenerator<Uint8Array> {
    for (;;) {
      if (offered === undefined && !abort.signal.aborted)
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      if (abort.signal.aborted) throw abort.signal.reason;
      const { piece, taken } = offered!;
      offered = undefined;
      if (piece === undefined) return taken();
      yield piece;
      // Asked for the next one, the store has made room for it.
      taken();
    }
  }
  const { journal } = core.sites.get(id)!;
  const done = journal.putStreamIfAbsent(key, body(), { signal: abort.signal });
  // A store that ends early takes no more pieces: whoever waits to hand one over must hear of it.
  const failed = done.then(() => {
    if (isEnding) return new Promise<never>(() => {});
    throw new SiteUnavailableError('content_exists', `${key} was written by somebody else`, id);
  });
  failed.catch(() => {});
  return {
    push: (piece) => Promise.race([offer(piece), failed]),
    async end() {
      isEnding = true;
      void offer(undefined);
      const result = await done;
      if (result.status === 'exists')
        throw new SiteUnavailableError('content_exists', `${key} was written by somebody else`, id);
      return result;
    },
    fail(error) {
      abort.abort(error);
      wake?.();
    },
    settled: done.catch(() => {}),
  };
}
