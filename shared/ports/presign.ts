import type { DurationMs } from '../units.ts';

/** Makes addresses under which a client moves bytes to and from a store directly, past the limits of a function. */
export interface Presigner {
  /** An address that takes one object of exactly this size. */
  uploadTo(key: string, options: UploadGrant): Promise<DirectUpload>;
  /** An address that gives one object. */
  downloadFrom(key: string, options: DownloadGrant): Promise<string>;
}

export interface UploadGrant {
  bytes: number;
  /** At most 7 days. */
  expiresInMs: DurationMs;
}

export interface DirectUpload {
  url: string;
  method: 'PUT';
  /** To be sent beside the body, as they are; never with an `Authorization` header. */
  headers: Record<string, string>;
}

export interface DownloadGrant {
  /** At most 7 days. */
  expiresInMs: DurationMs;
  /** Offered to whoever saves it; other characters than letters, digits, `.`, `-` and `_` become `_`. */
  fileName?: string;
  contentType?: string;
}

/** What the front door of a site hands out: uploads go below `staging/` of `state`, downloads come from `journal`. */
export interface SitePresigners {
  readonly state: Presigner;
  readonly journal: Presigner;
}
