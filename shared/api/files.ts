import { type Context, Hono } from 'hono';
import * as z from 'zod';
import { type FileMeta, fileMetaSchema } from '../journal/facts.ts';
import { fileDeletedKey, fileIdPattern, fileMetaKey } from '../journal/keys.ts';
import { getAnywhere, readFact, streamAnywhere } from '../journal/replicas.ts';
import { batchFileBytesMax } from '../limits.ts';
import type { Principal } from './auth.ts';
import { boundedBody, check, refuseEncoding, tooLarge } from './body.ts';
import { type ApiEnv, type ApiOptions, needs } from './env.ts';
import { badRequest, notFound, unavailable } from './errors.ts';
import { streamToSites } from './fan-out.ts';
import { deleteFile } from './file-delete.ts';
import {
  discardContent,
  fileObject,
  findFile,
  holdsContent,
  inputFileMeta,
  mirrorFile,
  newFile,
  putMeta,
} from './file-facts.ts';
import { filePageMax, listFiles } from './file-list.ts';
import { attachment, cleanFilename } from './file-name.ts';
import { type FormFields, readForm } from './multipart.ts';
import { type ApiCore, placeNow, refuseElsewhere } from './placement.ts';

/** Room for the form around the file. */
const formBytesMax = 64 * 1024;
const redirectMs = 15 * 60_000;

/** `expires_after`, as files and uploads take it. @source OPENAI_BATCH.md section 1 */
export const expiresAfterSchema = z.strictObject({
  anchor: z.literal('created_at'),
  seconds: z.int().min(3600).max(2_592_000),
});

/** `purpose` of what clients upload here. */
export const purposeSchema = z.literal('batch', 'only files with purpose batch are taken');

const uploadFormSchema = z.strictObject({
  purpose: purposeSchema,
  'expires_after[anchor]': z.literal('created_at').optional(),
  'expires_after[seconds]': z.coerce.number().pipe(expiresAfterSchema.shape.seconds).optional(),
});

const listQuerySchema = z.strictObject({
  purpose: z.enum(['batch', 'batch_output']).optional(),
  limit: z.coerce.number().pipe(z.int().min(1).max(10_000)).default(10_000),
  order: z.enum(['asc', 'desc']).default('desc'),
  after: z.string().regex(fileIdPattern, 'must be a file id').optional(),
});

/** `/v1/files`. @param reading see `readingCore` */
export function fileRoutes(core: ApiCore, reading: ApiCore, options: ApiOptions): Hono<ApiEnv> {
  const app = new Hono<ApiEnv>();
  app.post('/', needs('submitter'), async (c) =>
    c.json(fileObject(await takeFile(core, options, c.get('principal'), c.req.raw))),
  );
  app.get('/', async (c) => {
    const query = check(listQuerySchema, c.req.query());
    const limit = Math.min(query.limit, filePageMax);
    const page = await listFiles(reading, c.get('principal').tenant, {
      ...query,
      after: query.after,
      purpose: query.purpose,
      limit,
    });
    const data = page.files.map(fileObject);
    return c.json({
      object: 'list',
      data,
      first_id: data[0]?.id ?? null,
      last_id: data.at(-1)?.id ?? null,
      has_more: page.hasMore,
    });
  });
  app.get('/:id', async (c) =>
    c.json(fileObject(await findFile(reading, c.get('principal').tenant, c.req.param('id')))),
  );
  app.get('/:id/content', async (c) =>
    sendContent(core, options, c, await findFile(reading, c.get('principal').tenant, c.req.param('id'))),
  );
  app.delete('/:id', needs('submitter'), async (c) => {
    const { tenant, keyId } = c.get('principal');
    const id = c.req.param('id');
    const meta = await findEvenDeleted(core, tenant, id);
    if (meta !== undefined) await deleteFile(core, meta, `key:${keyId}`);
    return c.json({ id, object: 'file', deleted: true });
  });
  return app;
}

/**
 * Takes a multipart upload: the bytes go to every site as they come, and only when the whole form was good does a meta
 * make them a file. Whatever goes wrong before leaves nothing visible, and nothing behind where a store still answers.
 */
