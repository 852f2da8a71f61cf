/**
 * A lock token is a UUID. In `$management` it travels as one; as the tag of a delivery its bytes are in .NET's order,
 * with the first three fields the other way round.
 * @source https://github.com/Azure/azure-sdk-for-js (util/utils.ts, reorderLockToken) 2026-11
 */
export const lockTokenBytes = (token: string): Buffer => Buffer.from(token.replaceAll('-', ''), 'hex');

export function lockTokenOf(bytes: Buffer): string {
  const hex = bytes.toString('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}

export const deliveryTag = (token: string): Buffer => swapped(lockTokenBytes(token));

export const lockTokenOfTag = (tag: Buffer): string => lockTokenOf(swapped(tag));

function swapped(bytes: Buffer): Buffer {
  const result = Buffer.from(bytes);
  result.subarray(0, 4).reverse();
  result.subarray(4, 6).reverse();
  result.subarray(6, 8).reverse();
  return result;
}
