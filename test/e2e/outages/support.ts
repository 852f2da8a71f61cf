import { createReadStream, readFileSync } from 'node:fs';
import { expect } from '@jest/globals';
import type OpenAI from 'openai';
import { toFile } from 'openai';
import { createClient, type HoldfastClient, type StatusAnswer } from '../../../client/index.ts';
import { hashLine } from '../../../local/model-server/counters.ts';
import { learnControl } from '../../../shared/control/log.ts';
import type { ControlEntry } from '../../../shared/journal/facts.ts';
import { parseResultKey, resultsPrefix } from '../../../shared/journal/keys.ts';
import { listAll } from '../../../shared/ports/object-store.ts';
import { compareJournals } from '../../../shared/redrive/converge.ts';
import { sampleFile, startClouds, type TestClouds, until } from '../support.ts';

export type Cloud = 'aws' | 'azure';
export const victims: readonly Cloud[] = ['aws', 'azure'];
export const other = (cloud: Cloud): Cloud => (cloud === 'aws' ? 'azure' : 'aws');

/** A batch as the tenant sees it, with what Holdfast adds. */
export type Batch = OpenAI.Batch & {
  holdfast: { receipt: string; home: Cloud; answered_by: Partial<Record<Cloud, number>>; repeats: number | null };
};

/** The alias that every line of the shared example file asks for. */
export const gsm8k = 'gpt-oss-120b';
export const customIds = (jsonl: string): string[] =>
  jsonl.split('\n').flatMap((line) => (line === '' ? [] : [JSON.parse(line).custom_id as string]));
export const gsm8kIds = customIds(readFileSync(sampleFile('gsm8k-chat'), 'utf8'));
/** The same lines, as the model servers count them. */
const gsm8kLines = readFileSync(sampleFile('gsm8k-chat'), 'utf8')
  .split('\n')
  .flatMap((line) => {
    if (line === '') return [];
    const { messages } = JSON.parse(line).body as { messages: { content: string }[] };
    return [hashLine(messages.map(({ content }) => content).join('\n'))];
  });

/** How long anything may take that has to happen at all; a safety net on a busy machine. */
export const patienceMs = 300_000;
const tenant = 'local';

/** Both local clouds, and what a test does to them and wants to know of them. */
export class Outage {
  readonly world: TestClouds;
  private constructor(world: TestClouds) {
    this.world = world;
  }

  /** Both clouds, once all three observers hold both of them healthy. */
  static async begin(): Promise<Outage> {
    const outage = new Outage(await startClouds());
    await outage.untilStatus('all is well, say three observers', isAllWell);
    return outage;
  }

  stop(): Promise<void> {
    return this.world.stop();
  }

  /** Sends commands and looks where whoever answers is: the other cloud if one does not. */
  get ops(): HoldfastClient['ops'] {
    return this.client().ops;
  }

  client(prefer: Cloud = 'aws'): HoldfastClient {
    const { clouds } = this.world;
    const apis = { aws: clouds.aws!.api, azure: clouds.azure!.api };
    return createClient({ ...apis, key: clouds.key, prefer, answerMs: 45_000, retryForMs: 60_000 });
  }

  async untilStatus(
    what: string,
    holds: (status: StatusAnswer) => boolean,
    { by, ms = patienceMs }: { by?: Cloud; ms?: number } = {},
  ): Promise<StatusAnswer> {
    let last: StatusAnswer | undefined;
    const client = by === undefined ? this.client() : this.client().on(by);
    const look = async () => {
      last = await client.ops.status().catch(() => undefined);
      return last !== undefined && holds(last) ? last : undefined;
    };
    return until(look, what, ms).catch((error: Error) => {
      throw new Error(`${error.message}; the page said: ${JSON.stringify(last, null, 1)?.slice(0, 4_000)}`);
    });
  }

  /** All new batches have this home from now on. */
  async homeIs(cloud: Cloud): Promise<void> {
    const weights = { [cloud]: 100, [other(cloud)]: 0 };
    const { epoch } = await this.ops.command('weights', { weights, reason: `work for ${cloud}` });
    await this.untilStatus(`${cloud} knows`, (status) => status.epoch >= epoch, { by: cloud });
    // Whoever takes the batch draws its home from the entry that it has learned.
    await new Promise((resolve) => setTimeout(resolve, 3_000));
  }

