import { copyId, type Original, propertiesOfCopy } from '../../../functions-azure/adapters/messages.ts';
import { EndedMessages, workMessage } from '../../../functions-azure/handlers/deliveries.ts';
import type { LeasedMessage } from '../../../shared/ports/queue.ts';
import { work } from '../../../shared/worker/index.ts';
import type { Running, World } from '../world.ts';
import type { SimulatedQueue } from './queue.ts';

/** Invocations of one trigger at once in one instance. @source host.json, maxConcurrentCalls */
const concurrentCalls = 16;
/** The host renews locks this often, for ten minutes at most. @source host.json, maxAutoLockRenewalDuration */
const renewEveryMs = 30_000;
const renewForMs = 600_000;
const lockMs = 60_000;
/** The host ends an instance whose function runs longer. @source host.json, functionTimeout */
const timeoutMs = 300_000;

/**
 * Instances of the function app: each one process that runs everything (both triggers, timer, front door), many
 * invocations at once. The host inside it holds the locks, and completes or abandons as the function ends: when the
 * instance stands still, so does the renewing.
 */
export class FunctionsApp {
  readonly #world: World;
  readonly #instances: (Running | undefined)[];

  constructor(world: World) {
    this.#world = world;
    this.#instances = Array.from({ length: world.knobs.appInstances }, () => undefined);
    for (const part of ['intake', 'work'] as const) {
      const queue = world.queues.azure[part];
      let isKicked = false;
      const kick = (ms: number) => {
        if (isKicked) return;
        isKicked = true;
        world.scheduler.after(ms, () => {
          isKicked = false;
          this.#poll(part, queue, kick);
        });
      };
      queue.onVisible = () => kick(100);
    }
    this.#start();
  }

  /** An instance that can be called; `undefined` while none runs. */
  get instance(): Running | undefined {
    return this.#instances.find((one) => one !== undefined && !one.process.isFrozen);
  }

  /** Starts what is not running; the platform tries again and again. */
  #start(): void {
    const { board, scheduler } = this.#world;
    for (const [i, one] of this.#instances.entries()) {
      if (one !== undefined || board.strikes('azure', 'functions', 'scaleout')) continue;
      const started = this.#world.spawn('app', 'azure');
      this.#instances[i] = started;
      started.process.onDeath(() => {
        this.#instances[i] = undefined;
        scheduler.after(15_000, () => this.#start());
      });
    }
    if (this.#instances.includes(undefined)) scheduler.after(30_000, () => this.#start());
  }

  readonly #calls = new Map<string, number>();
  /** What each process remembers of each queue, as the handlers of the bundle do. */
  readonly #ended = new Map<string, EndedMessages>();

  #poll(part: 'intake' | 'work', queue: SimulatedQueue, kick: (ms: number) => void): void {
    const { board } = this.#world;
    if (queue.visible === 0) return;
    const isStopped =
      board.on('azure', 'functions', 'poller').some(({ effect }) => effect.mode.kind === 'freeze') ||
      board.strikes('azure', 'functions', 'poller') ||
      board.strikes('azure', 'functions', 'invoke') ||
      board.strikes('azure', 'queue', 'receive');
    if (isStopped) {
      kick(10_000);
      return;
    }
    for (const instance of this.#instances) {
      if (instance === undefined || instance.process.isFrozen) continue;
      const name = `${instance.process.name} ${part}`;
      const free = concurrentCalls - (this.#calls.get(name) ?? 0);
      let messages: LeasedMessage[] = [];
      try {
        messages = free > 0 ? queue.take(Math.min(free, 4), lockMs) : [];
      } catch {
        kick(2_000);
        return;
      }
      for (const message of messages) this.#invoke(instance, part, queue, message, name, kick);
    }
    if (queue.visible > 0) kick(500);
  }

  #invoke(
    { process, core }: Running,
    part: 'intake' | 'work',
    queue: SimulatedQueue,
    message: LeasedMessage,
    name: string,
    kick: (ms: number) => void,
  ): void {
    const { board, scheduler, variant } = this.#world;
    this.#calls.set(name, (this.#calls.get(name) ?? 0) + 1);
    const startedAt = scheduler.now;
    let isOver = false;
    const end = () => {
      if (isOver) return;
      isOver = true;
      this.#calls.set(name, this.#calls.get(name)! - 1);
      scheduler.cancel(timeout);
      forget();
      kick(50);
    };
    const forget = process.onDeath(end);
    const timeout = scheduler.after(timeoutMs, () => process.deliver(() => process.kill()));
    const renew = () => {
      scheduler.after(renewEveryMs, () => {
        if (isOver || scheduler.now - startedAt > renewForMs) return;
        const isReached = !process.isFrozen && !board.strikes('azure', 'queue', 'settle');
        if (isReached) void queue.extend(message, lockMs).catch(() => {});
        renew();
      });
    };
    renew();
    const { id: messageId, deliveryCount } = message;
    const context = {
      triggerMetadata: { messageId, deliveryCount, applicationProperties: queue.propertiesOf(message) },
    };
    const sendCopy = async (original: Original, delayMs: number) => {
      const { body, id } = original;
      const copy = { id: copyId(id) ?? core.ids.uuid(), body, delayMs, properties: propertiesOfCopy(original) };
      await core.sites.get('azure')![part].send([copy]);
    };
    const settle = (isDone: boolean) => {
      if (process.isDead) return;
      end();
      if (board.strikes('azure', 'queue', 'settle')) return;
      void (isDone ? queue.complete(message) : queue.giveBack(message)).catch(() => {});
    };
    const ended = this.#ended.get(name) ?? new EndedMessages();
    this.#ended.set(name, ended);
    const run = variant.work ?? work;
    void workMessage(core, parsed(message.body), context as never, { queue: part, ended, sendCopy, run }).then(
      () => settle(true),
      () => settle(false),
    );
  }
}

/** The host hands a body that is JSON over parsed. */
function parsed(body: string): unknown {
  try {
    return JSON.parse(body);
  } catch {
    return body;
  }
}
