import { type FileMeta, fileMetaSchema } from '../journal/facts.ts';
import { fileIdPattern, fileMetaKey, filesPrefix, invertedTime } from '../journal/keys.ts';
import { outputLifeDefaultMs } from '../journal/outputs.ts';
import { readFact } from '../journal/replicas.ts';
import { mapAtMost, mergedPage } from './pages.ts';
import type { ApiCore } from './placement.ts';

export interface FileQuery {
  purpose: FileMeta['purpose'] | undefined;
  /** 1 … `filePageMax`. */
  limit: number;
  order: 'asc' | 'desc';
  /** A file id; the page starts behind it. */
  after: string | undefined;
}

/** Files on one page. OpenAI allows 10,000; a page says `has_more` instead of making one request read so many facts. */
export const filePageMax = 1_000;
/** LISTs of one store for one page: each names some 330 to 1,000 files. */
const listsMax = 40;
const readsAtOnce = 32;
const pageKeys = 1_000;

/** Files in the order asked for, and whether the scan has seen all there are. */
interface Scanned {
  found: ListedFile[];
  isLast: boolean;
}

/** A file as its keys alone tell. */
interface ListedFile {
  id: string;
  hasContent: boolean;
  hasMeta: boolean;
  isDeleted: boolean;
}

/**
 * One page of a tenant's files. File ids start with an inverted time, so newest first is the order of the keys; oldest
 * first is found by stepping back from the end in growing spans. Bounded calls whatever the history's length.
 */
export async function listFiles(
  core: ApiCore,
  tenant: string,
  query: FileQuery,
): Promise<{ files: FileMeta[]; hasMore: boolean }> {
  const scan = query.order === 'desc' ? newestFirst(core, tenant, query.after) : oldestFirst(core, tenant, query.after);
  const files: FileMeta[] = [];
  let hasMore = false;
  for await (const { found, isLast } of scan) {
    hasMore = !isLast;
    const wanted = found.filter((file) => file.hasMeta && !file.isDeleted && mayHave(file, query.purpose));
    for (let from = 0; from < wanted.length; ) {
      // One more than the page holds tells whether there is more.
      const some = wanted.slice(from, from + query.limit + 1 - files.length);
      from += some.length;
      const metas = await mapAtMost(some, readsAtOnce, ({ id }) =>
        readFact(core, fileMetaSchema, fileMetaKey(tenant, id)),
      );
      for (const meta of metas)
        if (meta !== undefined && 'fact' in meta && isShown(core, query, meta.fact)) files.push(meta.fact);
      if (files.length > query.limit) return { files: files.slice(0, query.limit), hasMore: true };
    }
  }
  // The scan gave up: a client with a cursor can go on.
  return { files, hasMore: hasMore && files.length > 0 };
}

/** Output files have no content of their own: their bytes lie under `outputs/`. */
function mayHave(file: ListedFile, purpose: FileMeta['purpose'] | undefined): boolean {
  return purpose === undefined || file.hasContent === (purpose === 'batch');
}

function isShown(core: ApiCore, query: FileQuery, meta: FileMeta): boolean {
  if (query.purpose !== undefined && meta.purpose !== query.purpose) return false;
  return meta.expiresAt === null || meta.expiresAt > core.clock.now();
}

async function* newestFirst(core: ApiCore, tenant: string, after: string | undefined): AsyncGenerator<Scanned> {
  const prefix = filesPrefix(tenant);
  // Every key of a file starts with its id and a slash, and a tilde comes after both.
  let from = after === undefined ? undefined : `${prefix}${after}/~`;
  const oldest = oldestLiving(core);
  for (let lists = 0; lists < listsMax; lists++) {
    const page = await mergedPage(core, prefix, { after: from, limit: pageKeys });
    const files = groupKeys(prefix, page.keys);
    const whole = page.more ? files.slice(0, -1) : files;
    const last = whole.at(-1)?.id;
    const isLast = !page.more || last === undefined || last > oldest;
    yield { found: whole, isLast };
    if (isLast) return;
    from = `${prefix}${last}/~`;
  }
}

async function* oldestFirst(core: ApiCore, tenant: string, after: string | undefined): AsyncGenerator<Scanned> {
  const prefix = filesPrefix(tenant);
  let end = idPosition(after ?? oldestLiving(core));
  let lists = 0;
  while (lists < listsMax && end > 0n) {
    // An hour of ids; grown while it is too short, halved while it holds more than one page.
    let span = 3_600_000n << 64n;
    let tooLong: bigint | undefined;
    for (; lists < listsMax; lists++) {
      const start = end > span ? end - span : 0n;
      const page = await mergedPage(core, prefix, { after: `${prefix}${idAt(start)}`, limit: pageKeys });
      const files = groupKeys(prefix, page.keys);
      const isWhole = !page.more || files.some(({ id }) => idPosition(id) >= end);
      const before = files.filter(({ id }) => idPosition(id) < end);
      const isEnough = before.length >= 100 || start === 0n || (tooLong !== undefined && before.length > 0);
      if (isWhole && isEnough) {
        end = start;
        yield { found: before.reverse(), isLast: start === 0n };
        lists++;
        break;
      }
      if (isWhole) span = tooLong === undefined ? span * 16n : (span + tooLong) / 2n;
      else {
        tooLong = span;
        span /= 2n;
      }
    }
  }
}

/** Nothing older can be alive: no file lives longer than this, whatever it asked for. */
function oldestLiving(core: ApiCore): string {
  const lifeMs = Math.max(core.settings.fileLifeMs, outputLifeDefaultMs) + 24 * 3_600_000;
  return `file-${invertedTime(Math.max(0, core.clock.now() - lifeMs))}${'f'.repeat(16)}`;
}

function groupKeys(prefix: string, keys: readonly string[]): ListedFile[] {
  const files: ListedFile[] = [];
  for (const key of keys) {
    const [id, name] = key.slice(prefix.length).split('/');
    if (id === undefined || !fileIdPattern.test(id)) continue;
    let file = files.at(-1);
    if (file?.id !== id) {
      file = { id, hasContent: false, hasMeta: false, isDeleted: false };
      files.push(file);
    }
    if (name === 'content') file.hasContent = true;
    if (name === 'meta.json') file.hasMeta = true;
    if (name === 'deleted.json') file.isDeleted = true;
  }
  return files;
}

function idPosition(id: string): bigint {
  return BigInt(`0x${id.slice('file-'.length)}`);
}

function idAt(position: bigint): string {
  return `file-${position.toString(16).padStart(27, '0')}`;
}
