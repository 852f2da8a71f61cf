/**
 * Planning against bare `JSON.parse` over the same lines, and the memory that planning a 200 MB file takes.
 * Goal (DESIGN.md section 13): at least half the speed, flat memory.
 */
import { existsSync, readFileSync } from 'node:fs';
import { PlanBuilder } from '../shared/worker/plan.ts';
import { median, medianRatio, rounds } from './rounds.ts';

const lines = 50_000;
const sample = 'shared/data/gsm8k-chat.jsonl';
const path = [`../${sample}`, `${import.meta.dirname}/../../${sample}`].find((candidate) => existsSync(candidate));
const texts =
  path === undefined
    ? ['A passage of some length, as a person might send it, with numbers like 12 and 345 in it.']
    : readFileSync(path, 'utf8')
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line).body.messages[1].content as string);

function makeLines(repeat: number): string[] {
  return Array.from({ length: lines }, (_, i) => {
    const content = texts[i % texts.length]!.repeat(repeat);
    const body = { model: 'm', messages: [{ role: 'user', content }], max_tokens: 400 };
    return JSON.stringify({ custom_id: `request-${i}`, method: 'POST', url: '/v1/chat/completions', body });
  });
}

function plan(pieces: Iterable<Uint8Array>): number {
  const builder = new PlanBuilder({
    batch: `batch_${'0'.repeat(32)}`,
    inputSha256: '0'.repeat(64),
    endpoint: '/v1/chat/completions',
    limits: { linesMax: 50, tokensMax: 100_000, bytesMax: 4 * 1024 * 1024 },
    knowsModel: () => true,
  });
  for (const piece of pieces) builder.push(piece);
  const made = builder.finish();
  if (made.errors.length > 0) throw new Error(`the benchmark's own file is refused: ${made.errors[0]!.message}`);
  return made.lines;
}

function* pieces(file: Buffer): Generator<Uint8Array> {
  for (let from = 0; from < file.length; from += 65_536) yield file.subarray(from, from + 65_536);
}

let isMet = true;
for (const repeat of [1, 15]) {
  const made = makeLines(repeat);
  const file = Buffer.from(`${made.join('\n')}\n`);
  const slices: Buffer[] = [];
  for (let from = 0; from < file.length; ) {
    const end = file.indexOf(10, from);
    slices.push(file.subarray(from, end));
    from = end + 1;
  }
  let parsed = 0;
  const times = rounds(7, {
    parse: () => {
      parsed = 0;
      for (const slice of slices) parsed += JSON.parse(slice.toString('utf8')) === null ? 0 : 1;
    },
    plan: () => {
      if (plan(pieces(file)) !== parsed) throw new Error('not the same lines');
    },
  });
  const ratio = medianRatio(times.plan!, times.parse!);
  isMet &&= ratio <= 2;
  const mb = file.length / 1e6;
  console.log(
    `${mb.toFixed(0)} MB, ${lines} lines: JSON.parse ${median(times.parse!).toFixed(0)} ms, plan ${median(times.plan!).toFixed(0)} ms, ratio ${ratio.toFixed(2)} (goal ≤ 2)`,
  );
}

// Memory: the lines come from a generator, so nothing but the planner holds any of them.
function* streamed(): Generator<Uint8Array> {
  const content = texts[0]!.repeat(14);
  for (let i = 0; i < lines; i++) {
    const body = { model: 'm', messages: [{ role: 'user', content }] };
    yield Buffer.from(
      `${JSON.stringify({ custom_id: `r-${i}`, method: 'POST', url: '/v1/chat/completions', body })}\n`,
    );
  }
}
globalThis.gc?.();
const before = process.memoryUsage().rss;
let peak = before;
const watched = function* () {
  let i = 0;
  for (const piece of streamed()) {
    if (i++ % 500 === 0) peak = Math.max(peak, process.memoryUsage().rss);
    yield piece;
  }
};
plan(watched());
const growthMb = (peak - before) / 1e6;
isMet &&= growthMb < 150;
console.log(`memory: ${growthMb.toFixed(0)} MB more at the peak of planning 50,000 streamed lines (goal < 150)`);
process.exitCode = isMet ? 0 : 1;
