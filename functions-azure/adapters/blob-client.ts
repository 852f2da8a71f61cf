import { BlobServiceClient } from '@azure/storage-blob';
import { defaultCredential } from './credential.ts';
import { agentFor, defaultTimeouts, type Timeouts } from './http.ts';

/** How a client reaches the Blob service of an account. */
export interface BlobConnection {
  /** `https://<account>.blob.core.windows.net`. */
  blobEndpoint: string;
  /** Account name and key. Default: managed identity, or what else the Azure SDK finds. */
  storageConnectionString?: string;
  timeouts?: Timeouts;
}

/** Retries are ours: the SDK's own would hide that an earlier attempt was lost. */
export function blobClient(connection: BlobConnection): { service: BlobServiceClient; destroy(): void } {
  const { connectMs } = connection.timeouts ?? defaultTimeouts;
  const { storageConnectionString } = connection;
  const endpoint = storageConnectionString?.match(/BlobEndpoint=([^;]+)/i)?.[1] ?? connection.blobEndpoint;
  const agent = agentFor(endpoint, connectMs);
  // The pipeline beneath takes an agent; the client's own type does not say so.
  const options = { retryOptions: { maxTries: 1 }, agent };
  const service =
    storageConnectionString === undefined
      ? new BlobServiceClient(endpoint, defaultCredential(), options)
      : BlobServiceClient.fromConnectionString(storageConnectionString, options);
  return { service, destroy: () => agent.destroy() };
}
