import { BlockList, isIP } from 'node:net';

/** How a host name becomes addresses; the shell's resolver, or a test's. */
export type Lookup = (host: string) => Promise<readonly string[]>;

export interface AddressRules {
  /** Hosts, addresses and CIDR ranges that may be reached although they are private, also over plain http. */
  allowPrivate: readonly string[];
  lookup: Lookup;
}

/** Where a request may go: to one of `addresses`, and to no other, or the check was for nothing. */
export type GuardedAddress = { url: URL; addresses: readonly string[] } | { refused: string };

/**
 * Ranges that lead into a cloud's or a company's own network, or nowhere.
 * @source https://www.iana.org/assignments/iana-ipv4-special-registry 2026-08
 */
const privateIPv4 = blockList([
  '0.0.0.0/8',
  '10.0.0.0/8',
  '100.64.0.0/10',
  '127.0.0.0/8',
  // Instance metadata of every cloud lies in here.
  '169.254.0.0/16',
  '172.16.0.0/12',
  '192.0.0.0/24',
  '192.0.2.0/24',
  '192.88.99.0/24',
  '192.168.0.0/16',
  '198.18.0.0/15',
  '198.51.100.0/24',
  '203.0.113.0/24',
  '224.0.0.0/4',
  '240.0.0.0/4',
  // Azure's own services for a virtual machine. @source https://learn.microsoft.com/azure/virtual-network/what-is-ip-address-168-63-129-16 2026-08
  '168.63.129.16/32',
]);
/** All that is routed on the internet. @source https://www.iana.org/assignments/ipv6-address-space 2026-08 */
const publicIPv6 = blockList(['2000::/3']);
/** Parts of it that are not, or that carry an IPv4 address inside (6to4, Teredo). */
const privateIPv6 = blockList(['2001::/23', '2001:db8::/32', '2002::/16', '3fff::/20']);
/** IPv4 written as IPv6. */
const mappedIPv4 = blockList(['::ffff:0:0/96']);

/**
 * Says whether a webhook or model address may be called, and at which addresses. The URL parser has made decimal, octal
 * and hexadecimal forms of IPv4 plain by then; a name is judged by every address that it resolves to. Redirects must
 * not be followed: each would need a judgement of its own.
 */
export async function guardAddress(address: string, rules: AddressRules): Promise<GuardedAddress> {
  const url = URL.parse(address);
  if (url === null) return { refused: 'not an absolute address' };
  if (url.protocol !== 'https:' && url.protocol !== 'http:') return { refused: 'neither https nor http' };
  if (url.username !== '' || url.password !== '') return { refused: 'carries credentials' };
  const host = url.hostname.replace(/^\[|\]$/g, '').replace(/\.$/, '');
  const addresses = isIP(host) === 0 ? await resolve(host, rules.lookup) : [host];
  if (addresses.length === 0) return { refused: 'does not resolve' };
  if (allowed(host, addresses, rules.allowPrivate)) return { url, addresses };
  if (url.protocol !== 'https:') return { refused: 'not https' };
  if (!addresses.every(isPublic)) return { refused: 'leads to a private address' };
  return { url, addresses };
}

/** True for an address of the internet at large. */
export function isPublic(address: string): boolean {
  if (isIP(address) === 4) return !privateIPv4.check(address, 'ipv4');
  if (isIP(address) !== 6) return false;
  // BlockList looks through the mapping itself.
  if (mappedIPv4.check(address, 'ipv6')) return !privateIPv4.check(address, 'ipv6');
  return publicIPv6.check(address, 'ipv6') && !privateIPv6.check(address, 'ipv6');
}

async function resolve(host: string, lookup: Lookup): Promise<readonly string[]> {
  try {
    return (await lookup(host)).filter((address) => isIP(address) !== 0);
  } catch {
    return [];
  }
}

function allowed(host: string, addresses: readonly string[], allowPrivate: readonly string[]): boolean {
  if (allowPrivate.some((one) => one.toLowerCase() === host.toLowerCase())) return true;
  const ranges = blockList(allowPrivate.filter((one) => isIP(one.split('/')[0]!) !== 0));
  return addresses.every((address) => ranges.check(address, isIP(address) === 4 ? 'ipv4' : 'ipv6'));
}

function blockList(ranges: readonly string[]): BlockList {
  const list = new BlockList();
  for (const range of ranges) {
    const [address, prefix] = range.split('/') as [string, string | undefined];
    const family = isIP(address) === 4 ? 'ipv4' : 'ipv6';
    list.addSubnet(address, prefix === undefined ? (family === 'ipv4' ? 32 : 128) : Number(prefix), family);
  }
  return list;
}
