import { type BatchObject, type CloudName, type HoldfastClient, hasEnded } from '../client/index.ts';
import { type ExitCode, exitCodes } from './exit.ts';
import type { Progress } from './progress.ts';
import { type Styles, type Text, text } from './text.ts';

/** A batch in one row: id, status, counts, receipt, home, age. */
export function batchRow(batch: BatchObject, styles: Styles, nowMs: number): (Text | string)[] {
  const { total, completed, failed } = batch.request_counts;
  const failures = failed > 0 ? text`, ${styles.red(`${failed} failed`)}` : text``;
  return [
    text`${batch.id}`,
    statusText(batch, styles),
    text`${completed}/${total}${failures}`,
    text`${batch.holdfast?.receipt ?? ''}`,
    text`home ${batch.holdfast?.home ?? '?'}`,
    text`${age(nowMs - batch.created_at * 1000)} ago`,
  ];
}

/** Everything a person wants to know of one batch. */
export function batchRows(batch: BatchObject, styles: Styles): [string, Text][] {
  const { total, completed, failed } = batch.request_counts;
  const { holdfast } = batch;
  const rows: [string, Text | null | undefined][] = [
    ['batch', styles.bold(batch.id)],
    ['status', statusText(batch, styles)],
    ['requests', text`${total} in all, ${completed} answered, ${failed} failed`],
    ['endpoint', text`${batch.endpoint}${batch.model === null ? '' : `, model ${batch.model}`}`],
    [
      'receipt',
      holdfast && text`${receiptWords[holdfast.receipt] ?? holdfast.receipt}, accepted by ${holdfast.accepted_by}`,
    ],
    ['home', holdfast && text`${holdfast.home}`],
    ['answered by', holdfast && Object.keys(holdfast.answered_by).length > 0 ? answeredBy(batch) : null],
    ['protected', holdfast?.unprotected === true ? styles.yellow('no: only one cloud serves its model') : null],
    ['computed twice', holdfast?.repeats != null ? text`${holdfast.repeats}` : null],
    ['created', moment(batch.created_at)],
    ['ends by', hasEnded(batch) ? null : moment(batch.expires_at)],
    ['ended', moment(endedAt(batch))],
    ['input file', text`${batch.input_file_id}`],
    ['output file', batch.output_file_id === null ? null : text`${batch.output_file_id}`],
    ['error file', batch.error_file_id === null ? null : text`${batch.error_file_id}`],
    ['metadata', batch.metadata === null ? null : text`${JSON.stringify(batch.metadata)}`],
  ];
  return rows.filter((row): row is [string, Text] => row[1] != null);
}

const receiptWords: Record<string, string> = {
  dual: 'dual (durable in both clouds)',
  single: 'single (durable in one cloud so far)',
  'single-by-policy': 'single-by-policy (bound to one cloud)',
};

function answeredBy(batch: BatchObject): Text {
  const parts = Object.entries(batch.holdfast.answered_by).map(([site, lines]) => `${site} ${lines}`);
  return text`${parts.join(', ')}`;
}

export function statusText({ status, request_counts: { failed } }: BatchObject, styles: Styles): Text {
  if (status === 'completed') return failed > 0 ? styles.yellow(status) : styles.green(status);
  return status === 'failed' || status === 'expired' || status === 'cancelled'
    ? styles.red(status)
    : styles.cyan(status);
}

/** Validation errors of a `failed` batch, the first of them. */
export function errorLines(batch: BatchObject, most = 20): Text[] {
  const errors = batch.errors?.data ?? [];
  const shown = errors.slice(0, most).map(({ code, message, line, param }) => {
    const place = line === null ? '' : `line ${line}: `;
    return text`${place}${code}: ${message}${param === null ? '' : ` (${param})`}`;
  });
  return errors.length > most ? [...shown, text`… and ${errors.length - most} more`] : shown;
}

/** What the process answers with for a batch that has ended. */
export function verdictOf(batch: BatchObject): ExitCode {
  return batch.status === 'completed' && batch.request_counts.failed === 0 ? exitCodes.ok : exitCodes.no;
}

/** Waits for the end of a batch and shows what each cloud does of it. */
export async function followBatch(
  client: HoldfastClient,
  id: string,
  options: { progress: Progress; pollMs: number; signal: AbortSignal },
): Promise<BatchObject> {
  const { progress, pollMs, signal } = options;
  const tracks = new Map((['aws', 'azure'] as const).map((cloud) => [cloud, progress.track(cloud, 0)]));
  let isQuiet = false;
  return client.batches.wait(id, {
    pollMs,
    signal,
    onChange: (batch) => {
      isQuiet = false;
      for (const [cloud, track] of tracks)
        track.update(answeredIn(batch, cloud), batch.request_counts.total, batch.status);
    },
    onTrouble: (error) => {
      if (!isQuiet) progress.note(text`no cloud answers (${error.message}); still waiting`);
      isQuiet = true;
    },
  });
}

/** Lines of a batch that one cloud has answered. */
export function answeredIn(batch: BatchObject, cloud: CloudName): number {
  return batch.holdfast?.answered_by?.[cloud] ?? 0;
}

function endedAt(batch: BatchObject): number | null {
  return batch.completed_at ?? batch.failed_at ?? batch.expired_at ?? batch.cancelled_at;
}

function moment(seconds: number | null): Text | null {
  return seconds === null ? null : text`${new Date(seconds * 1000).toISOString().replace('.000Z', 'Z')}`;
}

/** A span in the largest unit that leaves a number above one: `42 s`, `3 min`, `2 h`, `5 d`. */
export function age(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)} min`;
  return seconds < 172_800 ? `${Math.floor(seconds / 3600)} h` : `${Math.floor(seconds / 86_400)} d`;
}

/** `4.2 MB`, as stores and networks count. */
export function size(bytes: number): string {
  if (bytes < 1000) return `${bytes} B`;
  const units = ['kB', 'MB', 'GB'];
  let value = bytes / 1000;
  let unit = 0;
  for (; value >= 1000 && unit < units.length - 1; unit++) value /= 1000;
  return `${value.toFixed(1)} ${units[unit]}`;
}