  /** Every call of a model takes this long from now on, in every cloud that answers. */
  async slow(ms: number, model = gsm8k): Promise<void> {
    await this.behave({ latency: { ms } }, { model });
  }

  async behave(
    behaviour: object,
    { model = gsm8k, clouds = victims }: { model?: string; clouds?: readonly Cloud[] } = {},
  ) {
    for (const cloud of clouds)
      await fetch(`http://127.0.0.1:${this.world.ports[cloud].model}/control/behaviour/${model}`, {
        method: 'PUT',
        body: JSON.stringify(behaviour),
        headers: { 'content-type': 'application/json' },
      }).catch(() => undefined);
  }

  /** Lines that the model server of a cloud has worked on, by its own count; 0 where it does not answer. */
  async computed(cloud: Cloud, model = gsm8k): Promise<number> {
    const url = `http://127.0.0.1:${this.world.ports[cloud].model}/control/counters?inputs=none`;
    const counters = await fetch(url).then(
      (reply) => reply.json() as Promise<{ models: Record<string, Record<string, { computedLines: number }>> }>,
      () => ({ models: {} as Record<string, Record<string, { computedLines: number }>> }),
    );
    return Object.values(counters.models[model] ?? {}).reduce((sum, { computedLines }) => sum + computedLines, 0);
  }

  /** How often models of both clouds worked on a line of the shared example file that was worked on before. */
  async computedTwice(): Promise<number> {
    const times = new Map<string, number>();
    for (const cloud of victims) {
      const url = `http://127.0.0.1:${this.world.ports[cloud].model}/control/counters`;
      const { inputs } = (await (await fetch(url)).json()) as { inputs: Record<string, { computed: number }> };
      for (const [line, { computed }] of Object.entries(inputs)) times.set(line, (times.get(line) ?? 0) + computed);
    }
    return gsm8kLines.reduce((sum, line) => sum + Math.max(0, (times.get(line) ?? 0) - 1), 0);
  }

  /** The shared example file, through one cloud's front door. */
  async submit(through: Cloud): Promise<Batch> {
    return this.#create(through, createReadStream(sampleFile('gsm8k-chat')));
  }

  /** The shared example file in work at `home`, submitted through the other cloud, when `share` of it is answered. */
  async underWay(home: Cloud, share: number, latencyMs = 700): Promise<Batch> {
    await this.homeIs(home);
    await this.slow(latencyMs);
    const batch = await this.submit(other(home));
    await this.untilAnswered(other(home), batch, share);
    return batch;
  }

  /** `lines` requests of our own for one model, named after it. */
  async submitGenerated(through: Cloud, lines: number, model: string): Promise<{ batch: Batch; ids: string[] }> {
    const ids = Array.from({ length: lines }, (_, i) => `${model}-${i}`);
    const text = ids.map((id, i) => {
      const messages = [{ role: 'user', content: `Passage ${i} speaks of harbours. What does it speak of?` }];
      const body = { model, messages, max_tokens: 40 };
      return `${JSON.stringify({ custom_id: id, method: 'POST', url: '/v1/chat/completions', body })}\n`;
    });
    const file = await toFile(Buffer.from(text.join('')), `${model}.jsonl`);
    return { batch: await this.#create(through, file), ids };
  }

  async #create(through: Cloud, content: Parameters<OpenAI['files']['create']>[0]['file']): Promise<Batch> {
    const client = this.world.client(through);
    const file = await client.files.create({ file: content, purpose: 'batch' });
    const request = { input_file_id: file.id, endpoint: '/v1/chat/completions', completion_window: '24h' } as const;
    return (await client.batches.create(request)) as Batch;
  }

  async batch(by: Cloud, { id }: Pick<Batch, 'id'>): Promise<Batch> {
    return (await this.world.client(by).batches.retrieve(id)) as Batch;
  }

  /** Waits until this share of the lines is answered. */
  async untilAnswered(by: Cloud, batch: Batch, share: number): Promise<Batch> {
    return until(
      async () => {
        const now = await this.batch(by, batch).catch(() => undefined);
        const counts = now?.request_counts;
        return counts !== undefined && counts.total > 0 && counts.completed >= share * counts.total ? now : undefined;
      },
      `${share * 100} % of ${batch.id}`,
    );
  }

