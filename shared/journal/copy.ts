import { createHash } from 'node:crypto';
import { SiteUnavailableError } from '../errors.ts';
import { withDeadline } from '../ports/deadline.ts';
import type { StoredStream } from '../ports/object-store.ts';
import type { SiteId } from '../ports/site.ts';
import type { DurationMs } from '../units.ts';
import { equalBytes } from './json.ts';
import { quarantine } from './quarantine.ts';
import { bounded, type JournalCore } from './replicas.ts';

/** What an anti-entropy pass did. */
export interface Tally {
  /** Facts that a site lacked and now has. */
  copied: number;
  /** Facts that could not be copied, or that differ; each is met again by the next pass. */
  failed: number;
}

/** A content whose length and hash are known before it is read. */
export interface NamedContent {
  key: string;
  bytes: number;
  sha256: string;
}

const streamFromBytes = 4 * 1024 * 1024;
/** Slowest transfer that is waited for, 1 MB a second, on top of the usual bound of a call. */
const bytesPerMs = 1_000;

/**
 * Copies one fact to `to` from the first of `from` that has it. Never overwrites.
 * @returns true if `to` lacked it; false if it was there by then, with the same bytes
 * @throws SiteUnavailableError `fact_diverged` (reported) where other bytes stand there, `copy_absent` where no source
 * has it; whatever the stores throw
 */
export async function copyFact(
  core: JournalCore,
  from: readonly SiteId[],
  to: SiteId,
  key: string,
  bytes: number,
): Promise<boolean> {
  if (bytes > streamFromBytes) return copyStream(core, from, to, { key, bytes });
  const found = await first(from, (id) => bounded(core, id, (signal) => journalOf(core, id).get(key, { signal })));
  if (found === undefined) throw absent(key);
  const target = journalOf(core, to);
  const put = await bounded(core, to, (signal) => target.putIfAbsent(key, found.bytes, { signal }));
  if (put.status === 'created') return true;
  const there = await bounded(core, to, (signal) => target.get(key, { signal }));
  if (there !== undefined && equalBytes(there.bytes, found.bytes)) return false;
  return diverged(core, key, to);
}

/**
 * As `copyFact` for a content that is named with its hash: streamed, checked, and not committed unless every byte is
 * right. A source that holds other bytes is passed over.
 */
export async function copyContent(
  core: JournalCore,
  from: readonly SiteId[],
  to: SiteId,
  content: NamedContent,
): Promise<boolean> {
  const there = await bounded(core, to, (signal) => journalOf(core, to).head(content.key, { signal }));
  if (there?.bytes === content.bytes) return false;
  if (there !== undefined) return diverged(core, content.key, to);
  return copyStream(core, from, to, content);
}

/** Reports bytes that differ under one key (I5): nobody may change either, and nothing is built on the difference. */
export async function diverged(core: JournalCore, key: string, site: SiteId): Promise<never> {
  core.log.error('fact.diverged', { key, site });
  await quarantine(core, key, { fault: 'invalid', detail: `other bytes stand under this key in ${site}` });
  throw new SiteUnavailableError('fact_diverged', `${key} differs in ${site}`, site);
}

async function copyStream(
  core: JournalCore,
  from: readonly SiteId[],
  to: SiteId,
  content: { key: string; bytes: number; sha256?: string },
): Promise<boolean> {
  const { key } = content;
  let failure: unknown;
  for (const id of from) {
    try {
      const found = await bounded(core, id, () => journalOf(core, id).getStream(key));
      if (found === undefined) continue;
      const ms: DurationMs = core.settings.peerTimeoutMs + content.bytes / bytesPerMs;
      const put = await withDeadline(core.clock, ms, to, (signal) =>
        journalOf(core, to).putStreamIfAbsent(key, checked(found, content, id), { signal }),
      );
      if (put.status === 'created') return true;
      const there = await bounded(core, to, (signal) => journalOf(core, to).head(key, { signal }));
      if (there?.bytes === found.bytes) return false;
      return await diverged(core, key, to);
    } catch (error) {
      failure = error;
    }
  }
  throw failure ?? absent(key);
}

/** Passes the bytes through and fails before their end, so that nothing is committed, if they are not the ones named. */
async function* checked(
  source: StoredStream,
  { key, bytes, sha256 }: { key: string; bytes: number; sha256?: string },
  from: SiteId,
): AsyncGenerator<Uint8Array> {
  const hash = createHash('sha256');
  let length = 0;
  for await (const piece of source.body) {
    hash.update(piece);
    length += piece.byteLength;
    yield piece;
  }
  if (length !== bytes || (sha256 !== undefined && hash.digest('hex') !== sha256))
    throw new SiteUnavailableError('copy_differs', `${key} in ${from} holds other bytes than it is named with`, from);
}

async function first<T>(from: readonly SiteId[], read: (id: SiteId) => Promise<T | undefined>): Promise<T | undefined> {
  let failure: { error: unknown } | undefined;
  for (const id of from) {
    try {
      const found = await read(id);
      if (found !== undefined) return found;
    } catch (error) {
      failure = { error };
    }
  }
  if (failure !== undefined) throw failure.error;
  return undefined;
}

const journalOf = (core: JournalCore, id: SiteId) => core.sites.get(id)!.journal;
const absent = (key: string) => new SiteUnavailableError('copy_absent', `${key} is in no store that answers`, key);
