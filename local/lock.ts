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
  const until = performance.now() + waitMs;
  const db = new DatabaseSync(join(directory, 'owner.lock'), { timeout: waitMs });
  for (;;) {
    try {
      db.exec('PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE');
      break;
    } catch (cause) {
      // Two that ask in the same moment may both be refused at once, however long each of them would wait.
      const isLocked = /locked/.test(String((cause as Error).message));
      if (isLocked && performance.now() < until) {
        pause();
        continue;
      }
      db.close();
      if (!isLocked) throw cause;
      throw new ConfigError('data', `data: ${directory} is in use by another instance${holder(owner)}`, { cause });
    }
  }
  held.add(db);
  writeFileSync(owner, String(process.pid));
  return () => {
    if (held.delete(db)) db.close();
  };
}

const pauseMs: DurationMs = 50;
const pause = () => void Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, pauseMs);

/** A database that nobody refers to is collected, and its lock with it. */
const held = new Set<DatabaseSync>();

function holder(file: string): string {
  try {
    return ` (process ${readFileSync(file, 'utf8')})`;
  } catch {
    return '';
  }
}
