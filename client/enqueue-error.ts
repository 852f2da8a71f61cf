/**
 * Why a job was not enqueued.
 *
 * - `invalid`: the job itself; `param` names the field. It was never sent
 * - `full`: too many wait already. It was never sent: await `ready()` first
 * - `closed`: the enqueuer was closed before
 * - `refused`: the front door refused the batch that it was in, for a reason in `cause`
 * - `unreachable`: no cloud answered for as long as was to be tried
 */
export type EnqueueCode = 'invalid' | 'full' | 'closed' | 'refused' | 'unreachable';

export class EnqueueError extends Error {
  readonly code: EnqueueCode;
  readonly customId: string | null;
  /** Field of the job at fault, as in `body.model`. */
  readonly param: string | null;
  /**
   * True where an answer was lost, so that the job may be in work all the same: whoever sends it again may have it done
   * twice.
   */
  readonly mayBeAccepted: boolean;

  constructor(
    code: EnqueueCode,
    message: string,
    fields: { customId?: string; param?: string | null; mayBeAccepted?: boolean; cause?: unknown } = {},
  ) {
    super(message, { cause: fields.cause });
    this.name = 'EnqueueError';
    this.code = code;
    this.customId = fields.customId ?? null;
    this.param = fields.param ?? null;
    this.mayBeAccepted = fields.mayBeAccepted ?? false;
  }
}
