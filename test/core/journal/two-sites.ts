import { Faults } from '../../../local/in-memory/faults.ts';
import { faultyStore } from '../../../local/in-memory/faulty.ts';
import { InMemoryObjectStore, type StoreOp } from '../../../local/in-memory/object-store.ts';
import type { ControlCore } from '../../../shared/control/log.ts';
import { sha256 } from '../../../shared/journal/json.ts';
import type { LogFields } from '../../../shared/ports/log.ts';
import type { Site, SiteId, Stores } from '../../../shared/ports/site.ts';
import { defaultSettings } from '../../../shared/settings.ts';
import { seeded } from './schedule.ts';

export type StoreId = 'aws' | 'azure' | 'witness';
export const storeIds: readonly StoreId[] = ['aws', 'azure', 'witness'];

/** Two sites and a witness in memory, each container behind faults of its own, under a clock that jumps. */
export class TwoSites {
  /** Behind the faults: for judges. */
  readonly journals = new Map(storeIds.map((id) => [id, new InMemoryObjectStore(`${id}/journal`)]));
  readonly states = new Map(storeIds.map((id) => [id, new InMemoryObjectStore(`${id}/state`)]));
  readonly faults = new Map<`${StoreId}/${'journal' | 'state'}`, Faults<StoreOp>>();
  readonly logged: { level: string; event: string; fields?: LogFields }[] = [];
  now = Date.UTC(2026, 0, 1);
  #uuids = 0;

  /** Time passes only in pauses; no call is ever late, so that no time-out fires. */
  readonly clock = {
    now: () => this.now,
    sleep: (ms: number, signal?: AbortSignal) =>
      signal === undefined
        ? Promise.resolve().then(() => {
            this.now += ms;
          })
        : new Promise<void>((_, reject) => signal.addEventListener('abort', () => reject(signal.reason))),
  };

  journal(id: StoreId): InMemoryObjectStore {
    return this.journals.get(id)!;
  }

  state(id: StoreId): InMemoryObjectStore {
    return this.states.get(id)!;
  }

  /** Both containers answer nobody. */
  dark(id: StoreId, on = true): void {
    for (const part of ['journal', 'state'] as const) this.faultsOf(`${id}/${part}`).set('all', { refuse: on });
  }

  faultsOf(name: `${StoreId}/${'journal' | 'state'}`): Faults<StoreOp> {
    const faults = this.faults.get(name) ?? new Faults<StoreOp>(this.clock, () => 0.5);
    this.faults.set(name, faults);
    return faults;
  }

  core(self: SiteId, options: { witness?: boolean } = {}): ControlCore {
    const stores = (id: StoreId): Stores => ({
      id,
      journal: faultyStore(this.journal(id), this.faultsOf(`${id}/journal`)),
      state: faultyStore(this.state(id), this.faultsOf(`${id}/state`)),
    });
    const site = (id: 'aws' | 'azure') => ({ ...stores(id), id, cloud: id }) as Partial<Site> as Site;
    const log = (level: string) => (event: string, fields?: LogFields) =>
      void this.logged.push({ level, event, fields });
    return {
      self,
      sites: new Map([
        ['aws', site('aws')],
        ['azure', site('azure')],
      ]),
      ...((options.witness ?? true) && { witness: stores('witness') }),
      clock: this.clock,
      random: seeded(1),
      ids: { uuid: () => sha256(`uuid ${this.#uuids++}`).slice(0, 32) },
      log: { debug: log('debug'), info: log('info'), warn: log('warn'), error: log('error') },
      settings: { ...defaultSettings, failover: 'automatic' },
    };
  }

  /** Every key of one journal with its text. */
  async contents(id: StoreId): Promise<Map<string, string>> {
    const found = new Map<string, string>();
    for (const { key } of await this.keys(id))
      found.set(key, Buffer.from((await this.journal(id).get(key))!.bytes).toString());
    return found;
  }

  async keys(id: StoreId): Promise<{ key: string }[]> {
    return (await this.journal(id).list('')).entries;
  }

  events(event: string): LogFields[] {
    return this.logged.filter((one) => one.event === event).map(({ fields }) => fields ?? {});
  }
}
