/**
 * Calls that it takes to serve the same jobs in time, and jobs that came too late, under load traces in virtual time.
 * Goals: at least 6 × fewer than sending at once at 10 % load and 3.5 × at 50 %; at most 0.5 % late outside overload.
 *
 * The server takes 60 ms and 0.6 ms for each job, 10 % more or less, two calls at once, 2,048 jobs a call: about what an
 * embeddings API does. 100 % is what it serves in calls that take half of the deadline: the other half is for gathering.
 *
 * The constants of the rule were chosen by draws of the same kinds of load; what is reported comes from draws held out
 * then, the worst of them too, and from loads and servers of other kinds.
 */

import { seededRandom } from '../local/model-server/random.ts';
import { Coalescer } from '../shared/batching/coalescer.ts';
import { CostModel } from '../shared/batching/cost-model.ts';
import { median } from './rounds.ts';
import { lateByAnyRule } from './support/bound.ts';
import { bentoMl, clipper, fixedWindow, type Limits, proteus, type Rule, sendAtOnce } from './support/rules.ts';
import { table } from './support/table.ts';
import {
  azureTraces,
  backlogTrace,
  heldOutSeeds,
  otherTraces,
  syntheticTraces,
  type Trace,
  tuningSeeds,
} from './support/traces.ts';
import { VirtualClock } from './support/virtual-clock.ts';

const jobsMax = 2048;
const [baseMs, perJobMs] = [60, 0.6];
/** Calls at once, and by how much a call is off: the standard deviation of its logarithm. */
interface Kind {
  slots: number;
  noise: number;
}
const usual: Kind = { slots: 2, noise: 0.1 };
/** Others, to see whether the rule holds for more than the one that it was made by; no goal is set for them. */
const unusual: readonly Kind[] = [
  { slots: 1, noise: 0.1 },
  { slots: 4, noise: 0.1 },
  { slots: 8, noise: 0.1 },
  { slots: 2, noise: 0.2 },
  { slots: 8, noise: 0.2 },
];
const profile = (jobs: number) => baseMs + perJobMs * jobs;
/** One call in thirty thousand is as quick as this share of the mean: who misses even so was never to be in time. */
const quickest = Math.exp(-4 * usual.noise);
const fastest = { slots: usual.slots, jobsMax, baseMs: quickest * baseMs, perJobMs: quickest * perJobMs };
/** Of more late by any rule than this, a load is an overload. */
const lateMax = 0.005;

interface Outcome {
  calls: number;
  served: number;
  late: number;
}

/** A server with so many places; calls beyond them wait their turn. */
class Server {
  readonly outcome: Outcome = { calls: 0, served: 0, late: 0 };
  readonly #clock: VirtualClock;
  readonly #random: () => number;
  readonly #kind: Kind;
  #running = 0;

  constructor(clock: VirtualClock, seed: number, kind: Kind) {
    this.#clock = clock;
    this.#kind = kind;
    this.#random = seededRandom(seed);
  }

  get isFree(): boolean {
    return this.#running < this.#kind.slots;
  }

  get hasOnePlace(): boolean {
    return this.#running === this.#kind.slots - 1;
  }

