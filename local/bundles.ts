import { cpSync, readdirSync, rmSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { lockDirectory } from './lock.ts';

const root = resolve(import.meta.dirname, '..');
const dist = join(root, 'dist');

/** What the bundles are made of. */
const sources = [
  'shared',
  'runtime',
  'functions-aws',
  'functions-azure',
  'scripts',
  'holdfast.config.yaml',
  'package-lock.json',
];
/** The last files that a build writes. */
const built = [
  'functions-aws/holdfast.config.json',
  'functions-azure/holdfast.config.json',
  'functions-azure/main.cjs',
];

/** Another process may be building. */
const LOCK_WAIT_MS = 60_000;

/** Builds the functions where `dist` is missing or older than a source. */
export async function ensureBuilt(): Promise<void> {
  const unlock = lockDirectory(dist, LOCK_WAIT_MS);
  try {
    const newest = Math.max(...sources.map((source) => newestIn(join(root, source))));
    const oldest = Math.min(
      ...built.map((file) => statSync(join(dist, file), { throwIfNoEntry: false })?.mtimeMs ?? 0),
    );
    if (oldest > newest) return;
    const { buildFunctions } = await import('../scripts/build.ts');
    await buildFunctions(dist);
  } finally {
    unlock();
  }
}

/**
 * Copies one cloud's bundle to the cloud's own directory, as a deployment does: what runs there does not change when
 * somebody builds. @returns the folder that holds `dist/`
 */
export function deploy(functions: 'functions-aws' | 'functions-azure', dataDir: string, from = dist): string {
  const codeDir = join(dataDir, 'deployed');
  const unlock = lockDirectory(from, LOCK_WAIT_MS);
  try {
    rmSync(codeDir, { recursive: true, force: true });
    cpSync(join(from, functions), join(codeDir, 'dist', functions), { recursive: true });
  } finally {
    unlock();
  }
  return codeDir;
}

function newestIn(path: string): number {
  const stat = statSync(path);
  if (!stat.isDirectory()) return stat.mtimeMs;
  return Math.max(stat.mtimeMs, ...readdirSync(path).map((name) => newestIn(join(path, name))));
}
