import { describe, expect, test } from '@jest/globals';
import { countTokens, hashLine } from '../index.ts';
import { post, start } from './support.ts';

const DUCKS =
  'Janet has ducks that lay 16 eggs per day. She eats three for breakfast. ' +
  'She sells the remainder at the market daily for $2.50 per egg. How much does she make at the market?';

const messages = [
  { role: 'system' as const, content: 'Solve the problem.' },
  { role: 'user' as const, content: DUCKS },
];

describe('chat completions', () => {
  test('the answer is the sentence that shares most with the question', async () => {
    const { client } = await start();
    const answer = await client.chat.completions.create({ model: 'm', messages });
    const [choice] = answer.choices;
    expect(choice?.message.content).toMatch(
      /^She sells the remainder at the market daily for \$2\.50 per egg\. \[sample /,
    );
    expect(choice?.finish_reason).toBe('stop');
    expect(answer).toMatchObject({ object: 'chat.completion', model: 'm' });
    expect(answer.id).toMatch(/^chatcmpl-/);
    expect(answer._request_id).toMatch(/^req_/);
  });

  test('two answers to one line differ, and without varying only in their ids', async () => {
    const { client, server } = await start();
    const ask = async () =>
      (await client.chat.completions.create({ model: 'm', messages })).choices[0]?.message.content;
    expect(await ask()).not.toBe(await ask());
    server.setBehaviour('m', { varyAnswers: false });
    expect(await ask()).toBe(await ask());
  });

  test('usage adds up: the prompt and the answer as counted', async () => {
    const { client } = await start();
    const answer = await client.chat.completions.create({ model: 'm', messages });
    const content = answer.choices[0]?.message.content ?? '';
    expect(answer.usage).toMatchObject({
      prompt_tokens: countTokens('Solve the problem.') + countTokens(DUCKS) + 2 * 4 + 3,
      completion_tokens: countTokens(content),
    });
    expect(answer.usage?.total_tokens).toBe((answer.usage?.prompt_tokens ?? 0) + countTokens(content));
  });

  test.each(['max_tokens', 'max_completion_tokens'] as const)(
    '%s cuts the answer, finish_reason length',
    async (name) => {
      const { client } = await start();
      const answer = await client.chat.completions.create({ model: 'm', messages, [name]: 3 });
      expect(answer.choices[0]).toMatchObject({ message: { content: 'She sells the' }, finish_reason: 'length' });
      expect(answer.usage?.completion_tokens).toBe(3);
    },
  );

  test('stop ends the answer before the first stop sequence, finish_reason stop', async () => {
    const { client } = await start();
    const answer = await client.chat.completions.create({ model: 'm', messages, stop: [' daily', ' remainder'] });
    expect(answer.choices[0]).toMatchObject({ message: { content: 'She sells the' }, finish_reason: 'stop' });
    expect(answer.usage?.completion_tokens).toBe(3);
  });

  test('n gives so many choices, each counted', async () => {
    const { client } = await start();
    const answer = await client.chat.completions.create({ model: 'm', messages, n: 3 });
    expect(answer.choices.map((choice) => choice.index)).toEqual([0, 1, 2]);
    expect(new Set(answer.choices.map((choice) => choice.message.content)).size).toBe(3);
    const tokens = answer.choices.map((choice) => countTokens(choice.message.content ?? ''));
    expect(answer.usage?.completion_tokens).toBe(tokens.reduce((sum, each) => sum + each));
  });

  test('json_object gives an object', async () => {
    const { client } = await start();
    const response_format = { type: 'json_object' } as const;
    const answer = await client.chat.completions.create({ model: 'm', messages, response_format });
    expect(JSON.parse(answer.choices[0]?.message.content ?? '')).toHaveProperty('answer');
  });

  test('content parts are read, also in scripts without spaces and with broken surrogates', async () => {
    const { client } = await start();
    const content = [{ type: 'text' as const, text: '猫は魚が好き。犬は骨が好き。猫は何が好き？' }];
    const answer = await client.chat.completions.create({ model: 'm', messages: [{ role: 'user', content }] });
    expect(answer.choices[0]?.message.content).toContain('好き。');
    const odd = await client.chat.completions.create({
      model: 'm',
      messages: [{ role: 'user', content: 'a\ud800b \u0000\u2028' }],
    });
    expect(odd.choices).toHaveLength(1);
  });

  test('an empty text is answered too', async () => {
    const { client } = await start();
    const answer = await client.chat.completions.create({ model: 'm', messages: [{ role: 'user', content: '' }] });
    expect(answer.choices[0]?.message.content).toMatch(/^\[sample/);
  });
});

describe('responses', () => {
  test('a string is answered in the shape of a completed response', async () => {
    const { client } = await start();
    const response = await client.responses.create({ model: 'm', input: DUCKS, metadata: { job: '7' } });
    expect(response.output_text).toMatch(/^She sells the remainder/);
    expect(response).toMatchObject({ object: 'response', status: 'completed', model: 'm', error: null });
    expect(response).toMatchObject({ incomplete_details: null, metadata: { job: '7' } });
    expect(response.usage).toMatchObject({
      input_tokens: countTokens(DUCKS) + 4 + 3,
      output_tokens: countTokens(response.output_text),
    });
  });

  test('max_output_tokens cuts it: incomplete, with the reason', async () => {
    const { client } = await start();
    const input = [
      { role: 'user' as const, content: [{ type: 'input_text' as const, text: `${'long '.repeat(50)}.` }] },
    ];
    const response = await client.responses.create({
      model: 'm',
      input,
      instructions: 'Be brief.',
      max_output_tokens: 16,
    });
    expect(response).toMatchObject({ status: 'incomplete', incomplete_details: { reason: 'max_output_tokens' } });
    expect(response.usage?.output_tokens).toBe(16);
    expect(countTokens(response.output_text)).toBe(16);
  });

  test('the line is its instructions and texts', async () => {
    const { client, server } = await start();
    await client.responses.create({ model: 'm', input: 'one', instructions: 'two' });
    expect(server.counters().inputs).toEqual({ [hashLine('two\none')]: { received: 1, computed: 1 } });
  });
});

describe('embeddings', () => {
  const cosine = (a: readonly number[], b: readonly number[]) =>
    a.reduce((sum, value, place) => sum + value * (b[place] ?? 0), 0);

  test('similar texts give similar vectors, different ones do not', async () => {
    const { client } = await start();
    const input = [
      'The cat sat on the warm mat by the fire.',
      'A cat sat on a warm mat near the fire.',
      'Quarterly revenue grew because exports to Asia doubled.',
    ];
    const { data } = await client.embeddings.create({ model: 'e', input });
    const [cat, alike, other] = data.map((each) => each.embedding);
    expect(cosine(cat!, alike!)).toBeGreaterThan(0.6);
    expect(Math.abs(cosine(cat!, other!))).toBeLessThan(0.3);
  });

  test('texts without a word in common point nowhere in particular, even in few dimensions', async () => {
    const { client } = await start();
    const input = Array.from({ length: 200 }, (_, text) =>
      Array.from({ length: 40 }, (_, word) => `w${text}x${word}`).join(' '),
    );
    const { data } = await client.embeddings.create({ model: 'e', input, dimensions: 32 });
    let sum = 0;
    for (let text = 0; text < 200; text += 2) sum += cosine(data[text]!.embedding, data[text + 1]!.embedding);
    expect(Math.abs(sum / 100)).toBeLessThan(0.1);
  });

  test('vectors have length 1 and the asked dimensions, 256 unless told', async () => {
    const { client } = await start();
    for (const [asked, got] of [
      [undefined, 256],
      [1, 1],
      [1536, 1536],
    ] as const) {
      const params = asked === undefined ? {} : { dimensions: asked };
      const { data } = await client.embeddings.create({ model: 'e', input: 'some words, and more', ...params });
      expect(data[0]?.embedding).toHaveLength(got);
      expect(cosine(data[0]!.embedding, data[0]!.embedding)).toBeCloseTo(1, 4);
    }
  });

  test('base64 and float carry the same numbers, on every run', async () => {
    const { client, server } = await start();
    const other = await start({ random: () => 0.5 });
    const body = { model: 'e', input: ['first text', 'second text'] };
    const float = await client.embeddings.create({ ...body, encoding_format: 'float' });
    const decoded = await other.client.embeddings.create(body);
    const response = await post(server, '/embeddings', JSON.stringify({ ...body, encoding_format: 'base64' }));
    const raw = (await response.json()) as { data: { embedding: string }[] };
    for (const [index, { embedding }] of float.data.entries()) {
      expect(decoded.data[index]?.embedding).toEqual(embedding.map(Math.fround));
      const bytes = Buffer.from(raw.data[index]?.embedding ?? '', 'base64');
      expect(bytes.readFloatLE(0)).toBe(Math.fround(embedding[0] ?? Number.NaN));
    }
  });

  test('token arrays are taken, one or many', async () => {
    const { client, server } = await start();
    expect((await client.embeddings.create({ model: 'e', input: [1, 2, 3] })).data).toHaveLength(1);
    const two = await client.embeddings.create({ model: 'e', input: [[1, 2, 3], [4]] });
    expect(two.data.map((each) => each.index)).toEqual([0, 1]);
    expect(two.usage).toEqual({ prompt_tokens: 4, total_tokens: 4 });
    expect(server.counters().inputs[hashLine('[1,2,3]')]).toEqual({ received: 2, computed: 2 });
  });

  test('2,048 inputs come back in order, 2,049 are refused', async () => {
    const { client } = await start();
    const input = Array.from({ length: 2_048 }, (_, index) => `text number ${index}`);
    const { data } = await client.embeddings.create({ model: 'e', input, dimensions: 8 });
    expect(data.map((each) => each.index)).toEqual(input.map((_, index) => index));
    const tooMany = client.embeddings.create({ model: 'e', input: [...input, 'one more'] });
    await expect(tooMany).rejects.toMatchObject({ status: 400, param: 'input', code: 'array_above_max_length' });
  });

  test('8,192 tokens in one input pass, 8,193 do not; 300,000 in a call pass, 300,001 do not', async () => {
    const { client } = await start();
    const tokens = (count: number) => 'word '.repeat(count).trimEnd();
    expect(countTokens(tokens(8_192))).toBe(8_192);
    const create = (input: string[]) => client.embeddings.create({ model: 'e', input, dimensions: 2 });
    expect((await create([tokens(8_192)])).usage.prompt_tokens).toBe(8_192);
    await expect(create([tokens(8_193)])).rejects.toMatchObject({ status: 400, code: 'context_length_exceeded' });
    const full = Array.from({ length: 50 }, () => tokens(6_000));
    expect((await create(full)).usage.total_tokens).toBe(300_000);
    await expect(create([...full, 'x'])).rejects.toMatchObject({ status: 400, type: 'max_tokens_per_request' });
  });
});

describe('models', () => {
  test('a list given at start is what there is; any other name is 404 model_not_found', async () => {
    const { client } = await start({ models: ['a', 'b/c'] });
    expect((await client.models.list()).data.map((model) => model.id)).toEqual(['a', 'b/c']);
    expect(await client.models.retrieve('b/c')).toMatchObject({ id: 'b/c', object: 'model' });
    const unknown = client.chat.completions.create({ model: 'gpt', messages });
    await expect(unknown).rejects.toMatchObject({ status: 404, code: 'model_not_found' });
    await expect(client.models.retrieve('gpt')).rejects.toMatchObject({ status: 404, code: 'model_not_found' });
  });

  test('without a list any name is a model, and those seen are listed', async () => {
    const { client } = await start();
    expect((await client.models.list()).data).toEqual([]);
    await client.embeddings.create({ model: '__proto__', input: 'x' });
    expect((await client.models.list()).data.map((model) => model.id)).toEqual(['__proto__']);
  });

  test('Azure paths work: /openai/v1', async () => {
    const { server } = await start();
    const response = await fetch(`${server.origin}/openai/v1/embeddings`, {
      method: 'POST',
      body: JSON.stringify({ model: 'e', input: 'x' }),
    });
    expect(response.status).toBe(200);
  });
});
