import { Hono } from 'hono';
import * as z from 'zod';
import { batchFileBytesMax } from '../limits.ts';
import type { DirectUpload } from '../ports/presign.ts';
import { unixSeconds } from '../units.ts';
import type { Principal } from './auth.ts';
import { boundedBody, readJson, refuseEncoding } from './body.ts';
import { type ApiEnv, type ApiOptions, needs } from './env.ts';
import { badRequest } from './errors.ts';
import { streamToSites } from './fan-out.ts';
import { discardContent, fileObject, inputFileMeta, newFile, putMeta } from './file-facts.ts';
import { cleanFilename } from './file-name.ts';
import { expiresAfterSchema, purposeSchema } from './files.ts';
import { readForm } from './multipart.ts';
import { type ApiCore, placeNow, refuseElsewhere } from './placement.ts';
import {
  discardParts,
  endUpload,
  findUpload,
  partKey,
  putUpload,
  readEnd,
  refuseEnded,
  stagingStore,
  type Upload,
  type UploadEnd,
  wholeKey,
} from './staging.ts';

/** @source https://platform.openai.com/docs/api-reference/uploads 2026-08 */
const uploadLifeMs = 3_600_000;
/** @source https://platform.openai.com/docs/api-reference/uploads/add-part 2026-08 */
const partBytesMax = 64 * 1024 * 1024;

const partIdPattern = /^part_[0-9a-f]{32}$/;

const createSchema = z.strictObject({
  bytes: z.int().min(1).max(batchFileBytesMax),
  filename: z.string().max(1024),
  mime_type: z.string().max(200),
  purpose: purposeSchema,
  expires_after: expiresAfterSchema.optional(),
  /** Ours: ask for an address to PUT the whole file to. */
  presigned: z.boolean().default(false),
});

const completeSchema = z.strictObject({
  part_ids: z.array(z.string().regex(partIdPattern, 'must be a part id')).max(10_000),
  md5: z
    .string()
    .regex(/^[0-9a-fA-F]{32}$/, 'must be 32 hex digits')
    .optional(),
  /** Ours: SHA-256 of the whole file; required after a presigned upload. */
  sha256: z
    .string()
    .regex(/^[0-9a-fA-F]{64}$/, 'must be 64 hex digits')
    .optional(),
});
type Completion = z.infer<typeof completeSchema>;

/** `/v1/uploads`: files that are longer than one request may be. */
export function uploadRoutes(core: ApiCore, options: ApiOptions): Hono<ApiEnv> {
  const app = new Hono<ApiEnv>();
  app.use('*', needs('submitter'));
  app.use('*', async (c, next) => {
    refuseElsewhere(core, c.get('principal').boundTo);
    await next();
  });
  app.post('/', async (c) => {
    const { upload, put } = await begin(core, options, c.get('principal'), await readJson(c.req.raw, createSchema));
    return c.json({ ...uploadObject(upload), ...(put === undefined ? {} : { holdfast: { put } }) });
  });
  app.post('/:id/parts', async (c) => {
    const upload = await findUpload(core, c.get('principal').tenant, c.req.param('id'));
    return c.json(await takePart(core, options, upload, c.req.raw));
  });
  app.post('/:id/complete', async (c) => {
    const upload = await findUpload(core, c.get('principal').tenant, c.req.param('id'));
    const end = await complete(core, upload, await readJson(c.req.raw, completeSchema));
    return c.json(uploadObject(upload, end));
  });
  app.post('/:id/cancel', async (c) => {
    const upload = await findUpload(core, c.get('principal').tenant, c.req.param('id'));
    const end = await endUpload(core, upload, { status: 'cancelled' });
    if (end.status === 'completed') throw badRequest('upload_completed', 'The upload is completed already.');
    await discardParts(core, upload);
    return c.json(uploadObject(upload, end));
  });
  return app;
}

function uploadObject(upload: Upload, end?: UploadEnd) {
  return {
    id: upload.id,
    object: 'upload',
    bytes: upload.bytes,
    created_at: unixSeconds(upload.createdAt),
    expires_at: unixSeconds(upload.expiresAt),
    filename: upload.filename,
    purpose: 'batch',
    status: end?.status ?? 'pending',
    file: end?.status === 'completed' ? fileObject(end.file) : null,
  };
}

async function begin(
  core: ApiCore,
  options: ApiOptions,
  principal: Principal,
  body: z.infer<typeof createSchema>,
): Promise<{ upload: Upload; put: DirectUpload | undefined }> {
  const filename = cleanFilename(body.filename, 'filename');
  if (body.presigned && options.presign === undefined)
    throw badRequest(
      'presigned_unavailable',
      'This cloud takes files of any allowed size directly; leave this out.',
      'presigned',
    );
  const createdAt = core.clock.now();
  const upload: Upload = {
    id: `upload_${core.ids.uuid()}`,
    tenant: principal.tenant,
    bytes: body.bytes,
    filename,
    createdAt,
    expiresAt: createdAt + uploadLifeMs,
    fileExpiresAfterMs: body.expires_after === undefined ? null : body.expires_after.seconds * 1000,
    boundTo: principal.boundTo,
    presigned: body.presigned,
  };
  await putUpload(core, upload);
  if (!body.presigned) return { upload, put: undefined };
  const grant = { bytes: upload.bytes, expiresInMs: uploadLifeMs };
  return { upload, put: await options.presign!.state.uploadTo(wholeKey(upload), grant) };
}

