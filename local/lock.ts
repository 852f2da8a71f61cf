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
  const db = new DatabaseSync(join(directory, 'owner.lock'), { timeout: waitMs });
  try {
    db.exec('PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE');
  } catch (cause) {
    db.close();
    if (!/locked/.test(String((cause as Error).message))) throw cause;
    throw new ConfigError('data', `data: ${directory} is in use by another instance${holder(owner)}`, { cause });
  }
  held.add(db);
  writeFileSync(owner, String(process.pid));
  return () => {
    if (held.delete(db)) db.close();
  };
}

/** A database that nobody refers to is collected, and its lock with it. */
const held = new Set<DatabaseSync>();

function holder(file: string): string {
  try {
    return ` (process ${readFileSync(file, 'utf8')})`;
  } catch {
    return '';
  }
}
