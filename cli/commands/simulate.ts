import type { CommandMaker } from '../command.ts';
import { CliError, exitCodes } from '../exit.ts';
import { text } from '../text.ts';
import { addPlanOptions, planConfigOf, planExamples, simulatePlan } from './simulate-plan.ts';
import { simulateRegisters } from './simulate-registers.ts';

export function addSimulate(maker: CommandMaker): void {
  const command = maker.add('simulate', 'run the clouds in virtual time', [
    ...planExamples,
    'holdfast simulate --registers',
  ]);
  addPlanOptions(command).option('--registers', 'search the registers by themselves, every schedule within bounds');
  maker.action(
    command,
    (_args, flags) => ({ plan: planConfigOf(flags), registers: flags.registers === true }),
    ({ plan, registers }, context) => {
      if (plan !== undefined) return simulatePlan(plan, context);
      if (registers) return simulateRegisters(context);
      throw new CliError(exitCodes.usage, text`say what: --plan FILE or --registers`);
    },
  );
}
