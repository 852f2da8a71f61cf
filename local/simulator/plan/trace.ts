import type { EpochMs } from '../../../shared/units.ts';
import { InputFileError } from '../yaml-file.ts';

/** Arrivals in the order of time, one request each; column by column, since there may be millions. */
export interface Trace {
  at: Float64Array;
  contextTokens: Int32Array;
  generatedTokens: Int32Array;
}

const columns = { at: 'TIMESTAMP', contextTokens: 'ContextTokens', generatedTokens: 'GeneratedTokens' } as const;
const rowsMax = 5_000_000;
const tokensMax = 10_000_000;
const timePattern = /^(\d{4})-(\d\d)-(\d\d)[ T](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(?:Z|\+00:00)?$/;

/**
 * Reads a trace of the form `TIMESTAMP,ContextTokens,GeneratedTokens`, as Azure publishes its own: times in UTC, columns
 * in any order and others beside them, rows in any order.
 * @source https://github.com/Azure/AzurePublicDataset/blob/master/AzureLLMInferenceDataset2023.md 2026-11
 * @throws InputFileError naming file, line, column, value and rule
 */
export function parseTrace(source: string, file: string): Trace {
  const fail = (line: number, key: string, value: string | undefined, rule: string) =>
    new InputFileError([
      { file, line, key, ...(value !== undefined && { value: JSON.stringify(value.slice(0, 80)) }), rule },
    ]);
  const rows = source.replace(/^\uFEFF/, '').split('\n');
  const header = rows[0]!
    .trim()
    .split(',')
    .map((name) => name.trim().toLowerCase());
  const place = (name: string) => {
    const at = header.indexOf(name.toLowerCase());
    if (at === -1)
      throw fail(1, name, rows[0]!.trim(), `is missing: the first line must name ${Object.values(columns).join(', ')}`);
    return at;
  };
  const [atColumn, contextColumn, generatedColumn] = [
    place(columns.at),
    place(columns.contextTokens),
    place(columns.generatedTokens),
  ];
  const taken: { at: EpochMs; context: number; generated: number }[] = [];
  for (let i = 1; i < rows.length; i++) {
    const row = rows[i]!.trim();
    if (row === '') continue;
    if (taken.length === rowsMax) throw fail(i + 1, '', undefined, `holds more than ${rowsMax} requests`);
    const cells = row.split(',').map((cell) => cell.trim());
    const tokens = (column: number, key: string, min: number) => {
      const value = Number(cells[column]);
      if (/^\d+$/.test(cells[column] ?? '') && value >= min && value <= tokensMax) return value;
      throw fail(i + 1, key, cells[column] ?? '', `must be a whole number from ${min} to ${tokensMax}`);
    };
    const at = timeOf(cells[atColumn] ?? '');
    if (at === undefined)
      throw fail(
        i + 1,
        columns.at,
        cells[atColumn] ?? '',
        "must be a time in UTC, such as '2023-11-16 18:15:46.6805900'",
      );
    taken.push({
      at,
      context: tokens(contextColumn, columns.contextTokens, 1),
      generated: tokens(generatedColumn, columns.generatedTokens, 0),
    });
  }
  if (taken.length === 0) throw fail(1, '', undefined, 'holds no request');
  taken.sort((a, b) => a.at - b.at);
  return {
    at: Float64Array.from(taken, ({ at }) => at),
    contextTokens: Int32Array.from(taken, ({ context }) => context),
    generatedTokens: Int32Array.from(taken, ({ generated }) => generated),
  };
}

function timeOf(text: string): EpochMs | undefined {
  const found = timePattern.exec(text);
  if (found === null) return undefined;
  const [year, month, day, hour, minute, second] = found.slice(1, 7).map(Number) as [
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  const at = Date.UTC(year, month - 1, day, hour, minute, second);
  // A 31st of June would quietly become a first of July.
  if (!new Date(at).toISOString().startsWith(`${found[1]}-${found[2]}-${found[3]}T${found[4]}:${found[5]}:${found[6]}`))
    return undefined;
  return at + Number(`0.${found[7] ?? '0'}`) * 1_000;
}

/** The trace `times` over, each beginning where the one before it ended, one mean gap later. */
export function repeated(trace: Trace, times: number): Trace {
  const rows = trace.at.length;
  const spanMs = trace.at[rows - 1]! - trace.at[0]!;
  const periodMs = spanMs + (rows > 1 ? spanMs / (rows - 1) : 60_000);
  const at = new Float64Array(rows * times);
  for (let i = 0; i < at.length; i++) at[i] = trace.at[i % rows]! + Math.floor(i / rows) * periodMs;
  const again = (column: Int32Array) => Int32Array.from({ length: rows * times }, (_, i) => column[i % rows]!);
  return { at, contextTokens: again(trace.contextTokens), generatedTokens: again(trace.generatedTokens) };
}
