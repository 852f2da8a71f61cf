import { readFileSync } from 'node:fs';
import { basename, resolve } from 'node:path';
import { build } from 'esbuild';
import type { RegisterCode } from '../../../local/simulator/registers/index.ts';

const journal = resolve(import.meta.dirname, '..', '..', '..', 'shared', 'journal');

/** A bug to plant: one piece of the code that stands there exactly once, and what stands there instead. */
export interface Bug {
  file: 'registers.ts' | 'acceptor.ts';
  from: string;
  to: string;
}

/** The registers with a bug in them; without one, as they are. */
export async function registersWith(bug?: Bug): Promise<RegisterCode> {
  const { outputFiles } = await build({
    entryPoints: [resolve(journal, 'registers.ts')],
    bundle: true,
    write: false,
    format: 'esm',
    platform: 'node',
    plugins: [
      {
        name: 'bug',
        setup({ onLoad }) {
          onLoad({ filter: /[/\\]journal[/\\](registers|acceptor)\.ts$/ }, ({ path }) => {
            const source = readFileSync(path, 'utf8');
            if (bug?.file !== basename(path)) return { contents: source, loader: 'ts' };
            if (source.split(bug.from).length !== 2)
              throw new Error(`${bug.file} does not hold ${JSON.stringify(bug.from)} exactly once: plant the bug anew`);
            return { contents: source.replace(bug.from, () => bug.to), loader: 'ts' };
          });
        },
      },
    ],
  });
  const code = Buffer.from(outputFiles[0]!.contents).toString('base64');
  return (await import(`data:text/javascript;base64,${code}`)) as RegisterCode;
}
