import type { SpoilingFault } from './behaviour.ts';

/** Spoiling faults that are a finished body, as opposed to those that are a way of sending one. */
export type BodyFault = Exclude<SpoilingFault, 'truncated' | 'endless_stream' | 'huge_body'>;

/**
 * The body to send instead of a good one. `fewer_embeddings` leaves out the last result and `reordered_embeddings` sends
 * them last to first, each under its true index; on other endpoints the first gives no choices or output, and the second
 * changes nothing.
 */
export function spoilBody(body: object, fault: BodyFault): string {
  const fields = body as Record<string, unknown>;
  switch (fault) {
    case 'not_json':
      return '<html><body><h1>200 OK</h1>upstream proxy</body></html>';
    case 'wrong_shape':
      return JSON.stringify({ object: 'list', data: 'none', choices: { 0: null }, output: 7 });
    case 'error_in_200':
      return JSON.stringify({
        error: { message: 'The model is overloaded.', type: 'server_error', param: null, code: 'model_overloaded' },
      });
    case 'other_model':
      return JSON.stringify({ ...fields, model: `${String(fields.model)}-other` });
    case 'fewer_embeddings':
      return JSON.stringify({ ...fields, ...shortened(fields) });
    case 'reordered_embeddings':
      return JSON.stringify(Array.isArray(fields.data) ? { ...fields, data: fields.data.toReversed() } : fields);
  }
}

function shortened(fields: Record<string, unknown>): Record<string, unknown> {
  if (Array.isArray(fields.data)) return { data: fields.data.slice(0, -1) };
  return 'choices' in fields ? { choices: [] } : { output: [] };
}

/** Longest piece that {@link hugeBody} and {@link endlessBody} yield. */
const PIECE_BYTES = 64 * 1024;

/** `total` bytes: spaces, then the good body, so that only a reader who limits the size is safe. */
export function* hugeBody(body: string, total: number): Generator<Buffer> {
  const end = Buffer.from(body);
  const spaces = Buffer.alloc(PIECE_BYTES, ' ');
  for (let left = total - end.length; left > 0; left -= spaces.length) yield spaces.subarray(0, left);
  yield end;
}

/** A JSON string that never ends; `pause` is awaited between pieces. */
export async function* endlessBody(pause: () => Promise<void>): AsyncGenerator<Buffer> {
  yield Buffer.from('{"id":"endless","object":"list","text":"');
  const piece = Buffer.alloc(PIECE_BYTES, 'more ');
  for (;;) {
    yield piece;
    await pause();
  }
}
