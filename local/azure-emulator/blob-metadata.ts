import type { DatabaseSync } from 'node:sqlite';
import {
  BaseMetadataStore,
  type BlobDoc,
  type Doc,
  type Extent,
  invalidRange,
  PageWithDelimiter,
  type RequestContext,
} from './azurite.ts';
import type { Chunks } from './blob-chunks.ts';
import { Documents } from './blob-documents.ts';

/** The most entries a page of a listing may have. */
const PAGE_ENTRIES_MAX = 5_000;

/** azurite's rules over documents that are durable when a request is answered, with what azurite 3.35 does otherwise. */
export class DurableMetadataStore extends BaseMetadataStore {
  declare db: Documents;

  constructor(db: DatabaseSync, chunks: Chunks) {
    super('', true);
    const documents = new Documents(db);
    const referred = new Map<number, string[]>();
    const keepReferences = (id: number, doc: Doc | undefined) => {
      const now = doc ? referencesOf(doc) : [];
      chunks.retain(now);
      chunks.release(referred.get(id) ?? []);
      if (doc) referred.set(id, now);
      else referred.delete(id);
    };
    documents.open(this.SERVICES_COLLECTION, ['accountName']);
    documents.open(this.CONTAINERS_COLLECTION, ['accountName', 'name']);
    documents.open(this.BLOBS_COLLECTION, ['accountName', 'containerName', 'name'], keepReferences);
    documents.open(this.BLOCKS_COLLECTION, ['accountName', 'containerName', 'blobName'], keepReferences);
    this.db = documents;
    this.initialized = true;
    this.closed = false;
  }

  /** Creates a container unless it is there. */
  ensureContainer(accountName: string, name: string, etag: string): void {
    const containers = this.db.getCollection(this.CONTAINERS_COLLECTION);
    if (containers.findOne({ accountName, name })) return;
    containers.insert({
      accountName,
      name,
      properties: {
        etag,
        lastModified: new Date(),
        leaseStatus: 'unlocked',
        leaseState: 'available',
        hasImmutabilityPolicy: false,
        hasLegalHold: false,
      },
    });
  }

  /**
   * Put Blob. Staged blocks do not make a blob: the service creates over them, azurite answers 409 to
   * `If-None-Match: *`. And Put Blob discards them, which azurite forgets.
   *
   * @source https://learn.microsoft.com/rest/api/storageservices/put-block#remarks (2026-11-20)
   */
  override async createBlob(context: RequestContext, blob: BlobDoc, lease?: unknown, conditions?: unknown) {
    const { accountName, containerName, name } = blob;
    const blobs = this.db.getCollection(this.BLOBS_COLLECTION);
    const staged = blobs.findOne({ accountName, containerName, name, snapshot: '', isCommitted: false });
    if (staged) blobs.remove(staged);
    const created = await super.createBlob(context, blob, lease, conditions);
    this.db.getCollection(this.BLOCKS_COLLECTION).findAndRemove({ accountName, containerName, blobName: name });
    return created;
  }

  /**
   * Get Blob. A range that begins at the end is as invalid as one beyond it; azurite lets it pass.
   *
   * @source https://learn.microsoft.com/rest/api/storageservices/blob-service-error-codes `InvalidRange` (2026-11-20)
   */
  override async downloadBlob(context: RequestContext, ...which: unknown[]): Promise<BlobDoc> {
    const blob = await super.downloadBlob(context, ...which);
    const bytes = Number(blob.properties.contentLength);
    const range = context.request?.getHeader('x-ms-range') ?? context.request?.getHeader('range');
    const start = range?.match(/^bytes=(\d+)-/)?.[1];
    if (start !== undefined && Number(start) >= bytes) throw invalidRange(context, bytes);
    return blob;
  }

  /** List Blobs, from the index rather than by scanning and sorting all, and with `startFrom`, which azurite ignores. */
  async listBlobs(
    context: RequestContext,
    accountName: string,
    containerName: string,
    delimiter: string | undefined,
    _blob: undefined,
    prefix = '',
    max = PAGE_ENTRIES_MAX,
    marker = '',
    includeSnapshots = false,
    includeUncommitted = false,
  ): Promise<[BlobDoc[], { name: string }[], string]> {
    const page = new PageWithDelimiter(max, delimiter, prefix);
    const startFrom = context.request?.getQuery('startFrom') ?? '';
    const first = [prefix, marker, startFrom].reduce((a, b) => (a > b ? a : b));
    for (const versions of this.db.getCollection(this.BLOBS_COLLECTION).from([accountName, containerName, first])) {
      for (const doc of versions as Set<BlobDoc>) {
        if (doc.accountName !== accountName || doc.containerName !== containerName || !doc.name.startsWith(prefix)) {
          return [page.blobItems, page.prefixes(), ''];
        }
        if (doc.name === marker || (doc.snapshot !== '' && !includeSnapshots)) continue;
        if (!doc.isCommitted && !includeUncommitted) continue;
        if (!page.add(doc.name, doc)) return [page.blobItems, page.prefixes(), page.latestMarker];
      }
    }
    return [page.blobItems, page.prefixes(), ''];
  }
}

function referencesOf(doc: Doc): string[] {
  const { persistency, committedBlocksInOrder, pageRangesInOrder } = doc as {
    persistency?: Extent;
    committedBlocksInOrder?: { persistency: Extent }[];
    pageRangesInOrder?: { persistency: Extent }[];
  };
  const blocks = [...(committedBlocksInOrder ?? []), ...(pageRangesInOrder ?? [])];
  return [persistency, ...blocks.map((block) => block.persistency)].flatMap((extent) => (extent ? [extent.id] : []));
}
