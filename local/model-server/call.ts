import type { EpochMs } from '../../shared/units.ts';
import type { ModelBehaviour } from './behaviour.ts';
import type { RandomStreams } from './random.ts';

/** A call that was read and found valid. */
export interface ModelCall {
  /**
   * The text of each line: for embeddings each input (token numbers as a JSON array), for a chat completion the contents
   * of all its messages, for a response its instructions and the texts of its input, joined by line feeds.
   */
  readonly lines: readonly string[];
  readonly inputTokens: number;
  /** The most it may generate as far as limits per minute are concerned. */
  readonly outputTokensMax: number;
  answer(context: AnswerContext): Answer;
}

/** What an answer depends on besides the call. */
export interface AnswerContext {
  readonly behaviour: ModelBehaviour;
  readonly random: RandomStreams;
  readonly now: EpochMs;
}

/** The body of a 200, and what it cost. */
export interface Answer {
  readonly body: object;
  readonly outputTokens: number;
}
