import { jsonDepthMax, resultBytesMax } from '../limits.ts';
import {
  checkFact,
  type FactFault,
  factVersion,
  type ResultHeader,
  type ResultRow,
  resultHeaderSchema,
  resultRowSchema,
} from './facts.ts';
import { canonicalJson, parseBoundedJson } from './json.ts';
import { batchOfKey, parseResultKey, type ResultName, type WriteId } from './keys.ts';

/**
 * A row holds a model's whole answer one level down, and embeddings are long lists of numbers: an answer that was taken
 * from the model must be readable here, or its line could never end.
 */
const rowBounds = { bytesMax: resultBytesMax, depthMax: jsonDepthMax + 2, nodesMax: resultBytesMax };

/** What one attempt left behind. */
export interface ResultObject {
  header: ResultHeader;
  rows: ResultRow[];
}

/** A fresh result: header and rows in canonical JSON lines, and the name that its key is made of. */
export function resultBytes(
  by: WriteId & { batch: string; firstLine: number; lines: number; at: number; attempt: string; start?: boolean },
  rows: readonly ResultRow[],
): { name: ResultName; bytes: Uint8Array } {
  const header: ResultHeader = {
    v: factVersion,
    kind: 'result',
    batch: by.batch,
    site: by.site,
    epoch: by.epoch,
    uuid: by.uuid,
    firstLine: by.firstLine,
    lines: by.lines,
    rows: rows.length,
    at: by.at,
    attempt: by.attempt,
    start: by.start ?? false,
  };
  const answered = rows.filter((row) => row.outcome !== 'retry').length;
  const text = [header, ...rows].map((row) => `${canonicalJson(row)}\n`).join('');
  const name = { firstLine: by.firstLine, lines: by.lines, epoch: by.epoch, site: by.site, uuid: by.uuid, answered };
  return { name, bytes: Buffer.from(text, 'utf8') };
}

/**
 * Cuts the rows of one attempt where one object would grow too large to be read back, each part to be written under a
 * uuid of its own. Always at least one part.
 * @param bytesMax rows in one part, default 16 MiB: readers hold several objects at once
 */
export function splitRows(rows: readonly ResultRow[], bytesMax = 16 * 1024 * 1024): ResultRow[][] {
  const parts: ResultRow[][] = [[]];
  let bytes = 0;
  for (const row of rows) {
    const size = row.outcome === 'answered' ? Buffer.byteLength(JSON.stringify(row.body)) : 0;
    if (bytes + size > bytesMax && parts.at(-1)!.length > 0) {
      parts.push([]);
      bytes = 0;
    }
    parts.at(-1)!.push(row);
    bytes += size;
  }
  return parts;
}

/**
 * Parses a result object and holds it against its key: a torn, foreign or tampered one is a fault as a whole, since
 * half of an attempt could answer a line that its other half answers differently. Never throws.
 */
export function parseResult(key: string, bytes: Uint8Array): ResultObject | FactFault {
  const name = parseResultKey(key);
  if (name === undefined) return { fault: 'invalid', detail: 'the key is not one of a result' };
  if (bytes.byteLength > resultBytesMax) return { fault: 'oversized', detail: `${bytes.byteLength} bytes` };
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let header: ResultHeader | undefined;
  const rows: ResultRow[] = [];
  const seen = new Set<number>();
  for (let from = 0; from < buffer.length; ) {
    const end = buffer.indexOf(10, from);
    if (end === -1) return { fault: 'torn', detail: `no line end after byte ${from}` };
    const json = parseBoundedJson(buffer.subarray(from, end), rowBounds);
    from = end + 1;
    if ('fault' in json) return json;
    if (header === undefined) {
      const parsed = checkFact(resultHeaderSchema, json.value);
      if ('fault' in parsed) return parsed;
      header = parsed.fact;
      if (header.batch !== batchOfKey(key)?.batch)
        return { fault: 'invalid', detail: `a result of another batch, ${header.batch}` };
      if (!sameName(header, name)) return { fault: 'invalid', detail: 'header and key name different writes' };
      continue;
    }
    const parsed = checkFact(resultRowSchema, json.value);
    if ('fault' in parsed) return parsed;
    const row = parsed.fact;
    if (row.line < name.firstLine || row.line >= name.firstLine + name.lines)
      return { fault: 'invalid', detail: `line ${row.line} is outside the lines that the key names` };
    if (seen.has(row.line)) return { fault: 'invalid', detail: `two outcomes for line ${row.line}` };
    seen.add(row.line);
    rows.push(row);
  }
  if (header === undefined) return { fault: 'torn', detail: 'empty' };
  if (header.rows !== rows.length)
    return { fault: 'torn', detail: `${rows.length} rows, the header counts ${header.rows}` };
  if (rows.filter((row) => row.outcome !== 'retry').length !== name.answered)
    return { fault: 'invalid', detail: 'the key counts other answers' };
  return { header, rows };
}

function sameName(header: ResultHeader, name: ResultName): boolean {
  return (
    header.epoch === name.epoch &&
    header.site === name.site &&
    header.uuid === name.uuid &&
    header.firstLine === name.firstLine &&
    header.lines === name.lines
  );
}