  call(arrivals: readonly number[], deadlineMs: number, ended: (ms: number, isLate: boolean) => void): void {
    if (!this.isFree) throw new Error('a rule sends more at once than there are places');
    this.#running += 1;
    const gauss = Math.sqrt(-2 * Math.log(1 - this.#random())) * Math.cos(2 * Math.PI * this.#random());
    const ms = profile(arrivals.length) * Math.exp(this.#kind.noise * gauss);
    const end = this.#clock.now() + ms;
    this.#clock.at(end, () => {
      this.#running -= 1;
      const late = arrivals.filter((at) => at + deadlineMs < end).length;
      this.outcome.calls += 1;
      this.outcome.served += arrivals.length;
      this.outcome.late += late;
      ended(ms, late > 0);
    });
  }
}

async function runRule(trace: Trace, deadlineMs: number, rule: Rule, seed: number, kind = usual): Promise<Outcome> {
  const clock = new VirtualClock();
  const server = new Server(clock, seed, kind);
  const { arrivals } = trace;
  let [from, to] = [0, 0];
  let wakeAt = Number.POSITIVE_INFINITY;
  const ask = () => {
    while (to > from) {
      const now = clock.now();
      const seen = { now, waiting: to - from, oldestAt: arrivals[from]!, newestAt: arrivals[to - 1]! };
      const choice = rule.choose({ ...seen, isFree: server.isFree });
      if ('lookAt' in choice) {
        const at = Math.max(now, choice.lookAt);
        if (Number.isFinite(at) && (at < wakeAt || wakeAt <= now)) {
          wakeAt = at;
          clock.at(at, ask);
        }
        return;
      }
      const sent = [...arrivals.subarray(from, from + choice.send)];
      from += choice.send;
      server.call(sent, deadlineMs, (ms, isLate) => {
        rule.ended?.(sent.length, ms, now - sent[0]!, isLate);
        ask();
      });
    }
  };
  const arrive = () => {
    while (to < arrivals.length && arrivals[to]! <= clock.now()) to += 1;
    if (to < arrivals.length) clock.at(arrivals[to]!, arrive);
    ask();
  };
  clock.at(arrivals[0]!, arrive);
  await clock.run();
  return server.outcome;
}

/** The product itself, with nothing told but the deadlines. */
async function runOurs(trace: Trace, deadlineMs: number, seed: number, kind = usual): Promise<Outcome> {
  const clock = new VirtualClock();
  const server = new Server(clock, seed, kind);
  const cost = new CostModel();
  /** When calls under way should end, by what is known of them. */
  const ends = new Set<{ at: number }>();
  interface Job {
    at: number;
    items: number;
    weight: number;
    deadline: number;
  }
  const coalescer = new Coalescer<Job>({
    clock,
    itemsMax: jobsMax,
    weightMax: Number.POSITIVE_INFINITY,
    lingerMs: Number.POSITIVE_INFINITY,
    cost,
    mayStart: () => server.isFree,
    nextEndAt: () => (server.hasOnePlace ? Math.min(...[...ends].map(({ at }) => at)) : undefined),
    send(jobs) {
      const sent = jobs.slice(0, jobsMax).map(({ at }) => at);
      const end = { at: clock.now() + cost.expect(sent.length) };
      ends.add(end);
      server.call(sent, deadlineMs, (ms) => {
        ends.delete(end);
        cost.learn(sent.length, ms);
        coalescer.look();
      });
      return jobs.slice(jobsMax);
    },
  });
  const { arrivals } = trace;
  let next = 0;
  const arrive = () => {
    for (; next < arrivals.length && arrivals[next]! <= clock.now(); next++)
      coalescer.add({ at: arrivals[next]!, items: 1, weight: 0, deadline: arrivals[next]! + deadlineMs });
    if (next < arrivals.length) clock.at(arrivals[next]!, arrive);
  };
  clock.at(arrivals[0]!, arrive);
  await clock.run();
  return server.outcome;
}

/** `npm run bench calls` reports on draws that nothing was chosen by; `node bench/calls.ts tuning` is for choosing. */
const seeds: readonly number[] = process.argv[2] === 'tuning' ? tuningSeeds : heldOutSeeds;
console.log(`seeds: ${seeds.join(', ')} (${seeds === tuningSeeds ? 'for tuning' : 'held out'})`);
const rounded = (value: number) => (value < 10 ? value.toFixed(1) : value.toFixed(0));
const percent = (share: number) => (100 * share).toFixed(2);

/** Jobs a ms, in calls that take half of the deadline. */
function capacityOf(deadlineMs: number, { slots }: Kind): number {
  const largest = Math.min(jobsMax, Math.floor((deadlineMs / 2 - baseMs) / perJobMs));
  return (slots * largest) / profile(largest);
}

const missed: string[] = [];
for (const deadlineMs of [500, 5_000]) {
  const limits: Limits = { deadlineMs, jobsMax, profile };
  const capacity = capacityOf(deadlineMs, usual);
  const azure = azureTraces(capacity);
  if (azure === undefined) console.log('../shared/data/azure-llm-trace-2023-conv.csv is not there: left out');
  const others = [(all: Limits) => fixedWindow(all, 50), clipper, bentoMl, proteus];
  const drawn = seeds.map((seed) => [
    ...syntheticTraces(capacity, 60_000, seed),
    ...otherTraces(capacity, 60_000, seed),
  ]);
  // One trace in each list, or the draws of one load; of a recorded trace, and of a backlog, the server alone is drawn.
  const loads = [
    ...drawn[0]!.map((_, i) => drawn.map((traces) => traces[i]!)),
    ...[backlogTrace(capacity), ...(azure ?? [])].map((trace) => seeds.slice(0, 2).map(() => trace)),
  ];
  const rows: string[][] = [];
  for (const draws of loads) {
    const { name } = draws[0]!;
    const fewer: number[] = [];
    const late: number[] = [];
    const lateAtOnce: number[] = [];
    const unavoidable: number[] = [];
    const cells: string[] = [];
    for (const [i, trace] of draws.entries()) {
      const atOnce = await runRule(trace, deadlineMs, sendAtOnce(limits), seeds[i]!);
      const ours = await runOurs(trace, deadlineMs, seeds[i]!);
      const outcomes = [atOnce];
      // The other rules are there to compare with: one draw is enough of them.
      if (i === 0) for (const make of others) outcomes.push(await runRule(trace, deadlineMs, make(limits), seeds[i]!));
      for (const { served } of [...outcomes, ours])
        if (served !== trace.arrivals.length) throw new Error(`${name}: not every job was served`);
      const cell = (one: Outcome) => `${one.calls} (${percent(one.late / one.served)} %)`;
      if (i === 0) cells.push(...outcomes.map(cell), cell(ours));
      fewer.push(atOnce.calls / ours.calls);
      late.push(ours.late / ours.served);
      lateAtOnce.push(atOnce.late / atOnce.served);
      unavoidable.push(lateByAnyRule(trace.arrivals, deadlineMs, fastest) / trace.arrivals.length);
    }
    const what = `${deadlineMs / 1000} s, ${name}`;
    const fewest = Math.min(...fewer);
    const inTime = late.filter((_, i) => unavoidable[i]! <= lateMax);
    const latest = Math.max(0, ...inTime);
    if (name === '10 %' && fewest < 6) missed.push(`${what}: ${rounded(fewest)} × fewer`);
    if (name === '50 %' && fewest < 3.5) missed.push(`${what}: ${rounded(fewest)} × fewer`);
    if (latest > lateMax) missed.push(`${what}: ${percent(latest)} % late`);
    const lateOf = (shares: number[]) => `${percent(median(shares))} / ${percent(Math.max(...shares))}`;
    const ratio = `${rounded(median(fewer))} / ${rounded(fewest)}`;
    rows.push([name, ...cells, ratio, lateOf(late), lateOf(lateAtOnce), lateOf(unavoidable)]);
  }
  console.log(
    `\ndeadline ${deadlineMs / 1000} s, 100 % is ${(capacity * 1000).toFixed(0)} jobs a second; calls (late) of one draw; median / worst of all`,
  );
  const names = [sendAtOnce, ...others].map((make) => make(limits).name);
  table(['load', ...names, 'ours', 'at once ÷ ours', 'ours late, %', 'at once late, %', 'by any rule, %'], rows);
}

console.log('\nother servers, 0.5 s: at once ÷ ours (ours late, at once late: % in the worst draw)');
const otherRows: string[][] = [];
for (const kind of unusual) {
  const row = [`${kind.slots} at once, ${100 * kind.noise} % off`];
  for (const load of ['10 %', '50 %', '75 %', '90 %', 'bursty']) {
    const [ratios, late, lateAtOnce]: number[][] = [[], [], []];
    for (const seed of seeds.slice(0, 5)) {
      const trace = syntheticTraces(capacityOf(500, kind), 60_000, seed).find(({ name }) => name === load)!;
      const atOnce = await runRule(trace, 500, sendAtOnce({ deadlineMs: 500, jobsMax, profile }), seed, kind);
      const ours = await runOurs(trace, 500, seed, kind);
      ratios!.push(atOnce.calls / ours.calls);
      late!.push(ours.late / ours.served);
      lateAtOnce!.push(atOnce.late / atOnce.served);
    }
    row.push(`${rounded(median(ratios!))} (${percent(Math.max(...late!))}, ${percent(Math.max(...lateAtOnce!))})`);
  }
  otherRows.push(row);
}
table(['server', '10 %', '50 %', '75 %', '90 %', 'bursty'], otherRows);
console.log('goals, in every draw: at once ÷ ours ≥ 6 at 10 %, ≥ 3.5 at 50 %; late ≤ 0.5 % but in an overload');
console.log(
  '(an overload: more than that would be late by any rule, one that knows all arrivals, with every call lucky)',
);
console.log(missed.length === 0 ? 'met' : `MISSED: ${missed.join('; ')}`);
process.exitCode = missed.length === 0 ? 0 : 1;
