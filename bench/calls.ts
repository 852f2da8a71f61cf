/**
 * Calls that it takes to serve the same jobs in time, and jobs that came too late, under load traces in virtual time.
 * Goals: at least 6 × fewer than sending at once at 10 % load and 3.5 × at 50 %; at most 0.5 % late outside overload.
 *
 * The server takes 60 ms and 0.6 ms for each job, 10 % more or less, two calls at once, 2,048 jobs a call: about what an
 * embeddings API does. 100 % is what it serves in calls that take half of the deadline: the other half is for gathering.
 */

import { seededRandom } from '../local/model-server/random.ts';
import { Coalescer } from '../shared/batching/coalescer.ts';
import { CostModel } from '../shared/batching/cost-model.ts';
import { Occupancy } from '../shared/batching/occupancy.ts';
import { bentoMl, clipper, fixedWindow, type Limits, proteus, type Rule, sendAtOnce } from './support/rules.ts';
import { table } from './support/table.ts';
import { azureTraces, syntheticTraces, type Trace } from './support/traces.ts';
import { VirtualClock } from './support/virtual-clock.ts';

const jobsMax = 2048;
const slots = 2;
const profile = (jobs: number) => 60 + 0.6 * jobs;

interface Outcome {
  calls: number;
  served: number;
  late: number;
}

/** A server with so many places; calls beyond them wait their turn. */
class Server {
  readonly outcome: Outcome = { calls: 0, served: 0, late: 0 };
  readonly #clock: VirtualClock;
  readonly #random = seededRandom(5);
  readonly occupancy = new Occupancy(0);
  #running = 0;

  constructor(clock: VirtualClock) {
    this.#clock = clock;
  }

  get isFree(): boolean {
    return this.#running < slots;
  }

  call(arrivals: readonly number[], deadlineMs: number, ended: (ms: number, isLate: boolean) => void): void {
    if (!this.isFree) throw new Error('a rule sends more at once than there are places');
    this.#running += 1;
    this.occupancy.note(this.#running, slots, this.#clock.now());
    const gauss = Math.sqrt(-2 * Math.log(1 - this.#random())) * Math.cos(2 * Math.PI * this.#random());
    const ms = profile(arrivals.length) * Math.exp(0.1 * gauss);
    const end = this.#clock.now() + ms;
    this.#clock.at(end, () => {
      this.#running -= 1;
      this.occupancy.note(this.#running, slots, end);
      const late = arrivals.filter((at) => at + deadlineMs < end).length;
      this.outcome.calls += 1;
      this.outcome.served += arrivals.length;
      this.outcome.late += late;
      ended(ms, late > 0);
    });
  }
}

async function runRule(trace: Trace, deadlineMs: number, rule: Rule): Promise<Outcome> {
  const clock = new VirtualClock();
  const server = new Server(clock);
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
async function runOurs(trace: Trace, deadlineMs: number): Promise<Outcome> {
  const clock = new VirtualClock();
  const server = new Server(clock);
  const cost = new CostModel();
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
    occupancy: () => server.occupancy.at(clock.now()),
    send(jobs) {
      const sent = jobs.slice(0, jobsMax).map(({ at }) => at);
      server.call(sent, deadlineMs, (ms) => {
        cost.learn(sent.length, ms, sent[0]! + deadlineMs - clock.now());
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

let isMet = true;
for (const deadlineMs of [500, 5_000]) {
  const limits: Limits = { deadlineMs, jobsMax, profile };
  const largest = Math.min(jobsMax, Math.floor((deadlineMs / 2 - profile(0)) / 0.6));
  const capacity = (slots * largest) / profile(largest);
  const azure = azureTraces(capacity);
  if (azure === undefined) console.log('../shared/data/azure-llm-trace-2023-conv.csv is not there: left out');
  const rules = [sendAtOnce, (all: Limits) => fixedWindow(all, 50), clipper, bentoMl, proteus];
  const rows: string[][] = [];
  for (const trace of [...syntheticTraces(capacity, 60_000), ...(azure ?? [])]) {
    const outcomes: Outcome[] = [];
    for (const make of rules) outcomes.push(await runRule(trace, deadlineMs, make(limits)));
    const ours = await runOurs(trace, deadlineMs);
    for (const { served } of [...outcomes, ours])
      if (served !== trace.arrivals.length) throw new Error(`${trace.name}: not every job was served`);
    const fewer = outcomes[0]!.calls / ours.calls;
    const lateShare = ours.late / ours.served;
    if (trace.name === '10 %') isMet &&= fewer >= 6;
    if (trace.name === '50 %') isMet &&= fewer >= 3.5;
    if (!trace.isOverload) isMet &&= lateShare <= 0.005;
    const cell = ({ calls, served, late }: Outcome) => `${calls} (${((100 * late) / served).toFixed(2)} %)`;
    rows.push([trace.name, String(trace.arrivals.length), ...outcomes.map(cell), cell(ours), fewer.toFixed(1)]);
  }
  console.log(
    `\ndeadline ${deadlineMs / 1000} s, 100 % is ${(capacity * 1000).toFixed(0)} jobs a second; calls (late)`,
  );
  const heads = ['load', 'jobs', ...rules.map((make) => make(limits).name), 'ours', 'at once ÷ ours'];
  table(heads, rows);
}
console.log(
  `goals: at once ÷ ours ≥ 6 at 10 %, ≥ 3.5 at 50 %; late ≤ 0.5 % but for backlog: ${isMet ? 'met' : 'MISSED'}`,
);
process.exitCode = isMet ? 0 : 1;
