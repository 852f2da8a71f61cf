import { createRequire } from 'node:module';

/** A few constants; the rest of azurite takes half a second to load. */
const constants = createRequire(import.meta.url)('azurite/dist/src/blob/utils/constants.js');

/** The well-known account of every Azure storage emulator; it opens nothing but an emulator. */
export const account = {
  name: constants.EMULATOR_ACCOUNT_NAME as string,
  key: constants.EMULATOR_ACCOUNT_KEY_STR as string,
};

/** The same account behind another address: a proxy that injects faults, say. */
export function connectionStringTo(endpoint: string): string {
  const parts = { AccountName: account.name, AccountKey: account.key, BlobEndpoint: endpoint };
  const pairs = Object.entries(parts).map(([name, value]) => `${name}=${value}`);
  return `DefaultEndpointsProtocol=http;${pairs.join(';')};`;
}
