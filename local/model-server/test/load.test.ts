import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { expect, test } from '@jest/globals';
import OpenAI from 'openai';
import { start, TestClock } from './support.ts';

test('500 calls at once are all held together and all answered', async () => {
  const clock = new TestClock();
  const { client, server } = await start({ clock, behaviour: { m: { latency: { ms: 1_000 } } } });
  const calls = Array.from({ length: 500 }, (_, index) =>
    client.chat.completions.create({ model: 'm', messages: [{ role: 'user', content: `Line ${index}.` }] }),
  );
  await clock.untilSleeping(500);
  clock.move(1_000);
  const answers = await Promise.all(calls);
  expect(new Set(answers.map((answer) => answer.id)).size).toBe(500);
  answers.forEach((answer, index) => {
    expect(answer.choices[0]?.message.content).toMatch(new RegExp(`^Line ${index}\\.`));
  });
  expect(server.counters()).toMatchObject({
    inFlightMax: 500,
    inputsRepeated: 0,
    totals: { outcomes: { answered: 500 } },
  });
});

test('main.ts prints its URL, serves what its flags say, and ends on SIGTERM', async () => {
  const main = join(import.meta.dirname, '..', 'main.ts');
  const behaviour = JSON.stringify({ '*': { dimensions: 3 } });
  const args = [main, '--port', '0', '--name', 'azure', '--model', 'e', '--behaviour', behaviour, '--seed', '4'];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  try {
    const [url] = (await once(createInterface(child.stdout), 'line')) as [string];
    expect(url).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/v1$/);
    const client = new OpenAI({ baseURL: url, apiKey: 'any', maxRetries: 0 });
    expect((await client.embeddings.create({ model: 'e', input: 'x' })).data[0]?.embedding).toHaveLength(3);
    await expect(client.embeddings.create({ model: 'f', input: 'x' })).rejects.toMatchObject({ status: 404 });
    child.kill('SIGTERM');
    expect(await once(child, 'exit')).toEqual([0, null]);
  } finally {
    child.kill('SIGKILL');
  }
});

test('main.ts refuses a wrong flag with a reason and exit code 1', async () => {
  const main = join(import.meta.dirname, '..', 'main.ts');
  const child = spawn(process.execPath, [main, '--behaviour', '{"m":{"latncy":{}}}'], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let said = '';
  child.stderr.on('data', (piece) => {
    said += piece;
  });
  expect(await once(child, 'close')).toEqual([1, null]);
  expect(said).toMatch(/behaviour\.m.*latncy/);
});
