import type { Endpoint, Plan, ValidationError } from '../journal/facts.ts';
import { factVersion } from '../journal/facts.ts';
import { batchLinesMax, validationErrorsMax } from '../limits.ts';
import type { ChunkLimits } from '../settings.ts';
import { ChunkCutter } from './cut.ts';
import { type InputLine, isBlank, type LineFault, LineSplitter, parseRequestLine } from './input.ts';

/** What a plan is made from, besides the bytes. */
export interface PlanInput {
  batch: string;
  inputSha256: string;
  endpoint: Endpoint;
  limits: ChunkLimits;
  /** True if some site serves the model. */
  knowsModel(alias: string): boolean;
}

/**
 * Validates an input file and cuts it into chunks, in one pass and in memory that does not grow with the file (but for
 * the `custom_id`s, which must be compared). A pure function of the bytes and the settings: whoever plans, whichever
 * way the stream was cut, gets the same plan.
 */
export class PlanBuilder {
  #input: PlanInput;
  #splitter: LineSplitter;
  #customIds = new Set<string>();
  #errors: ValidationError[] = [];
  readonly #cutter: ChunkCutter;
  #model: string | undefined;
  #lines = 0;
  /** First of a run of blank lines, 1-based: allowed at the end of a file, an error elsewhere. */
  #blankSince: number | undefined;

  constructor(input: PlanInput) {
    this.#input = input;
    this.#cutter = new ChunkCutter(input.limits);
    this.#splitter = new LineSplitter((line) => this.#take(line));
  }

  push(piece: Uint8Array): void {
    this.#splitter.push(piece);
  }

  /** True when more lines change nothing: the file is refused already, and the report is full. */
  get isDecided(): boolean {
    return this.#lines > batchLinesMax || this.#errors.length >= validationErrorsMax;
  }

  finish(): Plan {
    if (!this.isDecided) this.#splitter.finish();
    const chunks = this.#cutter.finish();
    if (this.#lines > batchLinesMax)
      this.#errors.unshift({
        code: 'too_many_tasks',
        message: `The file holds more than ${batchLinesMax} requests.`,
        param: null,
        line: null,
      });
    else if (this.#lines === 0 && this.#errors.length === 0)
      this.#errors.push({ code: 'empty_file', message: 'The file holds no request.', param: null, line: null });
    const { linesMax, tokensMax, bytesMax } = this.#input.limits;
    return {
      v: factVersion,
      kind: 'plan',
      batch: this.#input.batch,
      inputSha256: this.#input.inputSha256,
      settings: { chunkLinesMax: linesMax, chunkTokensMax: tokensMax, chunkBytesMax: bytesMax },
      lines: Math.min(this.#lines, batchLinesMax),
      model: this.#model ?? null,
      chunks: this.#errors.length > 0 ? [] : chunks,
      errors: this.#errors.slice(0, validationErrorsMax),
    };
  }

  #take(line: InputLine): void {
    if (this.isDecided) return;
    const number = line.index + 1;
    if (line.bytes !== undefined && isBlank(line.bytes)) {
      this.#blankSince ??= number;
      return;
    }
    if (this.#blankSince !== undefined) {
      this.#refuse('invalid_json_line', null, 'The line is empty.', this.#blankSince);
      this.#blankSince = undefined;
    }
    this.#lines += 1;
    if (this.#lines > batchLinesMax) return;
    const fault = this.#check(line);
    if (fault === undefined) this.#cutter.add(line);
    else this.#refuse(fault.code, fault.param, fault.message, number);
  }

  #check(line: InputLine): LineFault | undefined {
    const request = parseRequestLine(line.bytes, this.#input.endpoint);
    if ('code' in request) return request;
    const { customId, model } = request;
    if (this.#customIds.has(customId))
      return { code: 'duplicate_custom_id', param: 'custom_id', message: 'custom_id stands on an earlier line, too.' };
    this.#customIds.add(customId);
    if (this.#model === undefined) {
      this.#model = model;
      if (this.#input.knowsModel(model)) return undefined;
      return { code: 'model_not_found', param: 'body.model', message: 'No site serves this model.' };
    }
    if (this.#model === model) return undefined;
    return { code: 'model_mismatch', param: 'body.model', message: 'All lines of a batch must name the same model.' };
  }

  #refuse(code: string, param: string | null, message: string, line: number): void {
    if (this.#errors.length < validationErrorsMax) this.#errors.push({ code, message, param, line });
  }
}
