import { expect, test } from '@jest/globals';
import { createBatchingCore } from '../../../shared/batching/engine.ts';
import type { Backend, BackendReply } from '../../../shared/inference/backend.ts';
import { outputKey, parseResultKey, resultsPrefix } from '../../../shared/journal/keys.ts';
import { silentLog } from '../../../shared/ports/log.ts';
import { listAll } from '../../../shared/ports/object-store.ts';
import { World } from '../../support/world.ts';
import { type Cloud, failOver } from './support.ts';

const served = {
  aws: { backend: 'bedrock-us', alias: 'openai.gpt-oss-120b-1:0', model: 'gpt-oss-120b' },
  azure: { backend: 'foundry-eu', alias: 'gpt-oss-deployment', model: 'gpt-oss-120b-2025-08-05' },
} as const;

/** The real batching core of a cloud, over a backend that serves those questions only which `serves` lets pass. */
function giveModel(world: World, site: Cloud, serves: (question: number) => boolean): void {
  const { backend: name, alias, model } = served[site];
  const backend: Backend = {
    name,
    call: async ({ body }): Promise<BackendReply> => {
      expect(body.model).toBe(alias);
      const question = Number((body.messages as { content: string }[])[0]!.content);
      if (!serves(question)) return { kind: 'answered', status: 503, body: { error: { message: 'away' } } };
      const choices = [{ index: 0, message: { role: 'assistant', content: `${question}!` }, finish_reason: 'stop' }];
      const usage = { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5 };
      return { kind: 'answered', status: 200, body: { object: 'chat.completion', model, choices, usage } };
    },
  };
  const { clock, random } = world;
  const ids = { uuid: () => world.uuid() };
  const options = { site, cloud: site, clock, random, ids, log: silentLog, triesMax: 1 };
  Object.assign(world.core(site), {
    batching: createBatchingCore({ ...options, route: () => ({ backend, model: alias }) }),
  });
}

const input = (lines: number) =>
  Buffer.from(
    Array.from({ length: lines }, (_, i) => {
      const body = { model: 'm', messages: [{ role: 'user', content: String(i) }] };
      return `${JSON.stringify({ custom_id: `line-${i}`, method: 'POST', url: '/v1/chat/completions', body })}\n`;
    }).join(''),
  );

test('a batch that changed clouds: each result says the cloud, backend, served model, epoch and attempt that gave it', async () => {
  const world = new World();
  giveModel(world, 'aws', (question) => question < 7);
  giveModel(world, 'azure', () => true);
  const placed = await world.accept({ input: input(15) });

  // The first cloud answers one chunk of five and two lines of the next, tries all others, and is fenced.
  await world.serveAll(['aws'], 3);
  failOver(world, 'aws');
  await world.run(600_000, () => world.called.length > 0, ['azure']);

  const publication = (await world.publication('azure', placed))!;
  expect(publication).toMatchObject({ status: 'completed', counts: { total: 15, completed: 15, failed: 0 } });
  const file = await world.azure.journal.get(outputKey(placed.tenant, publication.output!.sha256));
  const output = Buffer.from(file!.bytes)
    .toString('utf8')
    .trimEnd()
    .split('\n')
    .map((text) => JSON.parse(text));
  expect(output.map(({ custom_id }) => custom_id)).toEqual(Array.from({ length: 15 }, (_, i) => `line-${i}`));
  const attempt = expect.stringMatching(/^[0-9a-f]{32}$/);
  for (const [i, { holdfast }] of output.entries()) {
    const site = i < 7 ? 'aws' : 'azure';
    const { backend, model } = served[site];
    expect(holdfast).toEqual({ site, cloud: site, backend, model, epoch: i < 7 ? 1 : 2, attempt });
  }

  // Of a line that was redriven, the journal holds two attempts, and the result names the second.
  const attempts: { site: string; epoch: number; attempt: string; outcome: string }[] = [];
  for await (const { key } of listAll(world.azure.journal, resultsPrefix(placed.tenant, placed.batch))) {
    const { site, epoch, firstLine, lines } = parseResultKey(key)!;
    if (firstLine > 7 || firstLine + lines <= 7) continue;
    const texts = Buffer.from((await world.azure.journal.get(key))!.bytes)
      .toString('utf8')
      .trimEnd()
      .split('\n');
    const [header, ...rows] = texts.map((text) => JSON.parse(text));
    const row = rows.find(({ line }) => line === 7);
    if (row !== undefined) attempts.push({ site, epoch, attempt: header.attempt, outcome: row.outcome });
  }
  const byEpoch = attempts.sort((a, b) => a.epoch - b.epoch);
  expect(byEpoch.at(0)).toMatchObject({ site: 'aws', epoch: 1, outcome: 'retry' });
  expect(byEpoch.at(-1)).toMatchObject({ site: 'azure', epoch: 2, outcome: 'answered' });
  expect(byEpoch.filter(({ outcome }) => outcome === 'answered')).toHaveLength(1);
  expect(output[7].holdfast.attempt).toBe(byEpoch.at(-1)!.attempt);
  expect(output[7].holdfast.attempt).not.toBe(byEpoch.at(0)!.attempt);
});
