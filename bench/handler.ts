/**
 * What a handler adds to the work on SQS records that it settles one by one, against powertools, middy, and the plain
 * `Promise.allSettled` that anybody would write: each parses the body, does the same, and names what failed.
 * Goals: ≥ 1.6 × faster than powertools, ≤ 1.05 × the plain floor.
 *
 * Ours is the handler that is deployed, around work that does next to nothing. It also gives each message that failed
 * back, by a call of the queue, so that it comes again when it should and not when its visibility ends; the others only
 * name it. So there are two tables: each as it comes (ours does more, and the goals hold there), and each with the same
 * call. The call itself is nobody's here: it answers at once. `bare` has no handler at all: what it takes, the work itself
 * and the making of errors, nobody can save, and the last ratio is that of what powertools and ours take above it.
 *
 * Processor time is counted, of all threads of the process, the collector's too; each sample begins with an
 * empty young generation. (Not with a whole collection: that also throws compiled code away whose objects have all died.)
 * Bytes are counted in a process of its own whose young generation is so large that nothing is collected.
 */
import { execFileSync } from 'node:child_process';
import type { SQSBatchResponse } from 'aws-lambda';
import { median, medianRatio, roundsAsync } from './rounds.ts';
import { allGivingBack, asTheyCome, calls, eventOf, type Handler } from './support/handlers.ts';
import { table } from './support/table.ts';

/** Records handled in each sample, in as many events as that makes. */
const recordsPerSample = 10_000;
const roundsOfRow = 21;

const ids = ({ batchItemFailures }: SQSBatchResponse) =>
  JSON.stringify(batchItemFailures.map(({ itemIdentifier }) => itemIdentifier).sort());

/** Bytes that each handler allocates for a record, by name. */
function bytesOf(count: number, failing: number, which: string): Record<string, number> {
  const flags = ['--expose-gc', '--min-semi-space-size=512', '--max-semi-space-size=512'];
  const script = `${import.meta.dirname}/support/handler-bytes.ts`;
  return JSON.parse(
    execFileSync(process.execPath, [...flags, script, String(count), String(failing), which], { encoding: 'utf8' }),
  );
}

async function rowOf(count: number, failing: number, rivals: Record<string, Handler>) {
  const event = eventOf(count, failing);
  const expected = ids(await rivals.plain!(event));
  const givenBack: Record<string, number> = {};
  for (const [name, run] of Object.entries(rivals)) {
    calls.giveBack = 0;
    if (ids((await run(event)) ?? { batchItemFailures: [] }) !== expected)
      throw new Error(`${name}: not the same failures`);
    givenBack[name] = calls.giveBack;
  }
  const repeat = Math.max(1, Math.round(recordsPerSample / count));
  const repeated = Object.fromEntries(
    Object.entries(rivals).map(([name, run]) => [
      name,
      async () => {
        for (let i = 0; i < repeat; i++) await run(event);
      },
    ]),
  );
  const times = await roundsAsync(roundsOfRow, repeated, () => gc!({ type: 'minor' }));
  const toPlain = medianRatio(times.ours!, times.plain!);
  const toPowertools = medianRatio(times.powertools!, times.ours!);
  const names = Object.keys(rivals);
  const aboveBare = (name: string) => times[name]!.map((ms, i) => ms - times.bare![i]!);
  const row = [
    `${count}, ${failing} %`,
    ((median(times.plain!) * 1e6) / (count * repeat)).toFixed(0),
    toPlain.toFixed(2),
    ...['powertools', 'middy', 'bare'].map((name) => medianRatio(times[name]!, times.plain!).toFixed(2)),
    toPowertools.toFixed(2),
    medianRatio(aboveBare('powertools'), aboveBare('ours')).toFixed(1),
    names.map((name) => givenBack[name]).join(' / '),
  ];
  return { row, isMet: toPlain <= 1.05 && toPowertools >= 1.6 };
}

const heads = [
  'records, failing',
  'plain ns each',
  'ours ÷ plain',
  'powertools ÷ plain',
  'middy ÷ plain',
  'bare ÷ plain',
  'powertools ÷ ours',
  'both above bare',
  'giving back: bare / plain / ours / powertools / middy',
];
const goals = 'goals: ours ÷ plain ≤ 1.05, powertools ÷ ours ≥ 1.6:';
for (const [title, rivals, which, shares] of [
  ['each as it comes: only ours gives back what failed', asTheyCome, 'asTheyCome', [0, 5, 100]],
  ['each gives back what failed', allGivingBack, 'allGivingBack', [5, 100]],
] as const) {
  const rows: string[][] = [];
  const missed: string[] = [];
  for (const count of [10, 100, 1_000, 10_000])
    for (const failing of shares) {
      const { row, isMet } = await rowOf(count, failing, rivals);
      rows.push(row);
      if (!isMet) missed.push(row[0]!);
    }
  console.log(`\n${title}`);
  table(heads, rows);
  console.log(`${goals} ${missed.length === 0 ? 'met' : `MISSED at ${missed.join('; ')}`}`);
  if (missed.length > 0) process.exitCode = 1;
  const names = Object.keys(rivals);
  console.log('bytes allocated for each record');
  table(
    ['records, failing', ...names],
    shares.map((failing) => {
      const bytes = bytesOf(10_000, failing, which);
      return [`10000, ${failing} %`, ...names.map((name) => bytes[name]!.toFixed(0))];
    }),
  );
}
