import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { ConfigError } from '../shared/errors.ts';
import type { DurationMs } from '../shared/units.ts';

/**
 * Takes a directory for this process alone, until the process ends by whatever death: the lock is the operating
 * system's, on a database file, so nothing stale is ever left.
 * @param waitMs how long to wait for whoever holds it; the thread stands still meanwhile
 * @returns gives it back
 * @throws ConfigError naming the directory and who holds it
 */
export function lockDirectory(directory: string, waitMs: DurationMs = 0): () => void {
  mkdirSync(directory, { recursive: true });
  const owner = join(directory, 'owner.pid');
  const file = join(directory, 'owner.lock');
  const db = waitMs === 0 ? tryLock(file) : waitForLock(file, performance.now() + waitMs);
  if (db === undefined)
    throw new ConfigError('data', `data: ${directory} is in use by another instance${holder(owner)}`);
  held.add(db);
  writeFileSync(owner, String(process.pid));
  return () => {
    if (held.delete(db)) db.close();
  };
}

/**
 * The transaction holds the lock. Not `locking_mode = EXCLUSIVE`: two that ask in the same moment would each keep a
 * shared lock that the other one waits for.
 */
function tryLock(file: string): DatabaseSync | undefined {
  const db = new DatabaseSync(file);
  try {
    db.exec('BEGIN EXCLUSIVE');
    return db;
  } catch (error) {
    db.close();
    if (!/locked/.test(String((error as Error).message))) throw error;
    return undefined;
  }
}

function waitForLock(file: string, until: number): DatabaseSync | undefined {
  for (;;) {
    const db = tryLock(file);
    if (db !== undefined || performance.now() > until) return db;
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, pauseMs);
  }
}

const pauseMs: DurationMs = 50;

/** A database that nobody refers to is collected, and its lock with it. */
const held = new Set<DatabaseSync>();

function holder(file: string): string {
  try {
    return ` (process ${readFileSync(file, 'utf8')})`;
  } catch {
    return '';
  }
}
