import * as z from 'zod';
import { factVersion } from '../journal/facts.ts';
import { drillIdPattern } from '../journal/keys.ts';
import { checkSchema, entrySchema, sampleSchema } from './facts.ts';
import { drillKinds } from './file.ts';

const at = z.number().int();
const hash = z.string().regex(/^[0-9a-f]{64}$/);
const span = z.number().nullable();
const ids = z.array(z.string());

/**
 * What a drill leaves behind, as evidence: what was done and when, what the data say, who ran it and why, and hashes of
 * the control entries between which it happened and of the report before it. The fact is named by its own SHA-256.
 */
export const drillReportSchema = z.object({
  v: z.literal(factVersion),
  kind: z.literal('drillReport'),
  drill: z.string().regex(drillIdPattern),
  turn: z.int().min(1),
  title: z.string(),
  description: z.string(),
  drillKind: z.enum(drillKinds),
  site: z.string().nullable(),
  blastRadius: z.string(),
  actor: z.string(),
  reason: z.string(),
  runner: z.string(),
  startedAt: at,
  endedAt: at,
  faultAt: at.nullable(),
  restoredAt: at.nullable(),
  verdict: z.object({
    outcome: z.enum(['passed', 'failed', 'aborted']),
    reasons: z.array(z.string()),
    accepted: z.int(),
    production: z
      .object({ known: z.int(), judged: z.int(), unfinished: z.int(), unread: z.int() })
      .nullable()
      .default(null),
    lost: ids,
    publishedTwice: ids,
    computedTwice: z.object({ lines: z.int(), tokens: z.int() }),
    rpoMs: z.number(),
    recovery: z.object({
      detect: span,
      decide: span,
      fence: span,
      redrive: span,
      firstResult: span,
      backlogCleared: span,
    }),
    objectives: z.array(
      z.object({ name: z.string(), wanted: z.string(), measured: z.string(), isMet: z.boolean(), evidence: ids }),
    ),
  }),
  checks: z.array(checkSchema),
  entries: z.array(entrySchema),
  samples: z.array(sampleSchema),
  batches: z.array(z.object({ batch: z.string(), home: z.string(), lines: z.int() })),
  /** The control log while it ran. */
  control: z.object({
    first: z.object({ epoch: z.int(), sha256: hash }),
    last: z.object({ epoch: z.int(), sha256: hash }),
    entries: z.array(
      z.object({ epoch: z.int(), at, actor: z.string(), reason: z.string(), changes: z.array(z.string()) }),
    ),
  }),
  /** SHA-256 of the drill's turn, which names that of the turn before. */
  turnSha256: hash,
  /** SHA-256 of the report of the turn before; `null` for the first. */
  previous: hash.nullable(),
  /** The drill file, as it was run. */
  file: z.json(),
  /** Keys in the journals of both clouds where everything stands. */
  evidence: ids,
});
export type DrillReport = z.infer<typeof drillReportSchema>;

/** The report as JUnit XML: a test for each objective and check, so that CI shows what was missed. */
export function junitOf(report: DrillReport): string {
  const { verdict, checks, title, drill } = report;
  const seconds = (report.endedAt - report.startedAt) / 1000;
  const cases = [
    ...(verdict.outcome === 'aborted'
      ? [{ name: 'ran to its end', isOk: false, says: verdict.reasons[0] ?? 'aborted' }]
      : []),
    ...verdict.objectives.map(({ name, wanted, measured, isMet, evidence }) => ({
      name: `objective ${name}`,
      isOk: isMet,
      says: `measured ${measured}, wanted ${wanted}${evidence.length === 0 ? '' : `: ${evidence.join(', ')}`}`,
    })),
    ...checks.map(({ when, name, value, wanted, isOk }) => ({
      name: `${when}: ${name}`,
      isOk,
      says: `was ${value}, wanted ${wanted}`,
    })),
  ];
  const failures = cases.filter(({ isOk }) => !isOk).length;
  const lines = cases.map(({ name, isOk, says }) =>
    isOk
      ? `    <testcase classname="${xml(drill)}" name="${xml(name)}"/>`
      : `    <testcase classname="${xml(drill)}" name="${xml(name)}"><failure message="${xml(says)}"/></testcase>`,
  );
  return [
    '<?xml version="1.0" encoding="UTF-8"?>',
    `<testsuites tests="${cases.length}" failures="${failures}">`,
    `  <testsuite name="${xml(title)}" tests="${cases.length}" failures="${failures}" time="${seconds}" timestamp="${new Date(report.startedAt).toISOString()}">`,
    ...lines,
    '  </testsuite>',
    '</testsuites>',
    '',
  ].join('\n');
}

/** No control character is XML, not even escaped. */
function xml(value: string): string {
  const entities: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' };
  return value.replace(/[&<>"]|\p{Cc}/gu, (one) => entities[one] ?? ' ');
}
