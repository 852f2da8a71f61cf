import { usageOf } from '../inference/answer.ts';
import type { Endpoint, ResultRow, ServedBy } from '../journal/facts.ts';
import type { Clock } from '../ports/clock.ts';
import type { Log } from '../ports/log.ts';
import type { Ids, Random } from '../ports/random.ts';
import type { SiteId } from '../ports/site.ts';
import type { DurationMs } from '../units.ts';
import type { BreakerBoard } from './breaker.ts';
import { BreakerExchange } from './breaker-exchange.ts';
import type { BatchingCore, BatchingJob, LineRequest } from './core.ts';
import { embeddingInputs, packKey } from './embeddings.ts';
import { bugEnd, type End, outOfTime, retryRow } from './ends.ts';
import { Lane } from './lane.ts';
import type { LimiterOptions } from './limiter.ts';
import { PackedCalls } from './packed.ts';
import type { Route } from './route.ts';
import { countRequest } from './token-units.ts';

export type { Route, RouteLimits } from './route.ts';

export interface BatchingOptions {
  site: SiteId;
  /** Cloud of that site, as results name it. */
  cloud?: ServedBy['cloud'];
  /** `undefined` where nobody here serves the alias: its lines are given back. */
  route(alias: string, endpoint: Endpoint): Route | undefined;
  clock: Clock;
  random: Random;
  ids: Ids;
  log: Log;
  /** Longest single call. Default 120,000. */
  callMs?: DurationMs;
  /** How long a line of an array endpoint waits for more lines to share its call. Default 50. */
  lingerMs?: DurationMs;
  /** Tries of one call in one run before its lines are given back. Default 4. */
  triesMax?: number;
  limiter?: LimiterOptions;
  /** Where processes tell each other which backends answer. Default: this one keeps it to itself. */
  breakers?: BreakerBoard;
}

/** The batching core of one process (DESIGN.md section 6). */
export function createBatchingCore(options: BatchingOptions): BatchingCore {
  return new Engine(options);
}

class Engine implements BatchingCore {
  readonly #options: BatchingOptions;
  readonly #lanes = new Map<string, Lane>();
  readonly #packed = new Map<string, PackedCalls>();
  readonly #exchange: BreakerExchange | undefined;

  constructor(options: BatchingOptions) {
    this.#options = options;
    const { breakers, clock, site } = options;
    this.#exchange = breakers && new BreakerExchange(breakers, clock, site, this.#lanes);
  }

  async run(job: BatchingJob): Promise<ResultRow[]> {
    const route = this.#options.route(job.model, job.endpoint);
    if (route === undefined)
      return job.lines.map((line) => retryRow(line, 'backend', `no backend serves ${job.model}`, false));
    const lane = this.#lane(route, job.endpoint);
    lane.aliases.add(job.model);
    const run = {
      ends: new Array<End | undefined>(job.lines.length).fill(undefined),
      isOver: false,
      isBelieved: false,
    };
    await this.#untilDeadline(job, async () => {
      await this.#exchange?.adopt();
      await Promise.all(
        job.lines.map(async (line, i) => {
          run.ends[i] = await this.#end(lane, job, line, () => run.isOver).catch(bugEnd);
        }),
      );
      if (run.ends.some((end) => end?.kind === 'unusable')) run.isBelieved = await lane.isBelieved(job.deadline);
    });
    run.isOver = true;
    this.#exchange?.tellCeiling(lane);
    // While the last of them was asked, a neighbour may have been refused and then served.
    const { isDoubted } = lane;
    const ends = run.ends.map((end = outOfTime): End => {
      if (end.kind === 'refused' && isDoubted) return { kind: 'doubted', status: end.status };
      return end;
    });
    if (ends.some(({ kind }) => kind === 'doubted' || (kind === 'unusable' && !run.isBelieved)))
      this.#options.log.warn('refusals.doubted', { backend: route.backend.name, model: route.model });
    return job.lines.map((line, i) => this.#row(lane, line, ends[i]!, run.isBelieved));
  }

  /** Runs `work` until it ends, or the job's time does: nothing that hangs may hold the lines that are done. */
  async #untilDeadline({ deadline }: BatchingJob, work: () => Promise<void>): Promise<void> {
    const { clock, log } = this.#options;
    const timer = new AbortController();
    const late = clock.sleep(Math.max(0, deadline - clock.now()), timer.signal).catch(() => {});
    const done = work().catch((error) => log.error('batching.failed', { error: String(error?.message).slice(0, 300) }));
    await Promise.race([done, late]);
    timer.abort();
  }

  #lane(route: Route, endpoint: Endpoint): Lane {
    const name = `${route.backend.name}\n${route.model}\n${endpoint}`;
    const known = this.#lanes.get(name);
    if (known !== undefined) return known;
    const { clock, random, ids, callMs = 120_000, triesMax = 4, limiter } = this.#options;
    const lane = new Lane(route, endpoint, {
      clock,
      random,
      ids,
      callMs,
      triesMax,
      ...(limiter && { limiter }),
      breakerChanged: (changed, state) => {
        const { backend, model } = changed.route;
        const reason = state.kind === 'closed' ? undefined : state.reason;
        this.#options.log.warn('breaker.changed', { backend: backend.name, model, state: state.kind, reason });
        this.#exchange?.tell(changed, state);
      },
      refusalContradicted: (doubted) => this.#exchange?.tellDoubt(doubted),
      servedUnderThrottle: (serving) => this.#exchange?.tellServed(serving),
    });
    this.#exchange?.warm(lane);
    this.#lanes.set(name, lane);
    return lane;
  }

  async #end(lane: Lane, job: BatchingJob, line: LineRequest, isOver: () => boolean): Promise<End> {
    const inputs = job.endpoint === '/v1/embeddings' ? embeddingInputs(line.body) : undefined;
    if (inputs !== undefined) return this.#packedCalls(lane, line).run(line, inputs, job.deadline, isOver);
    const units = countRequest(line.body);
    const end = await lane.endAlone(line.body, lane.tokens.estimate(units), job.deadline);
    if (end.kind === 'answered') lane.tokens.learn(units, usageOf(end.body).inputTokens);
    return end;
  }

  #packedCalls(lane: Lane, line: LineRequest): PackedCalls {
    const key = `${lane.route.backend.name}\n${packKey({ ...line.body, model: lane.route.model })}`;
    const known = this.#packed.get(key);
    if (known !== undefined) return known;
    const made = new PackedCalls(lane, this.#options.clock, this.#options.lingerMs ?? 50);
    this.#packed.set(key, made);
    return made;
  }

  /** @param isBelieved unusable answers count only if the model is to be believed */
  #row(lane: Lane, line: LineRequest, end: End, isBelieved: boolean): ResultRow {
    if (end.kind === 'retry') return retryRow(line, end.cause, end.reason, end.counts);
    if (end.kind === 'unusable')
      return isBelieved
        ? retryRow(line, 'line', end.reason, true)
        : retryRow(line, 'backend', `${end.reason}, like many others`, false);
    if (end.kind === 'doubted') return retryRow(line, 'backend', `refused with ${end.status} like many others`, false);
    const { backend } = lane.route;
    const { site, cloud } = this.#options;
    return {
      outcome: 'answered',
      line: line.line,
      customId: line.customId,
      status: end.status,
      requestId: end.requestId,
      body: end.body,
      servedBy: { site, ...(cloud && { cloud }), backend: backend.name, model: end.model },
      usage: usageOf(end.body),
    };
  }
}
