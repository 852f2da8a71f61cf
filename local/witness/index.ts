import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { ObjectDisk } from '../aws-emulator/s3/disk.ts';
import { S3Server } from '../aws-emulator/s3/server.ts';
import { WITNESS_BUCKETS } from './buckets.ts';

export { WITNESS_BUCKETS } from './buckets.ts';

export interface Witness {
  /** `http://127.0.0.1:port` */
  readonly endpoint: string;
  readonly port: number;
  close(): Promise<void>;
}

/**
 * The third voter on this machine: an S3-compatible store with two buckets, that stands for Cloudflare R2 or another.
 *
 * @param options.port default 0: any free one
 * @param options.dataDir where it is kept; survives `kill -9`
 */
export async function startWitness(options: { port?: number; dataDir: string }): Promise<Witness> {
  const disk = new ObjectDisk(options.dataDir);
  for (const bucket of Object.values(WITNESS_BUCKETS)) disk.createBucket(bucket);
  const s3 = new S3Server(disk);
  const server = createServer((request, response) => void s3.handle(request, response));
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(options.port ?? 0, '127.0.0.1', resolve);
  });
  const { port } = server.address() as AddressInfo;
  return {
    endpoint: `http://127.0.0.1:${port}`,
    port,
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      disk.close();
    },
  };
}
