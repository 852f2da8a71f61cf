import { randomBytes, randomUUID } from 'node:crypto';
import { linkSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** What the stores of one data directory are, for as long as they live. */
export interface Identity {
  /** Incarnation of each store that votes. */
  readonly incarnations: { readonly aws: string; readonly azure: string; readonly witness: string };
  /** Encrypts content at the witness; 32 bytes in base64. */
  readonly contentKey: string;
}

/** The identity of a data directory, made when it is first asked for. Any number of processes may ask at once. */
export function identityOf(dataDir: string): Identity {
  const file = join(dataDir, 'identity.json');
  mkdirSync(dataDir, { recursive: true });
  const uuid = () => randomUUID().replaceAll('-', '');
  const fresh: Identity = {
    incarnations: { aws: uuid(), azure: uuid(), witness: uuid() },
    contentKey: randomBytes(32).toString('base64'),
  };
  // Linked into place whole: nobody reads half of it, and the first one stays.
  const draft = `${file}.${process.pid}`;
  writeFileSync(draft, JSON.stringify(fresh, null, 2), { mode: 0o600 });
  try {
    linkSync(draft, file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  } finally {
    rmSync(draft);
  }
  return JSON.parse(readFileSync(file, 'utf8')) as Identity;
}
