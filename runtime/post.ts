import { lookup as resolveAll } from 'node:dns/promises';
import { request as requestPlain } from 'node:http';
import { request as requestSecure } from 'node:https';
import { isIP, type LookupFunction } from 'node:net';
import type { Post } from '../shared/api/webhooks.ts';
import type { Lookup } from '../shared/inference/address.ts';

/** The machine's resolver: every address of a host. */
export const systemLookup: Lookup = async (host) =>
  (await resolveAll(host, { all: true })).map(({ address }) => address);

/**
 * Posts over a connection of its own to one of the addresses that were judged, whatever the name resolves to by now.
 * The answer is its status: it ends there, follows nothing, and its body is not read.
 */
export const systemPost: Post = ({ url, addresses, headers, body, signal }) =>
  new Promise((resolve, reject) => {
    const judged = addresses.map((address) => ({ address, family: isIP(address) }));
    const lookup: LookupFunction = (_host, { all }, done) =>
      all ? done(null, judged) : done(null, judged[0]!.address, judged[0]!.family);
    const bytes = Buffer.from(body);
    const request = (url.protocol === 'https:' ? requestSecure : requestPlain)(url, {
      method: 'POST',
      headers: { ...headers, 'content-length': bytes.byteLength },
      agent: false,
      signal,
      lookup,
    });
    request.once('error', reject);
    request.once('response', (response) => {
      resolve(response.statusCode ?? 0);
      response.destroy();
    });
    request.end(bytes);
  });
