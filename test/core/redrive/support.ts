import { expect } from '@jest/globals';
import type { ControlEntry, Publication, SiteState } from '../../../shared/journal/facts.ts';
import { outputKey } from '../../../shared/journal/keys.ts';
import { type ListEntry, listAll } from '../../../shared/ports/object-store.ts';
import { work } from '../../../shared/worker/index.ts';
import { deliveryOf, type World } from '../../support/world.ts';

export type Placed = { tenant: string; batch: string };
export type Cloud = 'aws' | 'azure';
export const other = (site: Cloud): Cloud => (site === 'aws' ? 'azure' : 'aws');

const darkened = new WeakMap<World, Set<Cloud>>();

/** Whole cloud gone: its stores and queues refuse everybody, and whoever serves it has to be left out by the test. */
export function darken(world: World, site: Cloud): void {
  darkened.set(world, new Set([...(darkened.get(world) ?? []), site]));
  world[site].faults.set('all', { refuse: true });
  world[site].queueFaults.set('all', { refuse: true });
}

export function lighten(world: World, site: Cloud): void {
  darkened.get(world)?.delete(site);
  world[site].faults.clear();
  world[site].queueFaults.clear();
}

/** The next control entry, moved by hand. */
export function setState(
  world: World,
  states: Partial<Record<Cloud, SiteState>>,
  more: Partial<ControlEntry> = {},
): ControlEntry {
  const epoch = world.control.epoch + 1;
  const sites = structuredClone(world.control.sites);
  for (const [id, state] of Object.entries(states)) {
    const site = sites[id]!;
    sites[id] = { ...site, state, fencedEpoch: state === 'fenced' ? epoch : site.fencedEpoch };
  }
  world.control = { ...world.control, epoch, sites, ...more };
  return world.control;
}

export const failOver = (world: World, from: Cloud) => setState(world, { [from]: 'fenced', [other(from)]: 'active' });

/** `custom_id`s that a site's publication of a batch holds, in order, output and error file together. */
export async function published(world: World, site: Cloud, { tenant, batch }: Placed) {
  const publication = await world.publication(site, { tenant, batch });
  const read = async (file: Publication['output']) => {
    if (file === null) return [];
    const found = await world[site].journal.get(outputKey(tenant, file.sha256));
    expect(found).toBeDefined();
    const text = Buffer.from(found!.bytes).toString('utf8').trimEnd();
    return text.split('\n').map((line) => JSON.parse(line).custom_id as string);
  };
  if (publication === undefined) return { publication, ids: [] };
  return { publication, ids: [...(await read(publication.output)), ...(await read(publication.errorFile))] };
}

/** Keys of a journal with their sizes. Candidates of outputs that nobody named may differ between stores for ever. */
export async function keysOf(world: World, site: Cloud): Promise<string[]> {
  const entries: ListEntry[] = await Array.fromAsync(listAll(world[site].journal, ''));
  const named = new Set<string>();
  for (const { key } of entries.filter((entry) => entry.key.endsWith('/publication.json'))) {
    const publication: Publication = JSON.parse(Buffer.from((await world[site].journal.get(key))!.bytes).toString());
    for (const file of [publication.output, publication.errorFile, publication.choice])
      if (file !== null) named.add(outputKey(publication.tenant, file.sha256));
  }
  return entries
    .filter(({ key }) => !key.includes('/outputs/') || named.has(key))
    .map(({ key, bytes }) => `${key} ${bytes}`);
}

export const ids = (lines: number): string[] => Array.from({ length: lines }, (_, i) => `line-${i}`);

/** Lines that a model was asked more than once, and how often too often in all. */
export function repeatsOf(world: World): number {
  return [...world.asked.values()].reduce((sum, times) => sum + times - 1, 0);
}

/**
 * Works at `site` until its models were asked for `lines` lines, and kills the whole cloud there and then: what was asked
 * for is never answered, nothing is written or settled any more, and its stores and queues are gone.
 */
export async function workUntilKilled(world: World, site: Cloud, lines: number, atOnce = 4): Promise<void> {
  const usual = world.answer;
  let left = lines;
  let die = () => {};
  const death = new Promise<void>((resolve) => (die = resolve));
  world.answer = (line, where, job) => {
    if (where !== site) return usual(line, where, job);
    if (left-- > 0) return usual(line, where, job);
    darken(world, site);
    die();
    return new Promise(() => {});
  };
  const core = world.newProcess(site);
  let isDead = false;
  void death.then(() => (isDead = true));
  while (!isDead) {
    const messages = await world[site].work.receive({ max: atOnce });
    if (messages.length === 0) await world.serve(site, 'intake');
    const deliveries = messages.map((message) => deliveryOf(world[site].work, message));
    const dead = deliveries.map((delivery) => ({ ...delivery, extend: async () => false }));
    await world.settled(Promise.race([work(core, dead), death]));
  }
  // What the model answers elsewhere is none of the dead one's business; of it nothing is ever heard again.
  world.answer = (line, where, job) => (where === site && isDark(world, site) ? hang() : usual(line, where, job));
}

const hang = () => new Promise<never>(() => {});
const isDark = (world: World, site: Cloud) => darkened.get(world)?.has(site) ?? false;
