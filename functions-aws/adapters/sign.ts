import { createHash, createHmac } from 'node:crypto';
import { defaultProvider } from '@aws-sdk/credential-provider-node';
import { SignatureV4 } from '@smithy/signature-v4';
import { signingService } from '../../shared/inference/base-url.ts';
import type { Authorize } from '../../shared/inference/openai.ts';
import type { AwsCredentials } from './site.ts';

export interface SigningIdentity {
  region: string;
  /** Default: the SDK's own chain (environment, role). */
  credentials?: AwsCredentials;
}

/**
 * Signs requests with an AWS identity (SigV4), for endpoints of AWS that are called with plain `fetch`.
 * @source https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html (2026-11)
 */
export function requestSigner({ region, credentials }: SigningIdentity): Authorize {
  const identity = credentials ?? defaultProvider();
  const signers = new Map<string, SignatureV4>();
  return async ({ method, url, body }) => {
    const { protocol, hostname, host, port, pathname } = new URL(url);
    const service = signingService(url);
    const signer = signers.get(service) ?? new SignatureV4({ service, region, credentials: identity, sha256: Sha256 });
    signers.set(service, signer);
    const signed = await signer.sign({
      method,
      protocol,
      hostname,
      ...(port !== '' && { port: Number(port) }),
      path: pathname,
      headers: { host, 'content-type': 'application/json' },
      body,
    });
    // fetch writes the host itself.
    const { host: _, ...headers } = signed.headers;
    return headers;
  };
}

/** SHA-256 as the signer wants it, from Node instead of one more package. */
class Sha256 {
  readonly #hash;
  constructor(secret?: string | ArrayBuffer | ArrayBufferView) {
    this.#hash = secret === undefined ? createHash('sha256') : createHmac('sha256', bytesOf(secret));
  }
  update(piece: string | ArrayBuffer | ArrayBufferView): void {
    this.#hash.update(bytesOf(piece));
  }
  async digest(): Promise<Uint8Array> {
    return this.#hash.digest();
  }
  reset(): void {
    throw new Error('a hash is used once');
  }
}

function bytesOf(piece: string | ArrayBuffer | ArrayBufferView): Uint8Array {
  if (typeof piece === 'string') return Buffer.from(piece, 'utf8');
  return ArrayBuffer.isView(piece)
    ? new Uint8Array(piece.buffer, piece.byteOffset, piece.byteLength)
    : new Uint8Array(piece);
}
