import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { transformSync } from 'esbuild';

const root = resolve(import.meta.dirname, '..', '..');
const folders = [
  'shared',
  'runtime',
  'functions-aws',
  'functions-azure',
  'local',
  'cli',
  'client',
  'console',
  'scripts',
];

interface Source {
  /** From the root, with forward slashes. */
  path: string;
  text: string;
  /** What it imports, types included: files from the root, packages by their specifier. */
  imports: string[];
}

function sources(folder: string): Source[] {
  let names: string[];
  try {
    names = readdirSync(join(root, folder), { recursive: true }) as string[];
  } catch {
    return [];
  }
  return names
    .map((name) => join(folder, name).replaceAll('\\', '/'))
    .filter((path) => path.endsWith('.ts') && !path.endsWith('.d.ts') && !/\/(node_modules|test)\//.test(path))
    .map((path) => {
      const text = readFileSync(join(root, path), 'utf8');
      const specifiers = [...text.matchAll(/\b(?:from|import)\s*\(?\s*'([^'\n]+)'/g)].map((match) => match[1]!);
      const imports = specifiers.map((specifier) =>
        specifier.startsWith('.') ? relative(root, resolve(root, dirname(path), specifier)) : specifier,
      );
      return { path, text, imports };
    });
}

const all = folders.flatMap(sources);
const inFolder = (folder: string) => all.filter(({ path }) => path.startsWith(`${folder}/`));
const topOf = (path: string) => path.split('/')[0]!;

/** Each import that `allowed` refuses, as `file -> import`. */
function violations(files: readonly Source[], allowed: (target: string, from: string) => boolean): string[] {
  return files.flatMap(({ path, imports }) =>
    imports.filter((target) => !allowed(target, path)).map((target) => `${path} -> ${target}`),
  );
}

test('the search finds the sources and their imports', () => {
  expect(inFolder('shared').length).toBeGreaterThan(10);
  expect(all.find(({ path }) => path === 'shared/core.ts')?.imports).toContain('shared/settings.ts');
});

describe('shared/', () => {
  const shared = inFolder('shared');

  test('imports nothing of ours but itself', () => {
    const others = folders.filter((folder) => folder !== 'shared');
    expect(violations(shared, (target) => !others.includes(topOf(target)))).toEqual([]);
  });

  test('imports no vendor SDK and no logger', () => {
    expect(
      violations(shared, (target) => !/^(@aws-sdk|@smithy|@azure|@azure-rest|pino|rhea)(\/|$)/.test(target)),
    ).toEqual([]);
  });

  test('imports no clock, environment, file system or socket of Node', () => {
    const impure =
      /^node:(fs|os|process|timers|child_process|cluster|worker_threads|perf_hooks|https?|http2|tls|dgram|dns)(\/|$)/;
    expect(violations(shared, (target) => !impure.test(target))).toEqual([]);
  });

  // A key or nonce that a seed could repeat would be no secret: here the machine's own randomness is the point.
  const secrecy = ['shared/journal/sealed.ts'];

  test('reads no clock, dice, timer or environment', () => {
    const forbidden =
      /\b(process\.|Date\.now\b|Math\.random\b|new Date\(\)|new Date\b(?!\()|performance\.now|setTimeout\(|setInterval\(|crypto\.randomUUID|randomBytes|randomUUID)/g;
    const found = shared.flatMap(({ path, text }) => {
      if (secrecy.includes(path)) return [];
      // Comments may name them.
      const code = transformSync(text, { loader: 'ts', minifyWhitespace: true, legalComments: 'none' }).code;
      return [...code.matchAll(forbidden)].map((match) => `${path}: ${match[0]}`);
    });
    expect(found).toEqual([]);
  });
});

describe('the two clouds', () => {
  const otherCloud = { 'functions-aws': 'functions-azure', 'functions-azure': 'functions-aws' } as const;
  const sdk = { 'functions-aws': /^@azure(-rest)?\//, 'functions-azure': /^@(aws-sdk|smithy)\// } as const;

  test.each(['functions-aws', 'functions-azure'] as const)(
    '%s knows the other cloud only where wire.ts connects its site',
    (folder) => {
      const allowed = (target: string, from: string) =>
        topOf(target) !== otherCloud[folder] ||
        (from === `${folder}/wire.ts` && target.startsWith(`${otherCloud[folder]}/adapters/`));
      expect(violations(inFolder(folder), allowed)).toEqual([]);
    },
  );

  test.each(['functions-aws', 'functions-azure'] as const)("%s imports no SDK of the other cloud's", (folder) => {
    expect(violations(inFolder(folder), (target) => !sdk[folder].test(target))).toEqual([]);
  });

  test('have the same handlers', () => {
    const names = (folder: string) => inFolder(`${folder}/handlers`).map(({ path }) => path.slice(folder.length));
    expect(names('functions-aws').sort()).toEqual(names('functions-azure').sort());
  });
});

test('runtime/ joins the core to Node and imports no SDK', () => {
  const allowed = (target: string) => ['runtime', 'shared'].includes(topOf(target)) || /^(node:|yaml$)/.test(target);
  expect(violations(inFolder('runtime'), allowed)).toEqual([]);
});

test('nothing that runs imports a test', () => {
  expect(violations(all, (target) => topOf(target) !== 'test')).toEqual([]);
});

test('imports between folders make no circle, the two wires apart', () => {
  const edges = new Map<string, Set<string>>();
  for (const { path, imports } of all) {
    if (/^functions-(aws|azure)\/wire\.ts$/.test(path)) continue;
    for (const target of imports) {
      if (!folders.includes(topOf(target)) || topOf(target) === topOf(path)) continue;
      edges.set(topOf(path), (edges.get(topOf(path)) ?? new Set()).add(topOf(target)));
    }
  }
  const circles: string[] = [];
  const walk = (folder: string, way: readonly string[]): void => {
    if (way.includes(folder)) {
      circles.push([...way.slice(way.indexOf(folder)), folder].join(' -> '));
      return;
    }
    for (const next of edges.get(folder) ?? []) walk(next, [...way, folder]);
  };
  for (const folder of edges.keys()) walk(folder, []);
  expect(circles).toEqual([]);
});
