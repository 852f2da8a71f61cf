import * as z from 'zod';
import { factVersion } from '../journal/facts.ts';
import { batchIdPattern, drillIdPattern, sitePattern, uuidPattern } from '../journal/keys.ts';
import { drillSchema } from './file.ts';

/** Facts below `drills/`. All are written once; who runs a drill and how far it is follows from them. */

const at = z.number().int().min(0).max(8.64e15);
const drillId = z.string().regex(drillIdPattern);
const hash = z.string().regex(/^[0-9a-f]{64}$/);
const site = z.string().regex(sitePattern);
const text = z.string().max(2_000);

const beforeSchema = z.object({
  epoch: z.int(),
  sites: z.record(site, z.object({ state: z.string(), weight: z.number() })),
});

/**
 * One turn: the drill that may run after the one of the turn before has ended. The value of the register `drill/<turn>`,
 * byte for byte, so that of two drills that start in the same second on two clouds one has the turn.
 */
export const drillTurnSchema = z.object({
  v: z.literal(factVersion),
  kind: z.literal('drillTurn'),
  turn: z.int().min(1).max(99_999_999),
  drill: drillId,
  at,
  /** Who asked for it: `schedule`, `operator:…`. */
  actor: z.string().min(1).max(200),
  reason: z.string().min(1).max(2_000),
  /** Process that runs it. */
  runner: z.string().max(64),
  /** Its moment, where a schedule started it. */
  slot: at.nullable(),
  /** Of the first lease. */
  until: at,
  /** As the clouds were found: what whoever undoes it goes by, even if no page of it can be read. */
  before: beforeSchema,
  /** SHA-256 of the turn before; `null` in turn 1. */
  previous: hash.nullable(),
  /** SHA-256 of the report of the turn before, as whoever asked for this one read it; `null` where there is none. */
  previousReport: hash.nullable(),
  /** The drill file, as written. */
  file: z.json(),
});
export type DrillTurn = z.infer<typeof drillTurnSchema>;

/** How one probe went. */
export const checkSchema = z.object({
  when: z.enum(['before', 'during', 'after']),
  name: z.string(),
  value: z.union([z.string(), z.number(), z.boolean()]).nullable(),
  wanted: z.string(),
  isOk: z.boolean(),
  at,
});
export type Check = z.infer<typeof checkSchema>;

export const entryKinds = ['phase', 'action', 'probe', 'control', 'verdict', 'undo', 'note', 'end'] as const;
/** One thing that happened. */
export const entrySchema = z.object({ at, kind: z.enum(entryKinds), text });
export type DrillEntry = z.infer<typeof entrySchema>;

/** What the clouds looked like at a moment. */
export const sampleSchema = z.object({
  at,
  epoch: z.int(),
  sites: z.record(
    site,
    z.object({
      state: z.string(),
      weight: z.number(),
      health: z.string(),
      openLines: z.number(),
      oldestMs: z.number(),
    }),
  ),
  /** Lines of the drill: open, and answered by whom. */
  open: z.number(),
  answered: z.record(site, z.number()),
});
export type DrillSample = z.infer<typeof sampleSchema>;

export const phases = ['before', 'method', 'undo', 'after', 'judge', 'ended'] as const;
export type DrillPhase = (typeof phases)[number];

/** Where a drill is: all that the next step is decided by, beside what is seen. */
export const stateSchema = z.object({
  phase: z.enum(phases),
  startedAt: at,
  /** When the phase began. */
  phaseAt: at,
  /** Of the hypothesis, the method or the rollbacks. */
  step: z.int().min(0),
  /** When the step began. */
  stepAt: at,
  /** When the action of the step was carried out; `null` until then. */
  doneAt: at.nullable(),
  /** When it was taken over from a runner that was not heard any more. */
  takenAt: at.nullable().default(null),
  /** Why it was ended early, and by the name of what rule. */
  aborted: z.object({ rule: z.string(), sentence: text }).nullable(),
  /** When the first fault or command struck. */
  faultAt: at.nullable(),
  /** Faults under way. */
  faults: z.array(z.object({ id: z.string().max(100), name: z.string().max(100), until: at })),
  batches: z.array(
    z.object({
      batch: z.string().regex(batchIdPattern),
      home: site,
      lines: z.int(),
      /** Held by the survivors when the fault struck; `null` while it is not known. */
      wasHeld: z.boolean().nullable(),
    }),
  ),
  /** Of production, open when it struck; of more than could be noted, `productionTotal` counts all. */
  production: z
    .array(z.object({ tenant: z.string(), batch: z.string().regex(batchIdPattern), wasHeld: z.boolean().nullable() }))
    .default([]),
  productionTotal: z.int().min(0).default(0),
  /** As it was found, and is to be left. */
  before: beforeSchema,
  checks: z.array(checkSchema),
  /** By site: when the first observer elsewhere was seen to hold it ill after the fault, and what it said. */
  detected: z.record(site, z.object({ at, says: text })),
  /** By epoch: when it was first seen in the journal of a survivor. */
  learned: z.record(z.string(), at),
  /** By probe of the hypothesis: how long it did not hold in the method, from the fault on. */
  unsteadyMs: z.record(z.string(), z.number()).default({}),
  /** When no line that was open at the fault was open any more. */
  clearedAt: at.nullable(),
  restoredAt: at.nullable(),
});
export type DrillState = z.infer<typeof stateSchema>;

/** What a runner writes as it goes on: each page renews its lease. */
export const drillPageSchema = z.object({
  v: z.literal(factVersion),
  kind: z.literal('drillPage'),
  drill: drillId,
  page: z.int().min(0),
  runner: z.string().max(64),
  at,
  /** Not before this moment may anybody else touch the drill. */
  until: at,
  state: stateSchema,
  entries: z.array(entrySchema).max(10_000),
  samples: z.array(sampleSchema).max(10_000),
  /** Of the report, on the last page. */
  report: hash.nullable(),
});
export type DrillPage = z.infer<typeof drillPageSchema>;

/** On-call wants it ended. */
export const drillStopSchema = z.object({
  v: z.literal(factVersion),
  kind: z.literal('drillStop'),
  drill: drillId,
  at,
  uuid: z.string().regex(uuidPattern),
  actor: z.string().min(1).max(200),
  reason: z.string().min(1).max(2_000),
});
export type DrillStop = z.infer<typeof drillStopSchema>;

/** Reads the drill out of a turn. @returns the drill, or `undefined` for one of a form that this process does not know */
export function drillOf(turn: DrillTurn) {
  const parsed = drillSchema.safeParse(turn.file);
  return parsed.success ? parsed.data : undefined;
}