async function takePart(core: ApiCore, options: ApiOptions, upload: Upload, request: Request) {
  refuseEncoding(request);
  await refuseEnded(core, upload);
  if (upload.presigned)
    throw badRequest('upload_presigned', 'This upload takes no parts: PUT the file to its address.');
  const id = `part_${core.ids.uuid()}`;
  const body = boundedBody(request, Math.min(options.bodyBytesMax, partBytesMax + 64 * 1024));
  await readForm(request.headers.get('content-type'), body, async (file) => {
    if (file.field !== 'data')
      throw badRequest('unknown_parameter', 'The bytes must stand in the field named data.', 'data');
    await stagingStore(core).putStreamIfAbsent(partKey(upload, id), file.body);
  });
  return { id, object: 'upload.part', created_at: unixSeconds(core.clock.now()), upload_id: upload.id };
}

/**
 * Joins the parts, in the order given, into both journals, and makes them a file once length and hashes are right.
 * Completing twice gives the same file: what ends the upload is created once, and whoever comes second drops its copy.
 */
async function complete(core: ApiCore, upload: Upload, wanted: Completion): Promise<UploadEnd> {
  const before = await readEnd(core, upload);
  const placement = await placeNow(core, upload.boundTo);
  if (before?.status === 'completed') {
    await putMeta(placement, before.file);
    return before;
  }
  await refuseEnded(core, upload);
  const keys = await contentKeys(core, upload, wanted);
  const file = newFile(core, upload.tenant);
  let isOrphan = true;
  try {
    const sum = await streamToSites(core, placement, file.contentKey, joined(core, keys));
    if (wanted.md5 !== undefined && wanted.md5.toLowerCase() !== sum.md5)
      throw badRequest('checksum_mismatch', 'The uploaded bytes have another MD5.', 'md5');
    if (wanted.sha256 !== undefined && wanted.sha256.toLowerCase() !== sum.sha256)
      throw badRequest('checksum_mismatch', 'The uploaded bytes have another SHA-256.', 'sha256');
    const draft = {
      tenant: upload.tenant,
      filename: upload.filename,
      expiresAfterMs: upload.fileExpiresAfterMs,
      boundTo: upload.boundTo,
    };
    const meta = inputFileMeta(core, file, draft, sum);
    // From here on the end of the upload may name our content, also if its reply is lost, and what is named must stay.
    isOrphan = false;
    const end = await endUpload(core, upload, { status: 'completed', file: meta });
    isOrphan = end.status === 'cancelled' || end.file.id !== meta.id;
    if (end.status === 'cancelled') throw badRequest('upload_cancelled', 'The upload is cancelled already.');
    await putMeta(placement, end.file);
    await discardParts(core, upload);
    return end;
  } finally {
    if (isOrphan) await discardContent(core, file.contentKey);
  }
}

/** Where the bytes lie, in order; their lengths add up to what was announced. @throws ApiError 400 */
async function contentKeys(core: ApiCore, upload: Upload, wanted: Completion): Promise<string[]> {
  if (upload.presigned && wanted.sha256 === undefined)
    throw badRequest('missing_required_parameter', "Missing required parameter: 'sha256'.", 'sha256');
  if (new Set(wanted.part_ids).size !== wanted.part_ids.length)
    throw badRequest('invalid_value', 'A part stands twice in part_ids.', 'part_ids');
  const keys = upload.presigned ? [wholeKey(upload)] : wanted.part_ids.map((id) => partKey(upload, id));
  let bytes = 0;
  for (const key of keys) {
    const head = await stagingStore(core).head(key);
    if (head === undefined)
      throw badRequest(
        'part_not_found',
        'Some of the bytes were never uploaded.',
        upload.presigned ? undefined : 'part_ids',
      );
    bytes += head.bytes;
  }
  if (bytes !== upload.bytes)
    throw badRequest('bytes_mismatch', `${bytes} bytes were uploaded, ${upload.bytes} were announced.`, 'bytes');
  return keys;
}

async function* joined(core: ApiCore, keys: readonly string[]): AsyncGenerator<Uint8Array> {
  for (const key of keys) {
    const part = await stagingStore(core).getStream(key);
    if (part === undefined) throw badRequest('part_not_found', 'Some of the bytes are gone.', 'part_ids');
    yield* part.body;
  }
}
