import { sha256 } from '../../../shared/journal/json.ts';
import type { Process } from '../engine/process.ts';
import type { Stream } from '../engine/random.ts';
import { type FrontAnswer, type FrontDoors, uploadForm } from '../services/front.ts';
import { marks } from '../services/model.ts';
import { type Cloud, clouds, type World } from '../world.ts';

/** One batch that a client wants done. */
export interface Job {
  tenant: string;
  lines: string[];
  endpoint: '/v1/chat/completions' | '/v1/embeddings';
  idempotencyKey: string | undefined;
  /** The cloud that is asked first. */
  first: Cloud;
}

/** What a client knows of a job of its. */
export interface Accepted {
  batch: string;
  file: string;
}

const pausesMs = [2_000, 10_000, 30_000, 60_000, 120_000] as const;

/** Lines of a batch: each text is its own, so that a model's answer tells which line it is for. */
export function linesOf(
  job: { name: string; lines: number; poison: number; hasKiller: boolean; endpoint: Job['endpoint'] },
  stream: Stream,
) {
  return Array.from({ length: job.lines }, (_, i) => {
    const isKiller = job.hasKiller && i === 0;
    const text = `${job.name} line ${i}${stream.chance(job.poison) ? ` ${marks.poison}` : ''}${isKiller ? ` ${marks.killer}` : ''}`;
    const content =
      job.endpoint === '/v1/embeddings' ? { input: text } : { messages: [{ role: 'user', content: text }] };
    const model = job.endpoint === '/v1/embeddings' ? 'e' : 'm';
    return JSON.stringify({ custom_id: `r${i}`, method: 'POST', url: job.endpoint, body: { model, ...content } });
  });
}

/**
 * A batch system: uploads, creates, asks how it went, cancels, deletes; tries the other cloud when one does not answer,
 * and again later when neither does, under the same key.
 */
export class Client {
  readonly #world: World;
  readonly #doors: FrontDoors;
  readonly #keys: ReadonlyMap<string, string>;
  readonly #process: Process;
  readonly #stream: Stream;

  constructor(world: World, doors: FrontDoors, process: Process, keys: ReadonlyMap<string, string>) {
    this.#world = world;
    this.#doors = doors;
    this.#process = process;
    this.#keys = keys;
    this.#stream = world.streams.of(`client ${process.name}`);
  }

  /** Sends a job until some cloud has taken it; `undefined` if it gave up, or was told that it never will. */
  async submit(job: Job): Promise<Accepted | undefined> {
    for (let round = 0; round < 40; round++) {
      for (const site of [job.first, otherOf(job.first)]) {
        const accepted = await this.#submitTo(site, job);
        if (accepted === 'refused') return undefined;
        if (accepted !== undefined) return accepted;
      }
      await this.#process.clock.sleep(pausesMs[Math.min(round, pausesMs.length - 1)]! * (0.5 + this.#stream.next()));
    }
    return undefined;
  }

  async #submitTo(site: Cloud, job: Job): Promise<Accepted | 'refused' | undefined> {
    const uploaded = await this.#call(job.tenant, site, 'POST', '/v1/files', uploadForm(`${job.lines.join('\n')}\n`));
    const file = read(uploaded)?.id;
    if (uploaded?.status !== 200 || file === undefined) return undefined;
    const body = JSON.stringify({ input_file_id: file, endpoint: job.endpoint, completion_window: '24h' });
    const headers: Record<string, string> = { 'content-type': 'application/json' };
    if (job.idempotencyKey !== undefined) headers['idempotency-key'] = job.idempotencyKey;
    // Without a key a lost answer may mean a batch that nobody asks for: it must end all the same.
    const made = await this.#call(job.tenant, site, 'POST', '/v1/batches', { headers, body });
    if (made === undefined || made.status >= 500) return undefined;
    const object = read(made);
    if (made.status !== 200 || object?.id === undefined) {
      this.#world.record.reach(made.status === 409 ? 'idempotency key refused' : 'batch refused');
      return 'refused';
    }
    const receipt = object.holdfast?.receipt ?? 'unknown';
    const { now } = this.#world;
    this.#world.record.receipt({ tenant: job.tenant, batch: object.id, receipt, by: site, at: now });
    return { batch: object.id, file };
  }

  async cancel(tenant: string, batch: string): Promise<void> {
    for (const site of this.#stream.chance(0.5) ? clouds : clouds.toReversed()) {
      const answer = await this.#call(tenant, site, 'POST', `/v1/batches/${batch}/cancel`, { headers: {} });
      if (answer?.status === 200) this.#world.record.reach('cancel taken');
      if (answer?.status === 409) this.#world.record.reach('cancel came too late');
      if (answer !== undefined && answer.status < 500) return;
    }
  }

  async deleteFile(tenant: string, file: string): Promise<void> {
    const site = this.#stream.pick(clouds);
    const answer = await this.#call(tenant, site, 'DELETE', `/v1/files/${file}`, { headers: {} });
    if (answer?.status === 200) this.#world.record.reach('file deleted');
  }

  /** Asks one cloud for a batch and, if it has ended, for everything in it. */
  async look(tenant: string, batch: string, site: Cloud): Promise<void> {
    const answer = await this.#call(tenant, site, 'GET', `/v1/batches/${batch}`, { headers: {} });
    const object = read(answer);
    if (answer?.status !== 200 || object === undefined) return;
    if (!['completed', 'failed', 'expired', 'cancelled'].includes(object.status)) return;
    const texts = [];
    for (const file of [object.output_file_id, object.error_file_id]) {
      if (file === null || file === undefined) continue;
      const content = await this.#call(tenant, site, 'GET', `/v1/files/${file}/content`, { headers: {} });
      if (content?.status !== 200) return;
      texts.push(sha256(Buffer.from(content.text)));
    }
    const { status, request_counts, errors } = object;
    const gist = JSON.stringify([status, request_counts, errors, object.output_file_id, object.error_file_id, texts]);
    this.#world.record.ends.push({ tenant, batch, gist, by: site, at: this.#world.now });
  }

  async #call(
    tenant: string,
    site: Cloud,
    method: string,
    path: string,
    { headers, body }: { headers: Record<string, string>; body?: Uint8Array | string },
  ): Promise<FrontAnswer | undefined> {
    const authorization = `Bearer ${this.#keys.get(tenant)}`;
    const answer = await this.#doors.call(this.#process, site, {
      method,
      path,
      headers: { ...headers, authorization },
      ...(body !== undefined && { body }),
    });
    if (answer !== undefined) {
      const { statuses } = this.#world.record;
      statuses.set(answer.status, (statuses.get(answer.status) ?? 0) + 1);
    }
    return answer;
  }
}

const otherOf = (site: Cloud): Cloud => (site === 'aws' ? 'azure' : 'aws');

// biome-ignore lint/suspicious/noExplicitAny: an answer of the front door, as a client reads it
function read(answer: FrontAnswer | undefined): any {
  if (answer === undefined) return undefined;
  try {
    return JSON.parse(answer.text);
  } catch {
    return undefined;
  }
}
