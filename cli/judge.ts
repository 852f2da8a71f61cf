/** One request of the demo, and the batch that it went into. */
export interface Asked {
  customId: string;
  batch: string;
  endpoint: string;
  body: Record<string, unknown>;
}

/** An output or error file, as one cloud gave it. */
export interface Published {
  batch: string;
  kind: 'output' | 'error';
  cloud: string;
  sha256: string;
  content: string;
}

export interface Judgement {
  accepted: number;
  /** Requests with an answer in an output file. */
  answered: number;
  /** Requests whose error was published. */
  failed: number;
  /** Accepted, and in no file. */
  lost: string[];
  publishedTwice: string[];
  /** In a file, and never asked for. */
  strange: string[];
  /** Files whose bytes differ between the clouds, or that one of them does not have. */
  different: string[];
  /** Answers that do not fit their question. */
  implausible: string[];
}

/**
 * Holds what was published against what was asked, from the files alone.
 * @param clouds every cloud that must give every file
 * @param isExtractive true where answers are taken from the prompt word for word, as the local model server does
 */
export function judge(
  asked: readonly Asked[],
  published: readonly Published[],
  clouds: readonly string[],
  isExtractive: boolean,
): Judgement {
  const requests = new Map(asked.map((one) => [keyOf(one.batch, one.customId), one]));
  const seen = new Map<string, number>();
  const verdict: Judgement = {
    accepted: asked.length,
    answered: 0,
    failed: 0,
    lost: [],
    publishedTwice: [],
    strange: [],
    different: differences(published, clouds),
    implausible: [],
  };
  for (const { batch, kind, content } of published.filter(({ cloud }) => cloud === clouds[0])) {
    for (const line of linesOf(content)) {
      const request = requests.get(keyOf(batch, line.custom_id));
      if (request === undefined) {
        verdict.strange.push(String(line.custom_id));
        continue;
      }
      const key = keyOf(batch, request.customId);
      seen.set(key, (seen.get(key) ?? 0) + 1);
      if (seen.get(key) === 2) verdict.publishedTwice.push(request.customId);
      if (kind === 'error') verdict.failed += 1;
      else verdict.answered += 1;
      if (kind === 'output' && !isPlausible(request, line.response?.body, isExtractive))
        verdict.implausible.push(request.customId);
    }
  }
  for (const [key, { customId }] of requests) if (!seen.has(key)) verdict.lost.push(customId);
  return verdict;
}

/** True if everything is as promised. */
export function isFlawless(verdict: Judgement): boolean {
  const { accepted, answered, lost, publishedTwice, strange, different, implausible } = verdict;
  return (
    answered === accepted && [lost, publishedTwice, strange, different, implausible].every((one) => one.length === 0)
  );
}

interface OutputLine {
  custom_id: unknown;
  response?: { body?: Record<string, unknown> } | null;
}

function linesOf(content: string): OutputLine[] {
  return content
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as OutputLine);
}

function differences(published: readonly Published[], clouds: readonly string[]): string[] {
  const files = Map.groupBy(published, ({ batch, kind }) => `${batch} ${kind}`);
  return [...files].flatMap(([name, copies]) => {
    const isWhole = clouds.every((cloud) => copies.filter((copy) => copy.cloud === cloud).length === 1);
    return isWhole && new Set(copies.map(({ sha256 }) => sha256)).size === 1 ? [] : [name];
  });
}

function isPlausible({ endpoint, body }: Asked, answer: Record<string, unknown> | undefined, isExtractive: boolean) {
  if (answer === undefined) return false;
  if (endpoint === '/v1/embeddings') {
    const vector = (answer as { data?: { embedding?: unknown }[] }).data?.[0]?.embedding;
    return Array.isArray(vector) && (!isExtractive || isUnitVector(vector, body.dimensions));
  }
  const choices = (answer as { choices?: { message?: { content?: unknown } }[] }).choices;
  const content = choices?.[0]?.message?.content;
  if (typeof content !== 'string' || content.trim() === '') return false;
  return !isExtractive || isTakenFrom(content, JSON.stringify(body.messages));
}

function isUnitVector(vector: readonly unknown[], dimensions: unknown): boolean {
  if (dimensions !== undefined && vector.length !== dimensions) return false;
  const square = vector.reduce<number>((sum, one) => sum + Number(one) ** 2, 0);
  return Math.abs(square - 1) < 1e-3;
}

/** True if at least three words were said, and every one of them stands in the prompt. `[sample …]` is no word. */
function isTakenFrom(content: string, prompt: string): boolean {
  const words = wordsOf(content.replace(/\[sample [0-9a-f]+\]/g, ''));
  const known = new Set(wordsOf(prompt));
  return words.length >= 3 && words.every((word) => known.has(word));
}

function wordsOf(text: string): string[] {
  return text.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? [];
}

function keyOf(batch: string, customId: unknown): string {
  return `${batch}\n${customId}`;
}