  async untilEnded(by: Cloud, batch: Batch): Promise<Batch> {
    const ended = ['completed', 'failed', 'expired', 'cancelled'];
    return until(
      async () => {
        const now = await this.batch(by, batch).catch(() => undefined);
        return now !== undefined && ended.includes(now.status) ? now : undefined;
      },
      `${batch.id} to end`,
      patienceMs,
    );
  }

  /** Waits for the end, and expects every id once, answered. */
  async expectComplete(by: Cloud, batch: Batch, ids: readonly string[] = gsm8kIds): Promise<Batch> {
    const ended = await this.untilEnded(by, batch);
    expect(ended.status).toBe('completed');
    expect(ended.request_counts).toEqual({ total: ids.length, completed: ids.length, failed: 0 });
    expect(customIds(await this.output(by, ended))).toEqual(ids);
    return ended;
  }

  async output(by: Cloud, ended: Batch): Promise<string> {
    return (await this.world.client(by).files.content(ended.output_file_id!)).text();
  }

  control(): Promise<ControlEntry> {
    return learnControl(this.world.core);
  }

  /** All entries of the log, oldest first, as whoever answers tells them. */
  async log(): Promise<Awaited<ReturnType<HoldfastClient['ops']['control']>>['history']> {
    return (await this.ops.control()).history.toReversed();
  }

  /** Waits until a site is in this state, as another cloud tells it. */
  async untilState(site: Cloud, state: string, by: Cloud = other(site), ms?: number): Promise<StatusAnswer> {
    return this.untilStatus(
      `${site} is ${state}`,
      ({ sites }) => sites.find((one) => one.site === site)?.state === state,
      { by, ...(ms !== undefined && { ms }) },
    );
  }

  /** When this site wrote its first result of a batch under an epoch after `epoch`, by its own clock. */
  async firstRedriven(site: Cloud, batch: Batch, epoch: number): Promise<number> {
    const { journal } = this.world.core.sites.get(site)!;
    const keys = await Array.fromAsync(listAll(journal, resultsPrefix(tenant, batch.id)));
    const own = keys.filter(({ key }) => {
      const name = parseResultKey(key);
      return name !== undefined && name.site === site && name.epoch > epoch && name.answered > 0;
    });
    const times = await Promise.all(
      own.map(async ({ key }) => {
        const text = Buffer.from((await journal.get(key))!.bytes).toString('utf8');
        return JSON.parse(text.slice(0, text.indexOf('\n'))).at as number;
      }),
    );
    return Math.min(...times);
  }

  /** Expects the first result that another cloud wrote after a fault to have come within 60 s of it; gives the ms. */
  async expectRedriven(site: Cloud, batch: Batch, { epoch, at }: { epoch: number; at: number }): Promise<number> {
    const rtoMs = (await this.firstRedriven(site, batch, epoch)) - at;
    expect(rtoMs).toBeLessThan(60_000);
    return rtoMs;
  }

  /** Waits until both journals hold the same, by their lists. */
  async untilConverged(): Promise<void> {
    let last: unknown;
    await until(
      async () => {
        const comparison = await compareJournals(this.world.core).catch(() => undefined);
        last = comparison;
        return comparison?.isConverged ? true : undefined;
      },
      'both journals hold the same',
      patienceMs,
    ).catch((error: Error) => {
      throw new Error(`${error.message}: ${JSON.stringify(last)}`);
    });
  }

  /** Waits until the site has all of its weight again. */
  async untilReturned(site: Cloud): Promise<void> {
    await this.untilStatus(
      `${site} has returned`,
      ({ sites }) => sites.some((one) => one.site === site && one.state === 'active' && one.weight === 100),
      { by: other(site), ms: 2 * patienceMs },
    );
  }

  /** Messages in the dead-letter queues of both clouds. */
  async deadLetters(): Promise<number> {
    const sites = [...this.world.core.sites.values()];
    const depths = await Promise.all(sites.flatMap(({ intake, work }) => [intake.depth(), work.depth()]));
    return depths.reduce((sum, { deadLettered }) => sum + deadLettered, 0);
  }
}

export const isAllWell = ({ sites, observers }: StatusAnswer): boolean =>
  sites.every(({ health }) => health === 'healthy') &&
  observers.filter(({ silent, trustsItself }) => !silent && trustsItself).length >= 3;
