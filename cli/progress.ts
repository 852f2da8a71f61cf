import cliProgress from 'cli-progress';
import type { Io } from './io.ts';
import { plain, type Text, text } from './text.ts';

/** One thing that is being counted. */
export interface Track {
  /** `note` stands behind the numbers. */
  update(value: number, total?: number, note?: string): void;
}

export interface Progress {
  track(name: string, total: number): Track;
  /** A line above the bars. */
  note(line: Text): void;
  /** Leaves the last state standing. */
  stop(): void;
}

/** Off a terminal a line is printed at most this often for each track, and once at its end. */
const lineEveryMs = 2_000;

/** Bars on a terminal, plain lines elsewhere; both on stderr, so that stdout stays the answer. */
export function createProgress(io: Pick<Io, 'stderr' | 'env'>, now: () => number = Date.now): Progress {
  return io.stderr.isTTY === true && io.env.TERM !== 'dumb' ? bars(io.stderr) : lines(io.stderr, now);
}

function bars(sink: Io['stderr']): Progress {
  // Made with the first bar: without one it would still move the cursor.
  let multi: cliProgress.MultiBar | undefined;
  return {
    track(name, total) {
      multi ??= newBars(sink);
      const bar = multi.create(Math.max(total, 1), 0, { name: plain(name).padEnd(8), note: '' });
      return {
        update(value, newTotal, note) {
          if (newTotal !== undefined && newTotal > 0) bar.setTotal(newTotal);
          bar.update(value, note === undefined ? {} : { note: plain(note) });
        },
      };
    },
    note(line) {
      if (multi === undefined) sink.write(`${line}\n`);
      else multi.log(`${line}\n`);
    },
    stop: () => multi?.stop(),
  };
}

function newBars(sink: Io['stderr']): cliProgress.MultiBar {
  return new cliProgress.MultiBar(
    {
      format: '  {name} {bar} {value}/{total} {note}',
      barCompleteChar: '█',
      barIncompleteChar: '░',
      barsize: 28,
      hideCursor: true,
      linewrap: false,
      gracefulExit: false,
      stream: sink as NodeJS.WritableStream,
    },
    cliProgress.Presets.rect,
  );
}

function lines(sink: Io['stderr'], now: () => number): Progress {
  const pending = new Map<string, () => void>();
  return {
    track(name, firstTotal) {
      let total = firstTotal;
      let shown = { value: 0, note: '', at: Number.NEGATIVE_INFINITY };
      let latest = { value: 0, note: '' };
      const print = () => {
        if (latest.value === 0 || (latest.value === shown.value && latest.note === shown.note)) return;
        shown = { ...latest, at: now() };
        sink.write(`${text`  ${name} ${latest.value}/${total} ${latest.note}`.value.trimEnd()}\n`);
      };
      pending.set(name, print);
      return {
        update(value, newTotal, note) {
          total = newTotal !== undefined && newTotal > 0 ? newTotal : total;
          latest = { value, note: note ?? latest.note };
          if (now() - shown.at >= lineEveryMs || (value === total && value > 0)) print();
        },
      };
    },
    note: (line) => void sink.write(`${line}\n`),
    stop() {
      for (const print of pending.values()) print();
    },
  };
}
