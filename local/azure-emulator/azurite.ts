import { createRequire } from 'node:module';
import type { Readable } from 'node:stream';

/**
 * The parts of azurite 3.35 that the Blob emulator is made of, typed as far as it uses them. azurite publishes neither
 * types nor an `exports` map; everything that depends on its inner layout is in this file.
 *
 * Taken from it: the HTTP surface (shared key, SAS, XML, headers) and the rules in `LokiBlobMetadataStore` (conditions,
 * leases, block lists). Not taken: its LokiJS files, saved every five seconds, and its extents, of which a `kill -9`
 * loses the index.
 */
const require = createRequire(import.meta.url);
const part = (path: string) => require(`azurite/dist/src/${path}.js`);

/** What a request handler passes along; azurite's `Context`. */
export interface RequestContext {
  contextId?: string;
  startTime?: Date;
  request?: { getQuery(name: string): string | undefined; getHeader(name: string): string | undefined };
}

/** Where bytes are: azurite calls it an extent chunk. */
export interface Extent {
  id: string;
  offset: number;
  count: number;
}

/** A document of the metadata: container, blob, block or service properties. */
export interface Doc {
  $loki?: number;
  [field: string]: unknown;
}

export interface BlobDoc extends Doc {
  accountName: string;
  containerName: string;
  name: string;
  snapshot: string;
  isCommitted: boolean;
  properties: Record<string, unknown>;
  persistency?: Extent;
  committedBlocksInOrder?: { persistency: Extent }[];
}

/** One page of a listing, with or without a delimiter. */
interface ListingPage {
  add(name: string, doc: BlobDoc): boolean;
  blobItems: BlobDoc[];
  prefixes(): { name: string }[];
  latestMarker: string;
}

interface LokiBlobMetadataStore {
  db: unknown;
  SERVICES_COLLECTION: string;
  CONTAINERS_COLLECTION: string;
  BLOBS_COLLECTION: string;
  BLOCKS_COLLECTION: string;
  initialized: boolean;
  closed: boolean;
  createBlob(context: RequestContext, blob: BlobDoc, lease?: unknown, conditions?: unknown): Promise<unknown>;
  downloadBlob(context: RequestContext, ...which: unknown[]): Promise<BlobDoc>;
}

/** Bytes; azurite's `IExtentStore`. */
export interface ExtentStore {
  isInitialized(): boolean;
  isClosed(): boolean;
  init(): Promise<void>;
  close(): Promise<void>;
  appendExtent(data: Readable | Buffer, contextId?: string): Promise<Extent>;
  readExtent(extent: Extent | undefined, contextId?: string): Promise<Readable>;
  readExtents(extents: Extent[], offset?: number, count?: number, contextId?: string): Promise<Readable>;
}

export const BaseMetadataStore: new (path: string, inMemory: boolean) => LokiBlobMetadataStore = part(
  'blob/persistence/LokiBlobMetadataStore',
).default;

export const PageWithDelimiter: new (max: number, delimiter: string | undefined, prefix: string) => ListingPage = part(
  'blob/persistence/PageWithDelimiter',
).default;

const StorageErrorFactory = part('blob/errors/StorageErrorFactory').default;
const AccountDataStore = part('common/AccountDataStore').default;
const ListenerFactory = part('blob/BlobRequestListenerFactory').default;
const logger = part('common/Logger').default;
const commonUtils = part('common/utils/utils');
const telemetry = part('common/Telemetry').AzuriteTelemetryClient;

/** The answer 416 to a range of a blob of `bytes`. */
export const invalidRange = (context: RequestContext, bytes: number): Error =>
  StorageErrorFactory.getInvalidPageRange2(context.contextId, `bytes */${bytes}`);

/** azurite's express application over the given stores: strict mode, API versions unchecked, no log, no telemetry. */
export function requestListener(metadata: unknown, extents: ExtentStore) {
  telemetry.init('', false, undefined);
  const factory = new ListenerFactory(
    metadata,
    extents,
    new AccountDataStore(logger),
    false, // enableAccessLog
    undefined, // accessLogWriteStream
    false, // loose
    true, // skipApiVersionCheck: the client's version is newer than the newest azurite knows
    undefined, // oauth
    true, // disableProductStyleUrl: the account is always the first path segment
  );
  return factory.createRequestListener();
}

/** From the beginning of year 1, where the service's ticks begin. */
const MS_TO_1970 = 62_135_596_800_000n;

let lastEtag = 0n;

/**
 * azurite draws ETags from clock × 30,000 values, so two writes may share one, which a register cannot bear. The real
 * service counts 100 ns ticks; so do we, and never give a number twice, restarts included, since the clock moves on.
 */
export function newEtag(): string {
  const ticks = (BigInt(Date.now()) + MS_TO_1970) * 10_000n;
  lastEtag = ticks > lastEtag ? ticks : lastEtag + 1n;
  return `"0x${lastEtag.toString(16).toUpperCase()}"`;
}
commonUtils.newEtag = newEtag;
