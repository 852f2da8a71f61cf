import { randomUUID } from 'node:crypto';
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import type { EventSource } from './event-source.ts';
import type { EventSourceSpec } from './function-spec.ts';

/** An event-source mapping: an event source with an identity and a switch that survive the process. */
export interface Mapping {
  readonly uuid: string;
  readonly functionName: string;
  readonly queueName: string;
  readonly spec: EventSourceSpec;
  readonly enabled: boolean;
  /** Milliseconds since 1970. */
  readonly changedAt: number;
  setEnabled(on: boolean): void;
}

interface Kept {
  uuid: string;
  enabled: boolean;
  changedAt: number;
}

/** What is kept of mappings between runs, in one JSON file; without a file, for this run only. */
export class MappingBook {
  readonly #file: string | undefined;
  readonly #kept: Record<string, Kept>;

  constructor(file: string | undefined) {
    this.#file = file;
    this.#kept = file !== undefined && existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : {};
  }

  /** How a mapping was left; a new one is enabled. */
  open(functionName: string, queueName: string): Kept {
    const key = `${functionName}/${queueName}`;
    this.#kept[key] ??= { uuid: randomUUID(), enabled: true, changedAt: Date.now() };
    this.#save();
    return this.#kept[key];
  }

  /** Ties what is kept to the poller that acts on it. */
  bind(functionName: string, source: EventSource): Mapping {
    const kept = this.open(functionName, source.spec.queueName);
    return {
      uuid: kept.uuid,
      functionName,
      queueName: source.spec.queueName,
      spec: source.spec,
      get enabled() {
        return kept.enabled;
      },
      get changedAt() {
        return kept.changedAt;
      },
      setEnabled: (on) => {
        kept.enabled = on;
        kept.changedAt = Date.now();
        source.setEnabled(on);
        this.#save();
      },
    };
  }

  #save(): void {
    if (this.#file === undefined) return;
    writeFileSync(`${this.#file}.new`, JSON.stringify(this.#kept, null, 2));
    renameSync(`${this.#file}.new`, this.#file);
  }
}
