import type { AnswerContext } from './call.ts';
import { extractAnswer } from './extract.ts';
import { Refusal } from './refusal.ts';
import { cutTokens } from './tokens.ts';

/** What to answer to: the text asked about, and what else says what is wanted (system messages, instructions). */
export interface Prompt {
  readonly text: string;
  readonly hint: string;
}

/** Limits on one answer. */
export interface GenerateLimits {
  /** Null: no limit of the caller's own. */
  readonly tokensMax: number | null;
  readonly stops: readonly string[];
  /** Answer as a JSON object `{"answer": …}`. */
  readonly json: boolean;
}

/** A generated text, its tokens, and whether `tokensMax` cut it off. */
export interface Generated {
  readonly text: string;
  readonly tokens: number;
  readonly cut: boolean;
}

/**
 * The extractive answer, with a mark of its own at the end (` [sample 3f09ac]`) where answers vary: real models do not
 * repeat themselves, and code that compares two runs of one line must meet that.
 */
export function generate(prompt: Prompt, limits: GenerateLimits, { behaviour, random }: AnswerContext): Generated {
  const sentence = extractAnswer(prompt.text, prompt.hint);
  const sample = Math.floor(random.answers() * 0x1000000)
    .toString(16)
    .padStart(6, '0');
  const full = limits.json
    ? JSON.stringify({ answer: sentence, ...(behaviour.varyAnswers ? { sample } : {}) })
    : `${sentence}${behaviour.varyAnswers ? `${sentence === '' ? '' : ' '}[sample ${sample}]` : ''}`;
  const generated = cutTokens(full, limits.tokensMax ?? Number.POSITIVE_INFINITY);
  const stopAt = Math.min(
    ...limits.stops
      .map((stop) => generated.text.indexOf(stop))
      .map((at) => (at === -1 ? Number.POSITIVE_INFINITY : at)),
  );
  if (stopAt === Number.POSITIVE_INFINITY) return generated;
  return { ...cutTokens(generated.text.slice(0, stopAt), Number.POSITIVE_INFINITY), cut: false };
}

/**
 * Refuses a prompt that leaves no room in the model's context.
 * @throws Refusal 400 `context_length_exceeded`
 */
export function checkContext(
  inputTokens: number,
  tokensMax: number | null,
  contextTokensMax: number,
  param: string,
): void {
  if (inputTokens + (tokensMax ?? 1) <= contextTokensMax) return;
  throw new Refusal(400, {
    message:
      `This model's maximum context length is ${contextTokensMax} tokens. However, you requested ` +
      `${inputTokens + (tokensMax ?? 0)} tokens (${inputTokens} in the ${param}, ${tokensMax ?? 0} in the completion). ` +
      `Please reduce the length of the ${param} or completion.`,
    param,
    code: 'context_length_exceeded',
  });
}
