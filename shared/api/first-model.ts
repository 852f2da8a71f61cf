import type { FileMeta } from '../journal/facts.ts';
import { parseBoundedJson } from '../journal/json.ts';
import { getAnywhere } from '../journal/replicas.ts';
import { lineBytesMax } from '../limits.ts';
import type { ApiCore } from './placement.ts';

/** Enough for nearly every first line. */
const firstLook = 64 * 1024;

/**
 * The model that the first line of an input asks for (a batch has one), so that a client is told at once where it can
 * be served. `undefined` where it cannot be told: the planner judges, not we.
 */
export async function firstModel(core: ApiCore, meta: FileMeta): Promise<string | undefined> {
  if (meta.bytes === 0 || (meta.boundTo !== null && meta.boundTo !== core.self)) return undefined;
  try {
    const line = (await firstLine(core, meta, firstLook)) ?? (await firstLine(core, meta, lineBytesMax));
    const parsed = line === undefined ? undefined : parseBoundedJson(line, { bytesMax: lineBytesMax });
    if (parsed === undefined || 'fault' in parsed) return undefined;
    const { body } = parsed.value as { body?: { model?: unknown } };
    return typeof body?.model === 'string' ? body.model.slice(0, 256) : undefined;
  } catch (error) {
    core.log.debug('model.unknown', { file: meta.id, error: String((error as Error)?.message).slice(0, 200) });
    return undefined;
  }
}

/** The first line if it ends within `length` bytes, without a byte order mark. */
async function firstLine(core: ApiCore, meta: FileMeta, length: number): Promise<Uint8Array | undefined> {
  const found = await getAnywhere(core, meta.contentKey, { range: { offset: 0, length } });
  if (found === undefined) return undefined;
  const start = found.bytes[0] === 0xef && found.bytes[1] === 0xbb && found.bytes[2] === 0xbf ? 3 : 0;
  const end = found.bytes.indexOf(10);
  if (end === -1 && meta.bytes > found.bytes.byteLength) return undefined;
  return found.bytes.subarray(start, end === -1 ? undefined : end);
}
