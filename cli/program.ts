import { Command, CommanderError } from 'commander';
import { commandMaker } from './command.ts';
import { addCancel } from './commands/cancel.ts';
import { addControl } from './commands/control.ts';
import { addCost } from './commands/cost.ts';
import { addDemo } from './commands/demo.ts';
import { addDoctor } from './commands/doctor.ts';
import { addDrill } from './commands/drill.ts';
import { addExplain } from './commands/explain.ts';
import { addFault } from './commands/fault.ts';
import { addModels } from './commands/models.ts';
import { addObserve } from './commands/observe.ts';
import { addResults } from './commands/results.ts';
import { addRunbook } from './commands/runbook.ts';
import { addSimulate } from './commands/simulate.ts';
import { addStatus } from './commands/status.ts';
import { addSubmit } from './commands/submit.ts';
import { addUp } from './commands/up.ts';
import { type ExitCode, exitCodes, failureOf } from './exit.ts';
import { hasColors, type Io } from './io.ts';
import { stylesFor, text } from './text.ts';

const exitHelp = `
Exit codes:
    0  done, and all is well
    1  the answer is no: a batch failed or left requests unanswered, a check found something, something broke
    2  the command line, the file or the request is wrong
    3  no cloud answers, or all say "not now"; trying again may help
  130  interrupted

Environment:
  HOLDFAST_AWS_URL, HOLDFAST_AZURE_URL   where the clouds are (default: this machine, see "up")
  HOLDFAST_KEY                           API key
  NO_COLOR, FORCE_COLOR                  colours off, on`;

/**
 * Runs one command line; never throws.
 * @param argv without the names of interpreter and script
 */
export async function run(argv: readonly string[], io: Io): Promise<ExitCode> {
  let exitCode: ExitCode = exitCodes.ok;
  const program = new Command('holdfast')
    .description('Queued AI-inference batches on AWS and Azure at once: what was accepted is held fast.')
    .exitOverride()
    .configureOutput({
      writeOut: (chunk) => io.stdout.write(chunk),
      writeErr: (chunk) => io.stderr.write(chunk),
      getOutHelpWidth: () => io.stdout.columns ?? 100,
      getErrHelpWidth: () => io.stderr.columns ?? 100,
      getOutHasColors: () => hasColors(io.stdout, io.env),
      getErrHasColors: () => hasColors(io.stderr, io.env),
      outputError: (message, write) => write(`${text`${message.trim()}`}\n`),
    })
    .addHelpText('after', exitHelp)
    .showHelpAfterError('(--help says more)');
  const maker = commandMaker(program, io, (code) => {
    exitCode = code;
  });
  for (const add of [
    addUp,
    addSubmit,
    addStatus,
    addResults,
    addCancel,
    addExplain,
    addModels,
    addCost,
    addDoctor,
    addFault,
    addDrill,
    addControl,
    addObserve,
    addRunbook,
    addSimulate,
    addDemo,
  ])
    add(maker);
  try {
    await program.parseAsync(argv, { from: 'user' });
    return exitCode;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? exitCodes.ok : exitCodes.usage;
    return report(error, io);
  }
}

function report(error: unknown, io: Io): ExitCode {
  const styles = stylesFor(hasColors(io.stderr, io.env));
  if (io.signal.aborted) {
    io.stderr.write(`${styles.dim('interrupted')}\n`);
    return exitCodes.interrupted;
  }
  const { exitCode, message, hints } = failureOf(error, (io.env.HOLDFAST_DEBUG ?? '') !== '');
  io.stderr.write(`${styles.red('holdfast:')} ${message}\n`);
  for (const hint of hints) io.stderr.write(`  ${hint}\n`);
  return exitCode;
}
