import type { BatchObject } from '../../client/index.ts';
import { answeredIn, size } from '../describe.ts';
import { isFlawless, type Judgement, type Published } from '../judge.ts';
import { type Styles, type Text, table, text } from '../text.ts';
import type { Takeover } from './outage.ts';
import { clouds, seconds } from './run.ts';

/** What the demo came to. */
export interface Outcome {
  verdict: Judgement;
  batches: BatchObject[];
  /** Lines computed more than once. */
  repeats: number;
  files: number;
  workMs: number;
  /** Absent where no cloud was killed. */
  takeover?: Takeover;
  returnMs?: number;
}

/** True if everything is as promised. */
export const isWell = ({ verdict, takeover }: Outcome): boolean =>
  isFlawless(verdict) && (takeover === undefined || takeover.fencedMs !== null);

/** One line for each thing that was checked. */
export function checkLines(verdict: Judgement, published: readonly Published[], { green, red }: Styles): Text[] {
  const check = (what: string, found: readonly string[]) =>
    found.length === 0
      ? text`  ${green('✓')} ${what}`
      : text`  ${red('✗')} ${what}: not so for ${found.length}, such as ${found.slice(0, 3).join(', ')}`;
  const outputs = published.filter(({ cloud }) => cloud === clouds[0]);
  const bytes = outputs.reduce((sum, { content }) => sum + content.length, 0);
  return [
    check('every custom_id is published', verdict.lost),
    check('none is published twice', verdict.publishedTwice),
    check('nothing is published that was not asked for', verdict.strange),
    check(`both clouds give the same ${outputs.length} files (${size(bytes)}), by SHA-256`, verdict.different),
    check('every answer fits its question', verdict.implausible),
  ];
}

/** For programs. */
export function report(outcome: Outcome, bootMs: number, totalMs: number) {
  const { verdict, batches, repeats, files, workMs, takeover, returnMs } = outcome;
  const { accepted, answered, failed, lost, publishedTwice, strange, different, implausible } = verdict;
  const ms = (value: number | null | undefined) => (value == null ? null : Math.round(value));
  return {
    ok: isWell(outcome),
    batches: batches.map(({ id, status, holdfast: { home, receipt, answered_by } }) => ({
      id,
      status,
      home,
      receipt,
      answered_by,
    })),
    accepted,
    answered,
    failed,
    lost: lost.length,
    published_twice: publishedTwice.length,
    computed_twice: repeats,
    strange: strange.length,
    different_files: different.length,
    implausible: implausible.length,
    files,
    outage:
      takeover === undefined
        ? null
        : {
            site: takeover.victim,
            open_lines: takeover.openLines,
            detected_ms: ms(takeover.detectedMs),
            fenced_ms: ms(takeover.fencedMs),
            rto_ms: ms(takeover.rtoMs),
            return_ms: ms(returnMs),
          },
    boot_ms: Math.round(bootMs),
    work_ms: Math.round(workMs),
    total_ms: Math.round(totalMs),
  };
}

/** For people. */
export function outcomeLines(outcome: Outcome, totalMs: number, styles: Styles): Text[] {
  const { verdict, batches, repeats, workMs, takeover, returnMs } = outcome;
  const { accepted, answered, failed, lost, publishedTwice } = verdict;
  const zero = (count: number) => (count === 0 ? styles.green('0') : styles.red(`${count}`));
  const share = clouds.map((cloud) => `${cloud} ${batches.reduce((sum, batch) => sum + answeredIn(batch, cloud), 0)}`);
  const after = (ms: number | null | undefined) => (ms == null ? 'not seen' : seconds(ms));
  const rows = table([
    ['  accepted', text`${accepted}`, `in ${batches.length} batches`],
    ['  answered', text`${answered}`, share.join(', ')],
    ['  failed', zero(failed), ''],
    ['  lost', zero(lost.length), ''],
    ['  published twice', zero(publishedTwice.length), ''],
    ['  computed twice', text`${repeats}`, 'allowed around a failover, and counted'],
    ...(takeover === undefined
      ? []
      : [
          [
            '  RTO',
            after(takeover.rtoMs),
            `from the kill of ${takeover.victim} to the first redriven result (noticed after ${after(takeover.detectedMs)}, fenced after ${after(takeover.fencedMs)})`,
          ],
          ['  return', after(returnMs), `from the start of ${takeover.victim} to all of its weight`],
        ]),
    ['  time', seconds(totalMs), `${seconds(workMs)} from the first upload to the last result`],
  ]);
  const end = isWell(outcome)
    ? styles.green('  All is well. Next: npm start, then npx holdfast submit examples/chat.jsonl --wait')
    : styles.red('  Something is wrong; see above.');
  return [...rows, text``, end];
}
