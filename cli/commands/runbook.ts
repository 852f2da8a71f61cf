import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { causes } from '../../shared/health/types.ts';
import type { CommandMaker, Context } from '../command.ts';
import { CliError, type ExitCode, exitCodes } from '../exit.ts';
import { text } from '../text.ts';

export interface RunbookConfig {
  cause: string | undefined;
}

/** A page for each cause, and one for rehearsals. */
const pages = [...causes, 'drill-failed'];
const folder = join(import.meta.dirname, '..', '..', 'docs', 'runbooks');

/** Pages that lie beside the program: they are read when nothing answers. */
export function addRunbook(maker: CommandMaker): void {
  const command = maker.add('runbook [cause]', 'print the page of a cause, offline: what it means, what to type', [
    'holdfast runbook',
    'holdfast runbook site-dark',
  ]);
  maker.action(command, ([cause]): RunbookConfig => ({ cause }), runbook);
}

async function runbook({ cause }: RunbookConfig, { print }: Context): Promise<ExitCode> {
  if (cause === undefined) {
    const titles = await Promise.all(pages.map(async (one) => ({ cause: one, title: titleOf(await pageOf(one)) })));
    const width = Math.max(...pages.map(({ length }) => length));
    print.result(titles, () => titles.map((one) => text`${print.styles.bold(one.cause.padEnd(width))}  ${one.title}`));
    return exitCodes.ok;
  }
  const known = pages.find((one) => one === cause);
  if (known === undefined)
    throw new CliError(exitCodes.usage, text`there is no cause '${cause}'`, [text`Causes: ${pages.join(', ')}`]);
  const page = await pageOf(known);
  print.result({ cause: known, title: titleOf(page), page }, () =>
    page
      .trimEnd()
      .split('\n')
      .map((line) => text`${line}`),
  );
  return exitCodes.ok;
}

const pageOf = (cause: string): Promise<string> => readFile(join(folder, `${cause}.md`), 'utf8');

/** `# site-dark: a whole cloud does not answer` → what stands after the colon. */
function titleOf(page: string): string {
  return /^# [a-z-]+: (.+)$/m.exec(page)?.[1] ?? '';
}
