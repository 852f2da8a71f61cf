import { lookup as resolve } from 'node:dns/promises';
import { request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { isIP } from 'node:net';
import type { Post } from '../shared/api/webhooks.ts';
import type { Lookup } from '../shared/inference/address.ts';

/** Every address of a host, as the machine resolves it. */
export const lookupAll: Lookup = async (host) => (await resolve(host, { all: true })).map(({ address }) => address);

/**
 * POSTs to the addresses that were judged, and to no other: between the judgement and the connection a name may be made
 * to resolve elsewhere. Certificates are still held against the host name. No redirect is followed, no answer is read.
 */
export const postPinned: Post = ({ url, addresses, headers, body, signal }) =>
  new Promise((done, fail) => {
    const pinned = addresses.map((address) => ({ address, family: isIP(address) }));
    const request = (url.protocol === 'https:' ? httpsRequest : httpRequest)(
      url,
      {
        method: 'POST',
        headers: { ...headers, 'content-length': Buffer.byteLength(body) },
        signal,
        agent: false,
        lookup: (_host, options, answer) => {
          if (options.all === true) answer(null, pinned);
          else answer(null, pinned[0]!.address, pinned[0]!.family);
        },
      },
      (response) => {
        response.destroy();
        done(response.statusCode ?? 0);
      },
    );
    request.on('error', fail);
    request.end(body);
  });
