import { Histories, type History } from './history.ts';
import { type Content, type Input, type ProcessSpec, type RegisterCode, type Request, storeIds } from './process.ts';

/** How far a search goes. Everything within is tried: nothing is drawn. */
export interface Bounds {
  name: string;
  /** They all begin at once; that one begins later is the same as that its first calls are slow. */
  processes: readonly ProcessSpec[];
  /** A store that refuses every call. */
  down?: (typeof storeIds)[number];
  /** Only calls to this store are too late; default any. */
  slow?: (typeof storeIds)[number];
  /** Calls that may be refused, in all of one schedule. Default 0. */
  refusals?: number;
  /** Writes that are carried out and whose reply is lost. Default 0. */
  lostReplies?: number;
  /** Calls that are given up while they are under way; they are carried out later, or never. Default 0. */
  timeouts?: number;
  /** A process that may die, at any moment, and another one that begins then in its place: the same value again. */
  crash?: { process: number; restart: ProcessSpec };
  /** Whether every process must end with a value whatever happens. Default false: it may give up. */
  mustDecide?: boolean;
  /** States after which the search gives up, which is a failure. Default 3,000,000. */
  statesMax?: number;
}

export interface SearchResult {
  /** Different states met. */
  states: number;
  /** Steps from a state to a state. */
  transitions: number;
  /** Ways through the states from the beginning to an end: so many schedules are covered. */
  schedules: number;
  /** Different things that processes came to know; for each of them real code has run. */
  histories: number;
  /** Values decided in some schedule. */
  decided: string[];
  /** How the processes ended, in some schedule. */
  endings: string[];
  violation: Violation | undefined;
}

export interface Violation {
  rule: string;
  /** Steps from the beginning. */
  schedule: string[];
}

interface Slot {
  /** `undefined`: not begun. */
  history: History | undefined;
  isDead: boolean;
  /** Answers that are there and were not told yet. */
  inbox: readonly Answer[];
}

interface Answer {
  call: number;
  content: Content;
  isApplied: boolean;
}

type Fault = 'refusals' | 'lostReplies' | 'timeouts';

interface State {
  slots: readonly Slot[];
  stores: readonly Content[];
  /** Writes that nobody waits for any more and that may still arrive. */
  orphans: readonly Request[];
  /** Every acceptance there ever was. */
  votes: readonly Vote[];
  decided: readonly string[];
  left: Readonly<Record<Fault, number>>;
}

interface Vote {
  store: number;
  ballot: string;
  value: string;
}

interface Step {
  label: string;
  take(): State | Promise<State>;
}

/** A state on the way from the beginning to where the search is. */
interface Frame {
  key: string;
  label: string;
  /** Not taken yet, last one next. */
  steps: Step[];
  schedules: number;
}

/**
 * Every schedule of some calls of `decide` and `learn` within bounds: requests arrive in any order, answers come back in
 * any order, stores do one thing at a time. Depth first over states, each looked at once. A state is what every process
 * was told, what the stores hold, what is under way, who has voted for what, and which faults are left; what can happen
 * next hangs on nothing else, so looking twice would show nothing new.
 *
 * Two kinds of step are taken at once instead of at every possible moment, since nobody else can tell the difference:
 * a process that waits for one thing only is told it when it is there; and a conditional write that has become stale
 * is refused, as it would be whenever it arrives, for nothing that was replaced ever comes back.
 */
export async function search(bounds: Bounds, code: RegisterCode): Promise<SearchResult> {
  // Aborted deadlines throw by the thousand, and nobody reads where.
  const { stackTraceLimit } = Error;
  Error.stackTraceLimit = 0;
  try {
    return await new Search(bounds, code).run();
  } finally {
    Error.stackTraceLimit = stackTraceLimit;
  }
}

class Search {
  readonly #bounds: Bounds;
  readonly #specs: readonly ProcessSpec[];
  readonly #histories: Histories;
  /** By state, the schedules that go on from there. */
  readonly #schedules = new Map<string, number>();
  readonly #decided = new Set<string>();
  readonly #endings = new Set<string>();
  readonly #contentIds = new Map<Content, number>();
  #transitions = 0;
  #violation: Violation | undefined;

