import { jsonLine, type Styles, stylesFor, type Text, text } from './text.ts';

/** Where a stream of text goes. */
export interface Sink {
  write(chunk: string): unknown;
  isTTY?: boolean;
  columns?: number;
}

/** Everything a command touches of the process it runs in. */
export interface Io {
  /** What was asked for. */
  stdout: Sink;
  /** Everything said besides: progress, notes, errors. */
  stderr: Sink;
  env: Record<string, string | undefined>;
  /** Aborted by Ctrl-C or SIGTERM. */
  signal: AbortSignal;
}

/** Prints for people, or for programs: under `--json` only `result` reaches stdout. */
export class Printer {
  readonly io: Io;
  readonly isJson: boolean;
  /** For what stands on stdout. */
  readonly styles: Styles;
  /** For what stands on stderr. */
  readonly noteStyles: Styles;

  constructor(io: Io, isJson: boolean) {
    this.io = io;
    this.isJson = isJson;
    this.styles = stylesFor(hasColors(io.stdout, io.env));
    this.noteStyles = stylesFor(hasColors(io.stderr, io.env));
  }

  /** The answer: `value` as one line of JSON, or `lines`. */
  result(value: unknown, lines: () => readonly Text[]): void {
    for (const line of this.isJson ? [jsonLine(value)] : lines()) this.io.stdout.write(`${line}\n`);
  }

  /** A line on stdout, for people only. */
  say(line: Text = text``): void {
    if (!this.isJson) this.io.stdout.write(`${line}\n`);
  }

  /** A line on stderr. */
  note(line: Text): void {
    this.io.stderr.write(`${line}\n`);
  }

  warn(line: Text): void {
    this.note(text`${this.noteStyles.yellow('!')} ${line}`);
  }
}

/** As https://no-color.org asks; `FORCE_COLOR` turns them on without a terminal. */
export function hasColors(sink: Sink, env: Io['env']): boolean {
  if ((env.NO_COLOR ?? '') !== '') return false;
  return (env.FORCE_COLOR ?? '') !== '' || (sink.isTTY === true && env.TERM !== 'dumb');
}
