import { type BatchView, readDispatches, viewBatch } from '../journal/batch.ts';
import { resultReader } from '../journal/choose.ts';
import { chosenRowSchema, type Dispatch, type ResultRow } from '../journal/facts.ts';
import { type Json, parseBoundedJson } from '../journal/json.ts';
import { fileContentKey, outputKey } from '../journal/keys.ts';
import { streamAnywhere } from '../journal/replicas.ts';
import { lineBytesMax } from '../limits.ts';
import type { SiteId } from '../ports/site.ts';
import type { EpochMs } from '../units.ts';
import { LineSplitter } from '../worker/input.ts';
import type { ApiCore } from './placement.ts';

/** The life of one line, from the facts alone. Moments are ISO 8601. Never holds a payload. */
export interface LineStory {
  batch: string;
  custom_id: string;
  /** 1-based, as errors of a batch count. */
  line: number;
  accepted: { at: string; site: SiteId; home: SiteId; epoch: number; receipt: string; file: string };
  chunk: { first_line: number; lines: number; offset: number; length: number } | null;
  dispatches: { at: string; from: SiteId; to: SiteId; epoch: number; reason: string }[];
  attempts: Attempt[];
  /** The result that was published, or that would be if the batch ended now; `null` where there is none. */
  result: { key: string; decided: boolean } | null;
  cancels: number;
  publication: { status: string; at: string; site: SiteId; epoch: number } | null;
  /** Sites that did not answer: what only they know is missing. */
  unseen: SiteId[];
}

interface Attempt {
  at: string;
  site: SiteId;
  epoch: number;
  /** Same in what a worker wrote when it began and when it ended. */
  attempt: string;
  key: string;
  /** `started` without a later outcome is a crash, or still runs. */
  outcome: 'started' | ResultRow['outcome'];
  /** What the model answered with, why the line failed, or why it is to be tried again. */
  detail: Record<string, string | number | boolean>;
}

/** Tells what became of one line; `undefined` for a batch that was not accepted, or a line it does not have. */
export async function explainLine(
  core: ApiCore,
  tenant: string,
  batch: string,
  customId: string,
): Promise<LineStory | undefined> {
  const view = await viewBatch(core, tenant, batch);
  if (view === undefined) return undefined;
  const line = await findLine(core, fileContentKey(tenant, view.acceptance.fileId), 'custom_id', customId);
  if (line === undefined) return undefined;
  const [dispatches, attempts] = await Promise.all([readDispatches(core, view), readAttempts(core, view, line.index)]);
  const chunk = view.plan?.chunks.find((one) => covers(one, line.index));
  const { acceptance, publication } = view;
  return {
    batch,
    custom_id: customId,
    line: line.index + 1,
    accepted: {
      at: iso(acceptance.at),
      site: acceptance.site,
      home: acceptance.home,
      epoch: acceptance.epoch,
      receipt: acceptance.receipt,
      file: acceptance.fileId,
    },
    chunk:
      chunk === undefined
        ? null
        : { first_line: chunk.firstLine + 1, lines: chunk.lines, offset: chunk.offset, length: chunk.length },
    dispatches: dispatches.filter((one) => reaches(one, line.index)).map(storyOf),
    attempts: attempts.toSorted((a, b) => (a.at < b.at ? -1 : 1)),
    result: await resultOf(core, view, line.index, attempts),
    cancels: view.cancelKeys.length,
    publication:
      publication === undefined
        ? null
        : {
            status: publication.status,
            at: iso(publication.endedAt),
            site: publication.site,
            epoch: publication.epoch,
          },
    unseen: view.unseen,
  };
}

function storyOf(dispatch: Dispatch): LineStory['dispatches'][number] {
  return { at: iso(dispatch.at), from: dispatch.site, to: dispatch.to, epoch: dispatch.epoch, reason: dispatch.reason };
}

/** Every attempt that covers the line, in the order in which results are chosen. */
async function readAttempts(core: ApiCore, view: BatchView, line: number): Promise<Attempt[]> {
  const read = resultReader(core);
  const attempts: Attempt[] = [];
  for (const { key } of view.results.filter((one) => covers(one, line))) {
    const object = await read(key);
    if (object === undefined) continue;
    const { at, site, epoch, attempt, start } = object.header;
    const row = object.rows.find((one) => one.line === line);
    if (row === undefined && !start) continue;
    attempts.push({
      at: iso(at),
      site,
      epoch,
      attempt,
      key,
      outcome: row?.outcome ?? 'started',
      detail: detailOf(row),
    });
  }
  return attempts;
}

function detailOf(row: ResultRow | undefined): Attempt['detail'] {
  switch (row?.outcome) {
    case undefined:
      return {};
    case 'answered':
      return {
        status: row.status,
        request_id: row.requestId,
        ...(row.servedBy.cloud && { cloud: row.servedBy.cloud }),
        backend: row.servedBy.backend,
        model: row.servedBy.model,
      };
    case 'failed':
      return { code: row.code };
    case 'retry':
      return { cause: row.cause, reason: row.reason.slice(0, 300), counts: row.counts };
  }
}

/** What was published stands in the list of chosen results; before, the first terminal attempt would win. */
async function resultOf(
  core: ApiCore,
  view: BatchView,
  line: number,
  attempts: readonly Attempt[],
): Promise<LineStory['result']> {
  const choice = view.publication?.choice;
  if (choice == null) {
    const first = attempts.find(({ outcome }) => outcome === 'answered' || outcome === 'failed');
    return first === undefined ? null : { key: first.key, decided: false };
  }
  const found = await findLine(core, outputKey(view.tenant, choice.sha256), 'line', line);
  const row = chosenRowSchema.safeParse(found?.value);
  return row.success && row.data.from !== null ? { key: row.data.from, decided: true } : null;
}

/** The first line of a JSONL object whose member `name` is `value`. */
async function findLine(
  core: ApiCore,
  key: string,
  name: string,
  value: string | number,
): Promise<{ index: number; value: Json } | undefined> {
  const stream = await streamAnywhere(core, key);
  if (stream === undefined) return undefined;
  let found: { index: number; value: Json } | undefined;
  const splitter = new LineSplitter(({ index, bytes }) => {
    if (found !== undefined || bytes === undefined) return;
    const json = parseBoundedJson(bytes, { bytesMax: lineBytesMax });
    if ('fault' in json || typeof json.value !== 'object' || json.value === null || Array.isArray(json.value)) return;
    if (json.value[name] === value) found = { index, value: json.value };
  });
  for await (const piece of stream.body) {
    splitter.push(piece);
    if (found !== undefined) return found;
  }
  splitter.finish();
  return found;
}

function reaches({ ranges }: Dispatch, line: number): boolean {
  return ranges.some(([firstLine, lines]) => covers({ firstLine, lines }, line));
}

function covers(range: { firstLine: number; lines: number }, line: number): boolean {
  return line >= range.firstLine && line < range.firstLine + range.lines;
}

function iso(at: EpochMs): string {
  return new Date(at).toISOString();
}
