import type { ControlCommand } from '../../../shared/control/commands.ts';
import { type CommandOutcome, execute } from '../../../shared/control/execute.ts';
import type { RuleName } from '../../../shared/control/rules.ts';
import { readObservations } from '../../../shared/health/observation.ts';
import { convergeJournals } from '../../../shared/redrive/converge.ts';
import type { Cloud, World } from '../world.ts';

/** What a person types, and where. */
export interface Order {
  command: ControlCommand;
  force: readonly RuleName[];
  /** The site whose stores the laptop asks first. */
  at: Cloud;
  operationId: string;
}

/** Orders that were given, so that one can be replayed by whoever captured it. */
export class Operators {
  readonly given: Order[] = [];
  readonly outcomes: { order: Order; outcome: CommandOutcome | { status: 'failed'; error: string } }[] = [];
  readonly #world: World;

  constructor(world: World) {
    this.#world = world;
  }

  /** Gives an order from a laptop that is closed when it has its answer. Never rejects. */
  async give(order: Order): Promise<void> {
    this.given.push(order);
    const { process, core } = this.#world.spawn('laptop', 'outside', order.at);
    try {
      const outcome = await execute(core, order.command, {
        operationId: order.operationId,
        actor: `operator:${process.name}`,
        reason: 'as the simulation has it',
        force: order.force,
        observations: await readObservations(core),
        isConverged: () => convergeJournals(core),
      });
      this.outcomes.push({ order, outcome });
      const why = outcome.status === 'refused' ? ` by ${outcome.objections.map(({ rule }) => rule).join(' ')}` : '';
      this.#world.trace.write(
        this.#world.now,
        `${process.name} ordered ${order.command.kind}: ${outcome.status}${why}`,
      );
      this.#world.record.reach(`order ${outcome.status}`);
    } catch (error) {
      this.outcomes.push({ order, outcome: { status: 'failed', error: String((error as Error)?.message) } });
      this.#world.trace.write(this.#world.now, `${process.name} ordered ${order.command.kind}: failed`);
    }
    process.kill();
  }
}
