import { readFile } from 'node:fs/promises';
import { parse } from 'yaml';
import { InputFileError, parseYaml } from '../../local/simulator/yaml-file.ts';
import { type Drill, type DrillSource, drillSchema } from '../../shared/drill/file.ts';
import { CliError, exitCodes } from '../exit.ts';
import { text } from '../text.ts';
import { orderOf } from './faults.ts';

/** A drill file, YAML or JSON (which is YAML). */
export interface DrillFile {
  drill: Drill;
  source: DrillSource;
}

/** @throws CliError for a file that cannot be read; InputFileError with line and rule of every mistake */
export async function readDrillFile(file: string): Promise<DrillFile> {
  const content = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    throw new CliError(exitCodes.usage, text`${file} cannot be read (${error.code})`);
  });
  const { value, lineOf } = parseYaml(content, file, drillSchema);
  const problems = value.method.flatMap((step, i) => {
    if (step.type !== 'action' || step.provider.func !== 'fault') return [];
    const order = orderOf(step.provider.arguments);
    if (typeof order !== 'string') return [];
    const path = ['method', i, 'provider', 'arguments'];
    return [{ file, line: lineOf(path), key: path.join('.'), rule: order }];
  });
  if (problems.length > 0) throw new InputFileError(problems);
  return { drill: value, source: parse(content) as DrillSource };
}
