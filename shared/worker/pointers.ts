import type { BatchView } from '../journal/batch.ts';
import {
  type Chunk,
  type ChunkPointer,
  type ControlEntry,
  checkFact,
  type FactFault,
  factVersion,
  type Pointer,
  pointerSchema,
} from '../journal/facts.ts';
import { canonicalJson, type Json, parseBoundedJson } from '../journal/json.ts';
import type { OutgoingMessage } from '../ports/queue.ts';
import type { SiteId } from '../ports/site.ts';
import { isDead } from './owner.ts';

/** No pointer of ours is longer; also the bound for what is taken off a queue. */
const pointerBytesMax = 16 * 1024;

/** Reads what a trigger handed over, text or already parsed. Never throws. */
export function parsePointer(body: unknown): { fact: Pointer } | FactFault {
  const text = pointerText(body);
  if (text === undefined) return { fault: 'torn', detail: 'no text' };
  const json = parseBoundedJson(Buffer.from(text, 'utf8'), { bytesMax: pointerBytesMax, depthMax: 4, nodesMax: 50 });
  if ('fault' in json) return json;
  return checkFact(pointerSchema, json.value);
}

/** The text of a body; Functions hands one that is JSON over as an object. `undefined`: it has none. */
export function pointerText(body: unknown): string | undefined {
  if (typeof body === 'string') return body;
  if (body instanceof Uint8Array) return Buffer.from(body).toString('utf8');
  try {
    return JSON.stringify(body as Json);
  } catch {
    return undefined;
  }
}

/**
 * True if a pointer must not be worked at this site now: the site is fenced, or was fenced after the pointer was sent (the
 * work was given to somebody else then). Of a pointer of a later epoch than that of `control` only the next look tells.
 */
export function isStale(pointer: Pick<Pointer, 'epoch'>, control: ControlEntry, site: SiteId): boolean {
  return isDead({ to: site, epoch: pointer.epoch }, control);
}

/** The pointer to one chunk of a batch. */
export function chunkPointer(
  view: Pick<BatchView, 'tenant' | 'batch' | 'acceptance' | 'manifest'>,
  chunk: Omit<Chunk, 'tokens'>,
  model: string,
  epoch: number,
  repeat: boolean,
): ChunkPointer {
  return {
    v: factVersion,
    kind: 'chunk',
    tenant: view.tenant,
    batch: view.batch,
    input: view.acceptance.fileId,
    offset: chunk.offset,
    length: chunk.length,
    firstLine: chunk.firstLine,
    lines: chunk.lines,
    endpoint: view.manifest.endpoint,
    model,
    epoch,
    repeat,
  };
}

/** A message for either queue. */
export function pointerMessage(pointer: Pointer, id: string): OutgoingMessage {
  return { id, body: canonicalJson(pointer) };
}
