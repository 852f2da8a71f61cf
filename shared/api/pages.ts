import { bounded, type JournalCore } from '../journal/replicas.ts';

/** Keys of a prefix, from every journal that answered. */
export interface KeyPage {
  /** Ascending. */
  keys: string[];
  /** True if keys after the last one may exist. */
  more: boolean;
}

/**
 * One page of the union of a prefix over all journals: one LIST a store, whatever the history's length. A store that
 * does not answer is left out.
 * @param limit keys, 1 … 1,000
 * @throws what the own store throws, where no store answers
 */
export async function mergedPage(
  core: JournalCore,
  prefix: string,
  options: { after?: string; limit: number },
): Promise<KeyPage> {
  const read = async (id: string) =>
    bounded(core, id, (signal) => core.sites.get(id)!.journal.list(prefix, { ...options, signal }));
  const own = read(core.self);
  const pages = await Promise.allSettled([own, ...[...core.sites.keys()].filter((id) => id !== core.self).map(read)]);
  const heard = pages.flatMap((page) => (page.status === 'fulfilled' ? [page.value] : []));
  if (heard.length === 0) await own;
  // Beyond the end of the shortest page that was cut off, other stores may hold keys that this one has not told yet.
  const ends = heard.flatMap((page) => (page.more ? [page.entries.at(-1)!.key] : []));
  const end = ends.sort()[0];
  const all = [...new Set(heard.flatMap((page) => page.entries.map(({ key }) => key)))].sort();
  const known = end === undefined ? all : all.filter((key) => key <= end);
  return { keys: known.slice(0, options.limit), more: end !== undefined || known.length > options.limit };
}

/** Calls `read` for every item, at most `atOnce` at a time, keeping the order. */
export async function mapAtMost<T, R>(
  items: readonly T[],
  atOnce: number,
  read: (item: T) => Promise<R>,
): Promise<R[]> {
  const results = new Array<R>(items.length);
  let next = 0;
  const lane = async () => {
    for (let i = next++; i < items.length; i = next++) results[i] = await read(items[i]!);
  };
  await Promise.all(Array.from({ length: Math.min(atOnce, items.length) }, lane));
  return results;
}
