import { type SqsDeliveries, sqsDeliveries } from '../../../functions-aws/handlers/deliveries.ts';
import type { LeasedMessage, Queue } from '../../../shared/ports/queue.ts';
import { work } from '../../../shared/worker/index.ts';
import type { Running, World } from '../world.ts';
import type { SimulatedQueue } from './queue.ts';

/** A Lambda ends whatever runs longer, in the middle of it. @source serverless.yml, timeout of the workers */
const timeoutMs = 240_000;
/** Kept back by the handler. @source functions-aws/handlers/worker.ts */
const reserveMs = 10_000;
const batchSize = 10;
/** A warm sandbox that nobody needs is taken away after about so long. */
const idleMs = 15 * 60_000;

/**
 * The event-source mapping of one SQS queue and the sandboxes it calls: one invocation a sandbox, frozen between two;
 * batches of ten; messages are deleted by the mapping when the function says that it is done with them, and show again
 * when their visibility ends.
 */
export class LambdaTrigger {
  readonly #world: World;
  readonly #queue: SimulatedQueue;
  readonly #part: 'intake' | 'work';
  readonly #idle: { running: Running; since: number }[] = [];
  #invocations = 0;
  #isKicked = false;

  constructor(world: World, part: 'intake' | 'work') {
    this.#world = world;
    this.#part = part;
    this.#queue = world.queues.aws[part];
    this.#queue.onVisible = () => this.#kick(100);
  }

  /** Looks at the queue soon, unless that is under way. */
  #kick(ms: number): void {
    if (this.#isKicked) return;
    this.#isKicked = true;
    this.#world.scheduler.after(ms, () => {
      this.#isKicked = false;
      this.#poll();
    });
  }

  #poll(): void {
    const { board, knobs, scheduler } = this.#world;
    if (this.#queue.visible === 0) return;
    const isStopped =
      board.on('aws', 'functions', 'poller').some(({ effect }) => effect.mode.kind === 'freeze') ||
      board.strikes('aws', 'functions', 'poller') ||
      board.strikes('aws', 'functions', 'invoke') ||
      board.strikes('aws', 'queue', 'receive');
    if (isStopped || this.#invocations >= knobs.workersMax) {
      this.#kick(isStopped ? 10_000 : 1_000);
      return;
    }
    const sandbox = this.#sandbox();
    if (sandbox === undefined) {
      this.#kick(10_000);
      return;
    }
    const messages = this.#queue.take(batchSize);
    if (messages.length === 0) {
      this.#idle.push({ running: sandbox, since: scheduler.now });
      sandbox.process.freeze();
    } else this.#invoke(sandbox, messages);
    this.#kick(200);
  }

  #sandbox(): Running | undefined {
    const { board, scheduler } = this.#world;
    while (this.#idle.length > 0) {
      const { running, since } = this.#idle.pop()!;
      if (running.process.isDead) continue;
      if (scheduler.now - since > idleMs) {
        running.process.kill();
        continue;
      }
      running.process.thaw();
      return running;
    }
    if (board.strikes('aws', 'functions', 'scaleout')) return undefined;
    return this.#world.spawn('worker', 'aws');
  }

  #invoke(sandbox: Running, messages: LeasedMessage[]): void {
    const { scheduler, variant } = this.#world;
    const { process, core } = sandbox;
    this.#invocations += 1;
    let isOver = false;
    const end = () => {
      if (isOver) return;
      isOver = true;
      this.#invocations -= 1;
      scheduler.cancel(timeout);
      forget();
      this.#kick(50);
    };
    const forget = process.onDeath(end);
    const timeout = scheduler.after(timeoutMs, () => process.kill());
    const own = core.sites.get('aws')!;
    const byId = new Map(messages.map((message, i) => [`${i}`, message]));
    const records = messages.map((message, i) => ({ messageId: `${i}`, body: message.body }) as never);
    const queueOf = (): Queue => own[this.#part];
    const deliveries: SqsDeliveries = sqsDeliveries(
      records,
      queueOf,
      ({ messageId }) => byId.get(messageId)!,
      core.log,
    );
    const deadline = process.clock.now() + timeoutMs - reserveMs;
    void (variant.work ?? work)(core, deliveries.deliveries, { deadline, queue: this.#part }).then(
      () => this.#end(sandbox, messages, deliveries, end),
      () => this.#end(sandbox, messages, undefined, end),
    );
  }

  /** The mapping deletes what is done; whatever fails then shows again. */
  #end(sandbox: Running, messages: LeasedMessage[], ended: SqsDeliveries | undefined, end: () => void): void {
    const { board, scheduler } = this.#world;
    if (sandbox.process.isDead) return;
    const kept = new Set(ended?.response().batchItemFailures.map(({ itemIdentifier }) => itemIdentifier));
    if (ended !== undefined)
      for (const [i, message] of messages.entries())
        if (!kept.has(`${i}`) && !board.strikes('aws', 'queue', 'settle')) void this.#queue.complete(message);
    sandbox.process.freeze();
    this.#idle.push({ running: sandbox, since: scheduler.now });
    end();
  }
}