async function takeFile(core: ApiCore, options: ApiOptions, principal: Principal, request: Request): Promise<FileMeta> {
  refuseEncoding(request);
  refuseElsewhere(core, principal.boundTo);
  const placement = await placeNow(core, principal.boundTo);
  const file = newFile(core, principal.tenant);
  const bytesMax = Math.min(options.bodyBytesMax, batchFileBytesMax + formBytesMax);
  const instead = ' Send larger files in parts, through /v1/uploads.';
  let hasContent = false;
  try {
    const form = await readForm(
      request.headers.get('content-type'),
      boundedBody(request, bytesMax, bytesMax < batchFileBytesMax ? instead : undefined),
      async ({ field, filename, body }) => {
        if (field !== 'file')
          throw badRequest('unknown_parameter', 'The file must stand in the field named file.', 'file');
        const name = cleanFilename(filename, 'file');
        hasContent = true;
        const sum = await streamToSites(core, placement, file.contentKey, body);
        if (sum.bytes > batchFileBytesMax) throw tooLarge(batchFileBytesMax);
        return { name, sum };
      },
    );
    const expiresAfterMs = checkFields(form.fields);
    const draft = { tenant: principal.tenant, filename: form.file.name, expiresAfterMs, boundTo: principal.boundTo };
    const meta = inputFileMeta(core, file, draft, form.file.sum);
    // From here on some store may have the meta, and what a meta names must stay.
    hasContent = false;
    await putMeta(placement, meta);
    return meta;
  } catch (error) {
    if (hasContent) await discardContent(core, file.contentKey);
    throw error;
  }
}

/** Checks what stands beside the file; gives its life in ms, `null` for the default. */
function checkFields(fields: FormFields): number | null {
  const form = check(uploadFormSchema, Object.fromEntries(fields));
  const { 'expires_after[anchor]': anchor, 'expires_after[seconds]': seconds } = form;
  if ((anchor === undefined) !== (seconds === undefined))
    throw badRequest('missing_required_parameter', 'expires_after needs both anchor and seconds.', 'expires_after');
  return seconds === undefined ? null : seconds * 1000;
}

/** For DELETE: a deleted file may be deleted again, to repeat a lost reply or to purge what was still in use. */
async function findEvenDeleted(core: ApiCore, tenant: string, id: string): Promise<FileMeta | undefined> {
  if (!fileIdPattern.test(id)) throw notFound('File object', id);
  const meta = await readFact(core, fileMetaSchema, fileMetaKey(tenant, id));
  if (meta !== undefined && 'fact' in meta) return meta.fact;
  if ((await getAnywhere(core, fileDeletedKey(tenant, id))) === undefined) throw notFound('File object', id);
  return undefined;
}

/** The bytes, never shown as anything but a download: HTML inside must not run in the browser of an operator. */
async function sendContent(core: ApiCore, options: ApiOptions, c: Context<ApiEnv>, meta: FileMeta): Promise<Response> {
  refuseElsewhere(core, meta.boundTo);
  if (options.presign !== undefined && meta.bytes > (options.responseBytesMax ?? Number.POSITIVE_INFINITY)) {
    const own = core.sites.get(core.self)!.journal;
    if (!(await holdsContent(own, meta))) await mirrorFile(core, await placeNow(core, meta.boundTo), meta);
    const url = await options.presign.journal.downloadFrom(meta.contentKey, {
      expiresInMs: redirectMs,
      fileName: meta.filename,
      contentType: 'application/octet-stream',
    });
    return c.redirect(url, 302);
  }
  const stream = await streamAnywhere(core, meta.contentKey);
  if (stream === undefined)
    throw unavailable('content_missing', 'No store that answers holds the content of the file.');
  return c.body(ReadableStream.from(stream.body) as ReadableStream, 200, {
    'content-type': 'application/octet-stream',
    'content-length': String(stream.bytes),
    'content-disposition': attachment(meta.filename),
  });
}
