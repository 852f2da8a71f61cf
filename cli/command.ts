import type { Command } from 'commander';
import type { ExitCode } from './exit.ts';
import { type Io, Printer } from './io.ts';

/** How a command ends; it is given its flags resolved, and never reads `process`. */
export type Run<C> = (config: C, context: Context) => Promise<ExitCode>;

export interface Context {
  io: Io;
  print: Printer;
}

/** Makes the subcommands of one run; the last one that ran leaves its exit code here. */
export interface CommandMaker {
  /**
   * A subcommand with `--json` and examples.
   * @param spec name and arguments, as commander writes them
   */
  add(spec: string, description: string, examples: readonly string[]): Command;
  /** A subcommand that only holds others, and makes those. */
  group(name: string, description: string): CommandMaker;
  /** Runs `run` with what `resolve` makes of arguments and flags. */
  action<C>(command: Command, resolve: (args: string[], flags: Flags, env: Io['env']) => C, run: Run<C>): void;
}

/** Flags as commander gives them; each command's `resolve` knows which there are. */
// biome-ignore lint/suspicious/noExplicitAny: commander types flags no better
export type Flags = Record<string, any>;

export function commandMaker(program: Command, io: Io, ended: (exitCode: ExitCode) => void): CommandMaker {
  return {
    add(spec, description, examples) {
      const command = program.command(spec).description(description);
      command.option('--json', 'print JSON on stdout, everything else on stderr');
      command.addHelpText('after', `\nExamples:\n${examples.map((line) => `  $ ${line}`).join('\n')}`);
      return command;
    },
    group: (name, description) => commandMaker(program.command(name).description(description), io, ended),
    action(command, resolve, run) {
      command.action(async () => {
        const flags = command.opts();
        const print = new Printer(io, flags.json === true);
        ended(await run(resolve(command.processedArgs, flags, io.env), { io, print }));
      });
    },
  };
}
