import type { Log } from '../../shared/ports/log.ts';
import type { Identity } from '../identity.ts';
import type { LocalPorts } from '../ports.ts';

/** What a cloud is started with. */
export interface CloudOptions {
  /** The cloud's own directory. */
  readonly dataDir: string;
  readonly ports: LocalPorts;
  readonly identity: Identity;
  /** Folder of the built functions. Default `dist`. */
  readonly bundles?: string | undefined;
  readonly log: Log;
}

/** A cloud whose services run, and whose functions do not yet. */
export interface Cloud {
  /** Starts the functions; resolves when they take requests and messages. */
  startFunctions(): Promise<void>;
  close(): Promise<void>;
}

/** Closes what was opened, last first, and goes on past what fails. */
export class Opened {
  readonly #closers: (() => Promise<unknown>)[] = [];

  add<T extends { close(): Promise<unknown> }>(opened: T): T {
    this.#closers.push(() => opened.close());
    return opened;
  }

  async close(): Promise<void> {
    for (const close of this.#closers.splice(0).reverse()) await close().catch(() => {});
  }
}