  constructor(bounds: Bounds, code: RegisterCode) {
    this.#bounds = bounds;
    this.#specs = bounds.crash === undefined ? bounds.processes : [...bounds.processes, bounds.crash.restart];
    this.#histories = new Histories(this.#specs, code);
  }

  async run(): Promise<SearchResult> {
    const { statesMax = 3_000_000 } = this.#bounds;
    const way: Frame[] = [];
    this.#enter(await this.#begin(), 'begin', way);
    while (this.#violation === undefined) {
      const frame = way.at(-1)!;
      const step = frame.steps.pop();
      if (step !== undefined) {
        this.#transitions += 1;
        const next = step.take();
        this.#enter(next instanceof Promise ? await next : next, step.label, way);
        if (this.#schedules.size > statesMax)
          this.#violation = { rule: `more than ${statesMax} states: the bounds are too wide`, schedule: [] };
        continue;
      }
      this.#schedules.set(frame.key, frame.schedules);
      if (way.length === 1) break;
      way.pop();
      way.at(-1)!.schedules += frame.schedules;
    }
    return {
      states: this.#schedules.size,
      transitions: this.#transitions,
      schedules: way[0]!.schedules,
      histories: this.#histories.count,
      decided: [...this.#decided].sort(),
      endings: [...this.#endings].sort(),
      violation: this.#violation,
    };
  }

  #enter(state: State, label: string, way: Frame[]): void {
    // Also where the state is known: what a process was given is no part of it once the process has ended.
    const rule = this.#brokenRule(state);
    const key = this.#keyOf(state);
    const known = rule === undefined ? this.#schedules.get(key) : undefined;
    if (known !== undefined) {
      way.at(-1)!.schedules += known;
      return;
    }
    this.#schedules.set(key, 0);
    const steps = this.#stepsFrom(state);
    way.push({ key, label, steps, schedules: steps.length === 0 ? 1 : 0 });
    const broken = rule ?? (steps.length === 0 && this.#isHung(state) ? 'a process waits for ever' : undefined);
    if (broken !== undefined) this.#violation = { rule: broken, schedule: way.map((frame) => frame.label) };
  }

  async #begin(): Promise<State> {
    const { processes, refusals = 0, lostReplies = 0, timeouts = 0 } = this.#bounds;
    const slots: Slot[] = [];
    for (const i of this.#specs.keys()) {
      const history = i < processes.length ? await this.#histories.start(i) : undefined;
      slots.push({ history, isDead: false, inbox: [] });
    }
    const stores = storeIds.map(() => undefined);
    const left = { refusals, lostReplies, timeouts };
    return { slots, stores, orphans: [], votes: [], decided: [], left };
  }

  #stepsFrom(state: State): Step[] {
    const { slots, stores, orphans } = state;
    const steps: Step[] = [];
    for (const [i, slot] of slots.entries()) {
      const { history, isDead, inbox } = slot;
      if (history === undefined || isDead) continue;
      const { name } = this.#specs[i]!;
      for (const answer of inbox)
        steps.push({
          label: `${name} hears of call ${answer.call}`,
          take: () => this.#tell(state, i, { kind: 'reply', ...answer }),
        });
      if (history.isAsleep) steps.push({ label: `${name} wakes`, take: () => this.#tell(state, i, { kind: 'wake' }) });
      for (const call of inFlight(slot)) {
        const ways = this.#stepsOf(state, i, call);
        const request = history.requests[call]!;
        if (ways.length === 1 && request.op !== 'get' && !mayBeTaken(request, stores[request.store])) return ways;
        steps.push(...ways);
      }
    }
    for (const [i, request] of orphans.entries())
      if (isTakenBy(request, stores[request.store]))
        steps.push({
          label: `a late ${request.op} arrives at ${storeIds[request.store]}`,
          take: () => this.#carriedOut({ ...state, orphans: orphans.toSpliced(i, 1) }, request),
        });
    const crash = this.#crash(state);
    return crash === undefined ? steps : [...steps, crash];
  }

  /** What may happen to one call that is under way. */
  #stepsOf(state: State, i: number, call: number): Step[] {
    const { slow, down } = this.#bounds;
    const request = state.slots[i]!.history!.requests[call]!;
    const store = storeIds[request.store]!;
    const label = `call ${call} of ${this.#specs[i]!.name}, ${request.op} at ${store}`;
    const refused: Input = { kind: 'refused', call };
    if (store === down) return [{ label: `${label}: refused`, take: () => this.#tell(state, i, refused) }];
    const steps: Step[] = [{ label, take: () => this.#answered(state, i, call) }];
    const add = (fault: Fault, what: string, happens: (after: State) => State, input: Input) =>
      state.left[fault] > 0 &&
      steps.push({
        label: `${label}: ${what}`,
        take: () =>
          this.#tell(happens({ ...state, left: { ...state.left, [fault]: state.left[fault] - 1 } }), i, input),
      });
    add('refusals', 'refused', (after) => after, refused);
    if (request.op !== 'get')
      add('lostReplies', 'its reply is lost', (after) => this.#carriedOut(after, request), { kind: 'lost', call });
    if (slow === undefined || slow === store)
      add('timeouts', 'too late', (after) => withOrphans(after, [request]), { kind: 'timeout', call });
    return steps;
  }

  #crash(state: State): Step | undefined {
    const { crash, processes } = this.#bounds;
    if (crash === undefined) return undefined;
    const again = processes.length;
    if (state.slots[again]!.history !== undefined) return undefined;
    const slot = state.slots[crash.process]!;
    if (slot.history!.end !== undefined) return undefined;
    return {
      label: `${this.#specs[crash.process]!.name} dies, ${crash.restart.name} begins`,
      take: async () => {
        const lost = inFlight(slot).map((call) => slot.history!.requests[call]!);
        const slots = state.slots
          .with(crash.process, { ...slot, isDead: true, inbox: [] })
          .with(again, { history: await this.#histories.start(again), isDead: false, inbox: [] });
        return withOrphans({ ...state, slots }, lost);
      },
    };
  }

  /** The request is carried out, and whoever waits for it will hear. */
  #answered(state: State, i: number, call: number): State | Promise<State> {
    const request = state.slots[i]!.history!.requests[call]!;
    const isApplied = request.op !== 'get' && isTakenBy(request, state.stores[request.store]);
    // A write that was refused tells nothing of what it found.
    const content = request.op === 'get' ? state.stores[request.store] : undefined;
    const after = this.#carriedOut(state, request);
    const slot = after.slots[i]!;
    const inbox = [...slot.inbox, { call, content, isApplied }];
    return this.#told({ ...after, slots: after.slots.with(i, { ...slot, inbox }) }, i);
  }

  #carriedOut(state: State, request: Request): State {
    const { store, body } = request;
    if (request.op === 'get' || !isTakenBy(request, state.stores[store])) return state;
    const stores = state.stores.with(store, body);
    const accepted = acceptedIn(body);
    if (accepted === undefined) return { ...state, stores };
    const { ballot, value } = accepted;
    const isOf = (vote: Vote) => vote.ballot === ballot && vote.value === value;
    if (state.votes.some((vote) => vote.store === store && isOf(vote))) return { ...state, stores };
    const votes = [...state.votes, { store, ballot, value }];
    const isDecided = votes.filter(isOf).length >= 2 && !state.decided.includes(value);
    if (isDecided) this.#decided.add(value);
    return { ...state, stores, votes, decided: isDecided ? [...state.decided, value].sort() : state.decided };
  }

  #tell(state: State, i: number, input: Input): State | Promise<State> {
    const slot = state.slots[i]!;
    const inbox = input.kind === 'reply' ? slot.inbox.filter(({ call }) => call !== input.call) : slot.inbox;
    const then = (history: History) =>
      this.#told({ ...state, slots: state.slots.with(i, { ...slot, history, inbox }) }, i);
    const history = this.#histories.after(i, slot.history!, input);
    return history instanceof Promise ? history.then(then) : then(history);
  }

  /** If process `i` waits for one thing only, and it is there, it is told. */
  #told(state: State, i: number): State | Promise<State> {
    const { history, isDead, inbox } = state.slots[i]!;
    if (history === undefined || isDead || history.open.length + (history.isAsleep ? 1 : 0) !== 1) return state;
    if (history.isAsleep) return this.#tell(state, i, { kind: 'wake' });
    return inbox.length === 1 ? this.#tell(state, i, { kind: 'reply', ...inbox[0]! }) : state;
  }

  #brokenRule(state: State): string | undefined {
    if (state.decided.length > 1) return `two values were decided: ${state.decided.join(', ')}`;
    for (const [i, { history }] of state.slots.entries()) {
      const end = history?.end;
      if (end === undefined) continue;
      const { name, value } = this.#specs[i]!;
      this.#endings.add(`${name}: ${'error' in end ? end.error : (end.value ?? 'nothing')}`);
      if ('error' in end) {
        if (this.#bounds.mustDecide === true) return `${name} gave up: ${end.error}`;
        if (!['SiteUnavailableError', 'TransientError'].includes(end.error)) return `${name} ended with ${end.error}`;
      } else if (end.value === undefined) {
        if (value !== undefined) return `${name} proposed and was given nothing`;
      } else if (!state.decided.includes(end.value)) return `${name} was given ${end.value}, which is not decided`;
      else if (end.own !== undefined && end.own !== (end.value === value)) return `${name} was told a wrong 'own'`;
    }
    return undefined;
  }

  /** Where nothing is left to happen. */
  #isHung({ slots }: State): boolean {
    return slots.some(({ history, isDead }) => history !== undefined && !isDead && history.end === undefined);
  }

  #keyOf({ slots, stores, orphans, votes, left }: State): string {
    let key = '';
    for (const { history, isDead, inbox } of slots) {
      // Nobody that has ended, or died, does anything more; what it was given has been looked at.
      if (isDead || (history?.end !== undefined && history.open.length === 0)) key += 'x';
      else if (history !== undefined) key += history.id;
      if (inbox.length > 0)
        key += inbox
          .map((one) => `,${one.call}${one.isApplied ? '+' : '-'}${this.#id(one.content)}`)
          .sort()
          .join('');
      key += '|';
    }
    for (const content of stores) key += `${this.#id(content)}|`;
    const late = orphans.filter((request) => mayBeTaken(request, stores[request.store]));
    if (late.length > 0)
      key += late
        .map(({ body }) => this.#id(body))
        .sort()
        .join('+');
    const voted = votes
      .map(({ store, ballot, value }) => `${store}${ballot}${value}`)
      .sort()
      .join('+');
    return `${key}|${voted}|${left.refusals}/${left.lostReplies}/${left.timeouts}`;
  }

  #id(content: Content): number {
    const known = this.#contentIds.get(content);
    if (known !== undefined) return known;
    this.#contentIds.set(content, this.#contentIds.size);
    return this.#contentIds.size - 1;
  }
}

function inFlight({ history, inbox }: Slot): readonly number[] {
  if (inbox.length === 0) return history!.open;
  return history!.open.filter((call) => !inbox.some((answer) => answer.call === call));
}

/** Whether a write takes effect where `content` lies. */
function isTakenBy({ op, etag }: Request, content: Content): boolean {
  return op === 'putIfAbsent' ? content === undefined : content === etag;
}

/** Whether it may ever take effect: no content ever comes back, and what is there stays there. */
function mayBeTaken(request: Request, content: Content): boolean {
  return isTakenBy(request, content) || (request.op === 'putIfMatch' && content === undefined);
}

/** Reads that nobody waits for change nothing, so only writes go on. */
function withOrphans(state: State, requests: readonly Request[]): State {
  return { ...state, orphans: [...state.orphans, ...requests.filter(({ op }) => op !== 'get')] };
}

const accepted = new Map<Content, { ballot: string; value: string } | undefined>();

/** What an acceptor shows as accepted. Read by the judge on its own, without the code under test. */
function acceptedIn(content: Content): { ballot: string; value: string } | undefined {
  if (accepted.has(content)) return accepted.get(content);
  const shown = JSON.parse(content!) as { accepted: { ballot: { round: number; id: string }; value: string } | null };
  const found =
    shown.accepted === null
      ? undefined
      : {
          ballot: `${shown.accepted.ballot.round}-${shown.accepted.ballot.id}`,
          value: Buffer.from(shown.accepted.value, 'base64').toString(),
        };
  accepted.set(content, found);
  return found;
}
