import type { DurationMs } from '../../../shared/units.ts';

/**
 * A scenario as data: what is wrong with which component, from when to when, and what must hold all the same. Times count
 * from T+0, the first moment at which a customer is hurt.
 */
export interface Scenario {
  id: string;
  /** Whose outage it is: `aws`, `azure`, `provider`, `both`, or whatever else the file says. */
  cloud: string;
  /** In the order of the file; of two on one target at one moment both hold. */
  effects: ScenarioEffect[];
  expect: {
    must: string[];
    /** Only invariant ids and rule names bind; prose informs. */
    mustNot: string[];
  };
  /** What the form `dr-scenario/1` does not have: seeds, settings and the like, as YAML gave it. */
  extra: Record<string, unknown>;
}

/** One thing that is wrong for a while. */
export interface ScenarioEffect {
  /** `aws.store.put`, `link.aws-to-azure`, `operator.1`; a site alone means all of it. */
  target: string;
  mode: EffectMode;
  fromMs: DurationMs;
  /** `undefined`: it does not end by itself. Of a command nothing. */
  untilMs: DurationMs | undefined;
}

export type EffectMode =
  /** Nothing is wrong (yet, or any more). */
  | { kind: 'ok' }
  /** The share `rate` of calls fails with `code`: `5xx`, `401`, `429`, a word. */
  | { kind: 'error'; code: string; rate: number }
  /** The share `rate` of calls hears nothing for `afterMs`, then gives up. */
  | { kind: 'timeout'; afterMs: DurationMs; rate: number }
  | { kind: 'slow'; p50Ms: DurationMs; p99Ms: DurationMs }
  /** Only this share of the normal rate is let through. */
  | { kind: 'throttle'; share: number }
  /** The effect happens; of the share `rate` of calls the reply is lost. */
  | { kind: 'drop_reply'; rate: number }
  /** Answers are as old as this; `Infinity`: they have stopped. */
  | { kind: 'stale'; ageMs: DurationMs }
  /** Connections that stand go on; new ones fail. */
  | { kind: 'new_conns_only' }
  /** What runs goes on; what starts anew fails. */
  | { kind: 'cold_only' }
  /** Some of what is alike (nodes, accounts, zones), the share `rate` of it, is out of order and the rest is well. */
  | { kind: 'partial'; cohort: string; rate: number }
  /** Nothing answers and nothing fails: it stands still. */
  | { kind: 'freeze' }
  /** Data out of reach, and perhaps for ever. */
  | { kind: 'gone' }
  /** A person commands. */
  | { kind: 'command'; command: 'failover' | 'failback'; args: Record<string, string> };

/** Something of a file that was kept without being understood. */
export interface Notice {
  line: number;
  scenario: string;
  sentence: string;
}
