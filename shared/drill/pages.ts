import { SiteUnavailableError, StaleEpochError } from '../errors.ts';
import { factBytes, factVersion } from '../journal/facts.ts';
import { drillPageKey } from '../journal/keys.ts';
import { putEverywhere } from '../journal/replicas.ts';
import type { DurationMs, EpochMs } from '../units.ts';
import type { DrillEntry, DrillPage, DrillSample, DrillState, DrillTurn } from './facts.ts';
import type { DrillDesk } from './read.ts';
import type { TurnCore } from './turns.ts';

/**
 * Whoever takes a drill over begins at the next multiple of this: pages from there on tell a runner that is only slow, or
 * whose clock is, that the drill is not its own any more. Who is first by name where two take it over at once has it.
 */
const pagesOfOne = 1_000_000;
const generationOf = (page: number) => Math.floor(page / pagesOfOne);

/** What a runner writes as it goes on, page by page, so that another can go on from there. Each page renews the lease. */
export class DrillPages {
  readonly entries: DrillEntry[];
  readonly samples: DrillSample[];
  readonly #core: TurnCore;
  readonly #drill: string;
  readonly #lease: DurationMs;
  readonly #runner: string;
  #until: EpochMs;
  #page: number;
  /** What stands on no page yet. */
  #pendingEntries: DrillEntry[] = [];
  #pendingSamples: DrillSample[] = [];

  constructor(
    core: TurnCore,
    turn: DrillTurn,
    { lease, runner, pages }: { lease: DurationMs; runner: string; pages: readonly DrillPage[] },
  ) {
    this.#core = core;
    this.#drill = turn.drill;
    this.#lease = lease;
    this.#runner = runner;
    this.entries = pages.flatMap(({ entries }) => entries);
    this.samples = pages.flatMap(({ samples }) => samples);
    this.#until = Math.max(turn.until, ...pages.map(({ until }) => until));
    this.#page = (pages.at(-1)?.page ?? -1) + 1;
  }

  /** Until when the drill is this runner's. */
  get until(): EpochMs {
    return this.#until;
  }

  /** When whoever had the drill was heard last. */
  get heardAt(): EpochMs {
    return this.#until - this.#lease;
  }

  /** Half of the lease is over. */
  get isAging(): boolean {
    return this.#until - this.#core.clock.now() < this.#lease / 2;
  }

  say(entry: DrillEntry): void {
    this.entries.push(entry);
    this.#pendingEntries.push(entry);
  }

  add(sample: DrillSample): void {
    this.samples.push(sample);
    this.#pendingSamples.push(sample);
  }

  /** Takes a drill whose lease is over. */
  async take(state: DrillState): Promise<void> {
    this.#until = this.#core.clock.now() + this.#lease;
    this.#page = (generationOf(this.#page) + 1) * pagesOfOne;
    await this.write(state);
  }

  /** @throws StaleEpochError `drill_lease_lost` where somebody has taken the drill over */
  assertMine(pages: DrillDesk['pages']): void {
    const own = generationOf(this.#page);
    const taker = pages.find(
      ({ page, runner }) =>
        generationOf(page) > own || (own > 0 && generationOf(page) === own && runner < this.#runner),
    );
    if (taker !== undefined)
      throw new StaleEpochError('drill_lease_lost', `${taker.runner} has taken over ${this.#drill}`);
  }

  /**
   * Writes what is new, and renews the lease.
   * @throws where no store takes it: then nothing may be done any more
   * @throws StaleEpochError `drill_lease_lost` where the lease ended meanwhile
   */
  async write(state: DrillState, report: string | null = null): Promise<void> {
    const now = Math.floor(this.#core.clock.now());
    // A process that was frozen may find that somebody else has the drill by now: it must not take it back.
    if (now > this.#until)
      throw new StaleEpochError('drill_lease_lost', `the lease of ${this.#drill} ended while it was away`);
    const until = now + this.#lease;
    const page: DrillPage = {
      v: factVersion,
      kind: 'drillPage',
      drill: this.#drill,
      page: this.#page,
      runner: this.#runner,
      at: now,
      until,
      state,
      entries: this.#pendingEntries,
      samples: this.#pendingSamples,
      report,
    };
    await this.put(drillPageKey(this.#drill, this.#page, this.#runner), factBytes(page));
    this.#page += 1;
    this.#pendingEntries = [];
    this.#pendingSamples = [];
    this.#until = until;
  }

  /** @throws where no store takes it */
  async put(key: string, bytes: Uint8Array): Promise<void> {
    const { written, failed } = await putEverywhere(this.#core, key, bytes);
    if (written.length === 0) throw failed[0]?.error ?? new SiteUnavailableError('drill_unwritten', key, 'drills');
  }
}
