import { mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { builtinModules } from 'node:module';
import { basename, dirname, join, relative, resolve } from 'node:path';
import { type BuildOptions, build, type Metafile, type Plugin } from 'esbuild';
import { parse } from 'yaml';

const root = resolve(import.meta.dirname, '..');
const handlers = ['worker', 'api', 'monitor', 'drills'] as const;

/** What one entry costs: bytes read at load, and bytes that wait behind an `import()`. */
export interface BundleSize {
  entry: string;
  eagerBytes: number;
  lazyBytes: number;
}

/**
 * Builds both clouds' functions into `out` (default `dist`): an ES module per handler, SDKs in shared chunks behind
 * `import()`, and, for Azure, `main.cjs`, which registers the handlers and loads one when it is first called.
 * @param plugins of a test that needs other sources than those that are here
 */
export async function buildFunctions(out = join(root, 'dist'), plugins: readonly Plugin[] = []): Promise<BundleSize[]> {
  const sizes: BundleSize[] = [];
  for (const cloud of ['functions-aws', 'functions-azure'] as const) {
    const folder = join(out, cloud);
    await mkdir(folder, { recursive: true });
    await dropOldChunks(folder);
    const { metafile } = await build({
      ...common,
      entryPoints: handlers.map((name) => join(root, cloud, 'handlers', `${name}.ts`)),
      outdir: folder,
      outExtension: { '.js': '.mjs' },
      chunkNames: 'chunk-[hash]',
      format: 'esm',
      splitting: true,
      // For packages that ask for something by a `require` which esbuild cannot see through.
      banner: { js: "const require = process.getBuiltinModule('module').createRequire(import.meta.url);" },
      plugins: [builtinsAsTheyAre, ...plugins],
    });
    sizes.push(...sizesOf(metafile, cloud));
    await copyConfig(folder);
  }
  const { metafile } = await build({
    ...common,
    entryPoints: [join(root, 'functions-azure', 'main.ts')],
    outfile: join(out, 'functions-azure', 'main.cjs'),
    format: 'cjs',
    external: ['@azure/functions-core'],
    plugins: [handlersBeside],
  });
  sizes.push(...sizesOf(metafile, 'functions-azure'));
  return sizes;
}

const common = {
  absWorkingDir: root,
  bundle: true,
  platform: 'node',
  target: 'node24',
  // The AWS SDK has no `exports`: without this its CommonJS half is taken, which cannot be shaken.
  mainFields: ['module', 'main'],
  minifySyntax: true,
  minifyWhitespace: true,
  // Node shows the line at fault; without this that would be the whole bundle.
  lineLimit: 200,
  // Names stay: errors are told apart by them, and a stack trace is read at 3 a.m.
  sourcemap: 'linked',
  sourcesContent: false,
  legalComments: 'none',
  metafile: true,
  logLevel: 'warning',
} satisfies BuildOptions;

/**
 * Takes Node's own modules as they are, without the ES module that Node makes of each: making that of `http` reads every
 * export, one of which loads the whole of `fetch` (25 ms).
 */
const builtinsAsTheyAre: Plugin = {
  name: 'builtins-as-they-are',
  setup(build) {
    const names = new RegExp(`^(node:)?(${builtinModules.join('|')})$`);
    build.onResolve({ filter: names }, ({ path }) => ({ path, namespace: 'builtin' }));
    build.onLoad({ filter: /./, namespace: 'builtin' }, ({ path }) => ({
      contents: `module.exports = process.getBuiltinModule(${JSON.stringify(path)})`,
    }));
  },
};

/** `main.ts` loads `./handlers/x.ts` when `x` is first called; built, that is `./x.mjs`. */
const handlersBeside: Plugin = {
  name: 'handlers-beside',
  setup(build) {
    build.onResolve({ filter: /^\.\/handlers\/[a-z]+\.ts$/ }, ({ path }) => ({
      path: `./${basename(path, '.ts')}.mjs`,
      external: true,
    }));
  },
};

/**
 * Chunks are named by their content, and a process that was started from the last build may still ask for its own: they
 * stay for a day.
 */
async function dropOldChunks(folder: string): Promise<void> {
  const dayAgo = Date.now() - 24 * 3_600_000;
  for (const name of await readdir(folder)) {
    const path = join(folder, name);
    if (name.startsWith('chunk-') && (await stat(path)).mtimeMs < dayAgo) await rm(path);
  }
}

/** The deployed configuration as JSON, beside the bundle, where `readConfig` looks first. */
async function copyConfig(folder: string): Promise<void> {
  const source = parse(await readFile(join(root, 'holdfast.config.yaml'), 'utf8'));
  await writeFile(join(folder, 'holdfast.config.json'), `${JSON.stringify(source, null, 2)}\n`);
}

function sizesOf(metafile: Metafile, cloud: string): BundleSize[] {
  return (
    Object.entries(metafile.outputs)
      // What is reached by `import()` counts as an entry, too, to esbuild.
      .filter(([, { entryPoint = '' }]) => /^(handlers\/\w+|main)\.ts$/.test(relative(cloud, entryPoint)))
      .map(([path]) => {
        const eager = reach(metafile, [path], ['import-statement', 'require-call']);
        const all = reach(metafile, [path], ['import-statement', 'require-call', 'dynamic-import']);
        return {
          entry: join(basename(dirname(path)), basename(path)),
          eagerBytes: bytesOf(metafile, eager),
          lazyBytes: bytesOf(metafile, all.difference(eager)),
        };
      })
  );
}

function reach(metafile: Metafile, from: string[], kinds: string[]): Set<string> {
  const seen = new Set<string>();
  for (let path = from.pop(); path !== undefined; path = from.pop()) {
    const output = metafile.outputs[path];
    if (seen.has(path) || output === undefined) continue;
    seen.add(path);
    for (const { path: next, kind, external } of output.imports) if (!external && kinds.includes(kind)) from.push(next);
  }
  return seen;
}

function bytesOf(metafile: Metafile, paths: Set<string>): number {
  return [...paths].reduce((sum, path) => sum + metafile.outputs[path]!.bytes, 0);
}

if (import.meta.main) {
  const kilobytes = (bytes: number) => `${(bytes / 1000).toFixed(0)} kB`.padStart(9);
  console.log(`${'bundle'.padEnd(34)} at load      later`);
  for (const { entry, eagerBytes, lazyBytes } of await buildFunctions())
    console.log(`${entry.padEnd(34)}${kilobytes(eagerBytes)}  ${kilobytes(lazyBytes)}`);
}
