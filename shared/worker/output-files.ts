import { createHash } from 'node:crypto';
import { type ChosenLine, chosenRows, type ReadResult, type WrittenRow } from '../journal/choose.ts';
import type { Publication, PublishedFile, TerminalRow, Usage } from '../journal/facts.ts';
import { noUsage } from '../journal/facts.ts';
import { canonicalJson, sha256 } from '../journal/json.ts';

/** The three files that a publication names. */
export const outputKinds = ['output', 'errorFile', 'choice'] as const;
export type OutputFileKind = (typeof outputKinds)[number];

/** Why lines without a result end now. Texts as OpenAI's guide shows them. @source OPENAI_BATCH.md section 5 */
export const unfinishedErrors = {
  expired: {
    code: 'batch_expired',
    message: 'This request could not be executed before the completion window expired.',
  },
  cancelled: { code: 'batch_cancelled', message: 'This request was not executed: the batch was cancelled.' },
} as const;

/** Everything that the bytes of the files depend on; two publishers with equal facts make equal files. */
export interface OutputSource {
  batch: string;
  /** `custom_id` of every accepted line, by line. */
  customIds: readonly string[];
  chosen: readonly ChosenLine[];
  /** Error of the lines that nobody answered; absent where all are. */
  unfinished?: (typeof unfinishedErrors)[keyof typeof unfinishedErrors];
  read: ReadResult;
}

interface OutputPiece {
  kind: OutputFileKind;
  text: string;
}

/** What a publication says of its files, and their bytes. */
export interface OutputFiles {
  counts: Publication['counts'];
  usage: Usage;
  files: Record<OutputFileKind, PublishedFile>;
  /** The bytes of one file, each time from the start: from memory, or by another pass over the facts. */
  open(kind: OutputFileKind): AsyncIterable<Uint8Array>;
}

/**
 * Builds the files in one pass that holds a few result objects at a time. Files of together at most `heldBytesMax`
 * (default 32 MiB) are kept; larger ones are made anew whenever they are opened, which is safe because they are a pure
 * function of `source`.
 */
export async function buildOutputs(source: OutputSource, heldBytesMax = 32 * 1024 * 1024): Promise<OutputFiles> {
  const hashes = { output: createHash('sha256'), errorFile: createHash('sha256'), choice: createHash('sha256') };
  const bytes = { output: 0, errorFile: 0, choice: 0 };
  const counts = { total: source.customIds.length, completed: 0, failed: 0 };
  const usage = { ...noUsage };
  let held: Record<OutputFileKind, Buffer[]> | undefined = { output: [], errorFile: [], choice: [] };
  for await (const { kind, text, row } of outputPieces(source)) {
    const piece = Buffer.from(text, 'utf8');
    hashes[kind].update(piece);
    bytes[kind] += piece.length;
    held?.[kind].push(piece);
    if (bytes.output + bytes.errorFile + bytes.choice > heldBytesMax) held = undefined;
    if (kind === 'output') counts.completed += 1;
    if (kind === 'errorFile') counts.failed += 1;
    if (kind === 'choice' && row?.outcome === 'answered') addUsage(usage, row.usage);
  }
  const file = (kind: OutputFileKind) => ({ sha256: hashes[kind].digest('hex'), bytes: bytes[kind] });
  return {
    counts,
    usage,
    files: { output: file('output'), errorFile: file('errorFile'), choice: file('choice') },
    open: (kind) => (held === undefined ? outputBytes(source, kind) : joined(held[kind])),
  };
}

/** In pieces of about 256 KiB: a store is given few large writes, not one a line. */
async function* joined(pieces: Iterable<Buffer> | AsyncIterable<Buffer>): AsyncGenerator<Uint8Array> {
  let held: Buffer[] = [];
  let length = 0;
  for await (const piece of pieces) {
    held.push(piece);
    length += piece.length;
    if (length < 256 * 1024) continue;
    yield Buffer.concat(held);
    held = [];
    length = 0;
  }
  if (length > 0) yield Buffer.concat(held);
}

function outputBytes(source: OutputSource, kind: OutputFileKind): AsyncIterable<Uint8Array> {
  const pieces = async function* () {
    for await (const piece of outputPieces(source)) if (piece.kind === kind) yield Buffer.from(piece.text, 'utf8');
  };
  return joined(pieces());
}

/** Every line in input order: one line of the output or error file, and one of the choice. */
async function* outputPieces(source: OutputSource): AsyncGenerator<OutputPiece & { row?: TerminalRow }> {
  const rows = chosenRows(source.chosen, source.read);
  let next = 0;
  for (const [line, customId] of source.customIds.entries()) {
    const chosen = source.chosen[next];
    if (chosen === undefined || chosen.line !== line) {
      yield { kind: 'errorFile', text: outputLine(source.batch, customId, null, source.unfinished!) };
      yield { kind: 'choice', text: `${canonicalJson({ line, customId, from: null })}\n` };
      continue;
    }
    next += 1;
    const found = (await rows.next()).value as WrittenRow;
    yield rowPiece(source.batch, customId, found);
    yield {
      kind: 'choice',
      text: `${canonicalJson({ line, customId, from: chosen.from })}\n`,
      row: found.row,
    };
  }
}

function rowPiece(batch: string, customId: string, { row, by }: WrittenRow): OutputPiece {
  if (row.outcome === 'failed') {
    const error = { code: row.code, message: row.message };
    return { kind: 'errorFile', text: outputLine(batch, customId, null, error, by) };
  }
  const { cloud, backend, model } = row.servedBy;
  const provenance = { site: by.site, ...(cloud && { cloud }), backend, model, epoch: by.epoch, attempt: by.attempt };
  const response = { status_code: row.status, request_id: row.requestId, body: row.body };
  const isSuccess = row.status >= 200 && row.status < 300;
  return { kind: isSuccess ? 'output' : 'errorFile', text: outputLine(batch, customId, response, null, provenance) };
}

/**
 * One line of an output or error file, as OPENAI_BATCH.md sections 4 and 5 show it; its id is a hash, not a draw.
 * @param holdfast who answered, under a member of its own; a line that nobody answered has none
 */
function outputLine(
  batch: string,
  customId: string,
  response: object | null,
  error: object | null,
  holdfast?: object,
): string {
  const id = `batch_req_${sha256(`${batch}\n${customId}`).slice(0, 32)}`;
  return `${JSON.stringify({ id, custom_id: customId, response, error, ...(holdfast && { holdfast }) })}\n`;
}

function addUsage(sum: Usage, usage: Usage): void {
  sum.inputTokens += usage.inputTokens;
  sum.cachedTokens += usage.cachedTokens;
  sum.outputTokens += usage.outputTokens;
  sum.reasoningTokens += usage.reasoningTokens;
}
