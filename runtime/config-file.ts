import { readFile } from 'node:fs/promises';
import { basename, resolve } from 'node:path';
import { type Environment, type HoldfastConfig, resolveConfig } from '../shared/config/index.ts';
import { ConfigError } from '../shared/errors.ts';

/**
 * Reads and resolves the configuration of this process: `HOLDFAST_CONFIG` (relative to the working directory), or
 * `holdfast.config.yaml` in `besides`, the folder of the bundle. The build leaves a `.json` there in its place: a YAML
 * parser would cost each cold start 6 ms.
 *
 * @throws ConfigError if it is missing, is not YAML, or does not hold: then with file and line of each error
 */
export async function readConfig(besides: string, env: Environment): Promise<HoldfastConfig> {
  const file = await readSource(besides, env);
  try {
    return resolveConfig(file.source, env);
  } catch (error) {
    if ((error as { name?: unknown }).name !== 'ConfigError') throw error;
    // Only now is it worth knowing where everything stands.
    const { locator } = await import('./config-lines.ts');
    return resolveConfig(file.source, env, locator(file.name, file.text));
  }
}

interface SourceFile {
  /** As whoever looks for it knows it. */
  name: string;
  text: string;
  source: unknown;
}

async function readSource(besides: string, env: Environment): Promise<SourceFile> {
  const named = env.HOLDFAST_CONFIG;
  const candidates = named
    ? [resolve(named)]
    : [resolve(besides, 'holdfast.config.json'), resolve(besides, 'holdfast.config.yaml')];
  for (const path of candidates) {
    const text = await readFile(path, 'utf8').catch((cause: NodeJS.ErrnoException) => {
      if (cause.code === 'ENOENT' && !named) return undefined;
      throw new ConfigError('HOLDFAST_CONFIG', `HOLDFAST_CONFIG: '${path}' cannot be read (${cause.code})`, { cause });
    });
    if (text === undefined) continue;
    try {
      const source = path.endsWith('.json') ? JSON.parse(text) : (await import('yaml')).parse(text);
      return { name: named ?? basename(path), text, source };
    } catch (cause) {
      const reason = String((cause as Error).message).split('\n')[0];
      throw new ConfigError('HOLDFAST_CONFIG', `HOLDFAST_CONFIG: '${path}' is not valid: ${reason}`, { cause });
    }
  }
  throw new ConfigError('HOLDFAST_CONFIG', `HOLDFAST_CONFIG: not set, and there is no ${candidates.at(-1)}`);
}
