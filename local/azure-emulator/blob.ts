import { once } from 'node:events';
import { mkdirSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { account, connectionStringTo } from './account.ts';
import { newEtag, requestListener } from './azurite.ts';
import { Chunks } from './blob-chunks.ts';
import { DurableMetadataStore } from './blob-metadata.ts';

export { connectionStringTo } from './account.ts';

export interface BlobEmulatorOptions {
  /** Default `127.0.0.1`. */
  host?: string;
  /** Default 0: any free one. */
  port?: number;
  /** Directory that holds everything; created if missing. One process at a time. */
  dataDir: string;
  /** Containers to create where missing. */
  containers: readonly string[];
}

export interface BlobEmulator {
  /** `http://host:port/account`, without a slash at the end. */
  endpoint: string;
  /** For `BlobServiceClient.fromConnectionString`. */
  connectionString: string;
  port: number;
  close(): Promise<void>;
}

/**
 * Azure Blob Storage on one machine: azurite's HTTP surface and rules in this process, over a store of our own. What was
 * acknowledged survives `kill -9` (not a power cut: nothing waits for the disk). Versions and soft delete are not there.
 *
 * @throws Error `database is locked` if another process serves `dataDir`.
 */
export async function startBlobEmulator(options: BlobEmulatorOptions): Promise<BlobEmulator> {
  const { host = '127.0.0.1', port = 0, dataDir, containers } = options;
  mkdirSync(dataDir, { recursive: true });
  const db = new DatabaseSync(join(dataDir, 'blob.db'));
  db.exec('PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF');
  const chunks = new Chunks(db, join(dataDir, 'chunks'));
  const metadata = new DurableMetadataStore(db, chunks);
  chunks.recover();
  for (const name of containers) metadata.ensureContainer(account.name, name, newEtag());

  const server = createServer({ keepAliveTimeout: 60_000 }, requestListener(metadata, chunks));
  server.listen(port, host);
  await once(server, 'listening');
  const bound = (server.address() as AddressInfo).port;
  const endpoint = `http://${host}:${bound}/${account.name}`;
  return {
    endpoint,
    connectionString: connectionStringTo(endpoint),
    port: bound,
    async close() {
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
      await chunks.close();
      db.close();
    },
  };
}
