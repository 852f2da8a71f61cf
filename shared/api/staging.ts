import * as z from 'zod';
import { ownSite } from '../core.ts';
import { InvariantError } from '../errors.ts';
import { fileMetaSchema } from '../journal/facts.ts';
import { canonicalBytes, parseBoundedJson } from '../journal/json.ts';
import { stagingKey, uuidPattern } from '../journal/keys.ts';
import { listAll, type StateStore } from '../ports/object-store.ts';
import { badRequest, notFound } from './errors.ts';
import type { ApiCore } from './placement.ts';

/**
 * An upload under way, below `staging/` of the own `state`: no fact, never mirrored, and gone with its site. A bucket
 * rule expires what nobody completed.
 *
 * | object | holds |
 * | --- | --- |
 * | `upload.json` | what was announced |
 * | `parts/<part id>`, `whole` | bytes: sent in parts, or put through a presigned address |
 * | `ended.json` | that it was completed (and the meta of its file) or cancelled: created once, so only one wins |
 */
const uploadSchema = z.object({
  id: z.string(),
  tenant: z.string(),
  bytes: z.int(),
  filename: z.string(),
  createdAt: z.int(),
  expiresAt: z.int(),
  fileExpiresAfterMs: z.int().nullable(),
  boundTo: z.string().nullable(),
  presigned: z.boolean(),
});
export type Upload = z.infer<typeof uploadSchema>;

const endedSchema = z.discriminatedUnion('status', [
  z.object({ status: z.literal('completed'), file: fileMetaSchema }),
  z.object({ status: z.literal('cancelled') }),
]);
export type UploadEnd = z.infer<typeof endedSchema>;

const docBytesMax = 64 * 1024;

/** Everything of one upload lies below this. */
const base = (upload: Pick<Upload, 'tenant' | 'id'>): string => stagingKey(upload.tenant, upload.id);
export const partKey = (upload: Upload, partId: string): string => `${base(upload)}/parts/${partId}`;
export const wholeKey = (upload: Upload): string => `${base(upload)}/whole`;

export function stagingStore(core: ApiCore): StateStore {
  return ownSite(core).state;
}

export async function putUpload(core: ApiCore, upload: Upload): Promise<void> {
  await stagingStore(core).putIfAbsent(`${base(upload)}/upload.json`, canonicalBytes(upload));
}

/** An upload of the tenant, begun at this site. @throws ApiError 404 */
export async function findUpload(core: ApiCore, tenant: string, id: string): Promise<Upload> {
  const isId = id.startsWith('upload_') && uuidPattern.test(id.slice('upload_'.length));
  const upload = isId ? await readDoc(core, uploadSchema, `${base({ tenant, id })}/upload.json`) : undefined;
  if (upload === undefined) throw notFound('Upload object', id);
  return upload;
}

/** How it ended; `undefined` while it has not. */
export function readEnd(core: ApiCore, upload: Upload): Promise<UploadEnd | undefined> {
  return readDoc(core, endedSchema, `${base(upload)}/ended.json`);
}

/** Ends an upload once and for all. Gives how it ended, which may be another way, earlier. */
export async function endUpload(core: ApiCore, upload: Upload, end: UploadEnd): Promise<UploadEnd> {
  const put = await stagingStore(core).putIfAbsent(`${base(upload)}/ended.json`, canonicalBytes(end));
  if (put.status === 'created') return end;
  const earlier = await readEnd(core, upload);
  if (earlier === undefined)
    throw new InvariantError('upload_end_unreadable', `${upload.id} ended, and does not say how`);
  return earlier;
}

/** @throws ApiError 400 where nothing can be added any more */
export async function refuseEnded(core: ApiCore, upload: Upload): Promise<void> {
  const end = await readEnd(core, upload);
  if (end !== undefined) throw badRequest(`upload_${end.status}`, `The upload is ${end.status} already.`);
  if (upload.expiresAt <= core.clock.now()) throw badRequest('upload_expired', 'The upload has expired.');
}

/** Takes the bytes away; the two documents stay, so that a repeated request is answered alike. */
export async function discardParts(core: ApiCore, upload: Upload): Promise<void> {
  const store = stagingStore(core);
  try {
    for await (const { key } of listAll(store, `${base(upload)}/parts/`)) await store.delete(key);
    await store.delete(wholeKey(upload));
  } catch (error) {
    core.log.warn('staging.undiscarded', { upload: upload.id, error: String((error as Error)?.message).slice(0, 200) });
  }
}

async function readDoc<S extends z.ZodType>(core: ApiCore, schema: S, key: string): Promise<z.infer<S> | undefined> {
  const found = await stagingStore(core).get(key);
  if (found === undefined) return undefined;
  const json = parseBoundedJson(found.bytes, { bytesMax: docBytesMax });
  const parsed = 'fault' in json ? undefined : schema.safeParse(json.value);
  return parsed?.success ? parsed.data : undefined;
}
