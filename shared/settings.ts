import type { DurationMs } from './units.ts';

/**
 * The rules a deployment may set, resolved at the edge to a frozen value with every field present. Connection details
 * (buckets, queues, credentials) are the adapters' business and are not here.
 */
export interface Settings {
  /** `strict`: no receipt while an unfenced peer does not answer (503). `available`: a `single` receipt instead. */
  intake: 'strict' | 'available';
  /** Lines, estimated tokens and bytes that one pointer may name, per kind of endpoint. */
  chunks: { text: ChunkLimits; embeddings: ChunkLimits };
  /** Bound on each call to the other cloud or the witness while serving; the sweeper mends what it cuts off. */
  peerTimeoutMs: DurationMs;
  /** How long a learned control entry is used before it is looked up again. */
  controlCacheMs: DurationMs;
  /** How quick health is to judge (`shared/health/types.ts`). Default `balanced`. */
  health: 'fast' | 'balanced' | 'careful';
  /**
   * `automatic` (default): monitors carry out what they decide; without a witness that is nothing. `recommend`: they say
   * it, in the log and on the status page, and a person commands.
   */
  failover: 'automatic' | 'recommend';
  /** A monitor tick. Default: that of the health profile. */
  tickMs: DurationMs;
  /** Lease of a message in work, extended every third of it. */
  leaseMs: DurationMs;
  /** Longest run of one worker invocation; what is not done by then is given back. */
  runMs: DurationMs;
  /** A dispatch older than this without a result may be counted lost (when the queue's depth is short, too). */
  dispatchLeaseMs: DurationMs;
  /** Depth must be short for this long before anything is dispatched again: queue counts lag. */
  shortDepthMs: DurationMs;
  /** Counted attempts after which a line is parked: not terminal, visible, an error only at the deadline. */
  attemptsMax: number;
  /** Starts without a result after which a chunk is split in halves. */
  crashesBeforeSplit: number;
  /** A message delivered this often is settled and left to the sweeper. */
  deliveriesMax: number;
  /** Default life of input and output files. */
  fileLifeMs: DurationMs;
}

export interface ChunkLimits {
  linesMax: number;
  tokensMax: number;
  bytesMax: number;
}

/** What holds where nothing is configured (deployed; `local/` shortens the waits). */
export const defaultSettings: Settings = Object.freeze({
  intake: 'strict',
  chunks: {
    text: { linesMax: 50, tokensMax: 100_000, bytesMax: 4 * 1024 * 1024 },
    embeddings: { linesMax: 500, tokensMax: 250_000, bytesMax: 4 * 1024 * 1024 },
  },
  peerTimeoutMs: 5_000,
  controlCacheMs: 5_000,
  health: 'balanced',
  failover: 'automatic',
  tickMs: 10_000,
  leaseMs: 60_000,
  runMs: 240_000,
  dispatchLeaseMs: 300_000,
  shortDepthMs: 120_000,
  attemptsMax: 5,
  crashesBeforeSplit: 1,
  deliveriesMax: 500,
  fileLifeMs: 30 * 24 * 3_600_000,
} satisfies Settings);
