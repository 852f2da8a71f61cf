import { readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import type { Asked } from '../judge.ts';

const examples = resolve(import.meta.dirname, '..', '..', 'examples');
/** With ten batches it is all but certain (998 in 1,000) that both clouds are drawn as a home. */
export const batchLines = 100;

/** What becomes one batch. */
export interface Input {
  name: string;
  endpoint: string;
  bytes: Uint8Array<ArrayBuffer>;
  asked: Omit<Asked, 'batch'>[];
}

/** The 1,000 example requests, in ten batches. */
export async function readInputs(): Promise<Input[]> {
  const inputs: Input[] = [];
  for (const name of ['chat', 'embeddings']) {
    const lines = (await readFile(join(examples, `${name}.jsonl`), 'utf8')).trimEnd().split('\n');
    for (let from = 0; from < lines.length; from += batchLines) {
      const part = lines.slice(from, from + batchLines);
      const requests = part.map((line) => JSON.parse(line) as { custom_id: string; url: string; body: Asked['body'] });
      const endpoint = requests[0]!.url;
      inputs.push({
        name: `${name} ${from + 1}-${from + part.length}`,
        endpoint,
        bytes: new TextEncoder().encode(`${part.join('\n')}\n`),
        asked: requests.map(({ custom_id, body }) => ({ customId: custom_id, endpoint, body })),
      });
    }
  }
  return inputs;
}
