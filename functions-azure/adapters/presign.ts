import {
  BlobSASPermissions,
  type BlobServiceClient,
  generateBlobSASQueryParameters,
  SASProtocol,
  StorageSharedKeyCredential,
  type UserDelegationKey,
} from '@azure/storage-blob';
import type { Presigner } from '../../shared/ports/presign.ts';
import type { DurationMs } from '../../shared/units.ts';
import { blobError } from './errors.ts';
import { attempt, defaultTimeouts, retryBriefly, type Timeouts } from './http.ts';

/** Addresses are good from a little earlier on, as clocks differ. */
const CLOCK_SKEW_MS = 5 * 60_000;

/**
 * A user delegation key lives for seven days at most, and an address no longer than its key.
 * @source https://learn.microsoft.com/rest/api/storageservices/get-user-delegation-key (2026-11-20)
 */
const DELEGATION_KEY_MS = 7 * 24 * 3_600_000;

export interface BlobPresignerOptions {
  service: BlobServiceClient;
  container: string;
  /** As in errors: `azure/journal`. */
  name: string;
  timeouts?: Timeouts;
}

/**
 * Addresses that let a client that has no credentials of ours put or get one blob directly. An upload may create a blob,
 * not replace one. Blob does not bind an address to a size: whoever reads the upload compares its length.
 *
 * @source https://learn.microsoft.com/rest/api/storageservices/create-service-sas (2026-11-20)
 */
export function blobPresigner(options: BlobPresignerOptions): Presigner {
  const { service, container, name, timeouts = defaultTimeouts } = options;
  let delegated: { key: UserDelegationKey; expiresOn: number } | undefined;

  /** Signs with the account's key, or with one that the service lends to our identity. */
  const signingKey = async (until: number): Promise<UserDelegationKey> => {
    if (delegated === undefined || delegated.expiresOn < until) {
      const startsOn = Date.now() - CLOCK_SKEW_MS;
      const expiresOn = startsOn + DELEGATION_KEY_MS;
      const translate = (error: unknown) => blobError(error, name, 'repeatable');
      const key = await retryBriefly({}, () =>
        attempt(timeouts, {}, { translate }, (abortSignal) =>
          service.getUserDelegationKey(new Date(startsOn), new Date(expiresOn), { abortSignal }),
        ),
      );
      delegated = { key, expiresOn };
    }
    return delegated.key;
  };

  const sign = async (key: string, permissions: string, expiresInMs: DurationMs, reply: object): Promise<string> => {
    const blob = service.getContainerClient(container).getBlobClient(key);
    const expiresOn = Math.min(Date.now() + expiresInMs, Date.now() + DELEGATION_KEY_MS - 2 * CLOCK_SKEW_MS);
    const values = {
      containerName: container,
      blobName: key,
      permissions: BlobSASPermissions.parse(permissions),
      startsOn: new Date(Date.now() - CLOCK_SKEW_MS),
      expiresOn: new Date(expiresOn),
      protocol: blob.url.startsWith('https:') ? SASProtocol.Https : SASProtocol.HttpsAndHttp,
      ...reply,
    };
    const { credential } = service;
    const query =
      credential instanceof StorageSharedKeyCredential
        ? generateBlobSASQueryParameters(values, credential)
        : generateBlobSASQueryParameters(values, await signingKey(expiresOn), service.accountName);
    return `${blob.url}?${query}`;
  };

  return {
    async uploadTo(key, { expiresInMs }) {
      const url = await sign(key, 'c', expiresInMs, {});
      return { url, method: 'PUT', headers: { 'x-ms-blob-type': 'BlockBlob' } };
    },
    async downloadFrom(key, { expiresInMs, fileName, contentType }) {
      const contentDisposition = fileName && `attachment; filename="${fileName.replaceAll(/[^\w.-]/g, '_')}"`;
      return await sign(key, 'r', expiresInMs, { contentDisposition, contentType });
    },
  };
}
