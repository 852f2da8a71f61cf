import { HoldfastApiError } from './errors.ts';
import type { Http } from './http.ts';
import type { CloudName, FileObject } from './types.ts';

/** How a file travels: one form, several parts through the API, or one PUT to the store itself. */
export type UploadWay = 'form' | 'parts' | 'presigned';

/**
 * Longest file that one request to a cloud carries. AWS: 6 MB of event in base64 leave 4.5 MB, less what surrounds the
 * file. Azure takes the longest batch file whole.
 * @source https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html 2026-08
 */
export const formBytesMax: Record<CloudName, number> = { aws: 4 * 1024 * 1024, azure: 200 * 1024 * 1024 };
/** Each part is one request, so it fits either cloud. */
export const partBytes = 4 * 1024 * 1024;
/** Beyond this, one PUT to the store is faster than parts, each of which passes through a function. */
export const partsBytesMax = 32 * 1024 * 1024;

const partsAtOnce = 3;
/** Joining the parts of a 200 MB file copies all of it to two clouds. */
const completeMs = 230_000;

/** Chooses by size and by what the cloud takes in one request. */
export function chooseUpload(bytes: number, cloud: CloudName): UploadWay {
  if (bytes <= formBytesMax[cloud]) return 'form';
  return bytes <= partsBytesMax ? 'parts' : 'presigned';
}

export interface UploadOptions {
  /** Name shown in lists. Default: the name of the `File`, or `batch.jsonl`. */
  name?: string;
  /** Default: chosen by `chooseUpload`. */
  way?: UploadWay;
  /** SHA-256 of the file in hex, which saves reading all of it into memory before a presigned upload. */
  sha256?: string;
  /** Called as bytes leave; may start again from 0 when another cloud or way is tried. */
  onProgress?: (sentBytes: number, totalBytes: number, way: UploadWay) => void;
  signal?: AbortSignal;
}

export interface Uploaded {
  file: FileObject;
  cloud: CloudName;
  way: UploadWay;
}

interface Task {
  http: Http;
  fetch: typeof fetch;
  file: Blob;
  name: string;
  options: UploadOptions;
  report: (sentBytes: number) => void;
}

/** Uploads to one cloud. What is too long for the chosen way there goes in parts. */
export async function uploadTo(
  cloud: CloudName,
  http: Http,
  send: typeof fetch,
  file: Blob,
  options: UploadOptions,
): Promise<Uploaded> {
  const name = options.name ?? (file instanceof File ? file.name : 'batch.jsonl');
  const by = async (way: UploadWay): Promise<Uploaded> => {
    const report = (sentBytes: number) => options.onProgress?.(Math.min(sentBytes, file.size), file.size, way);
    report(0);
    const sent = await ways[way]({ http, fetch: send, file, name, options, report });
    report(file.size);
    return { file: sent, cloud, way };
  };
  const way = options.way ?? chooseUpload(file.size, cloud);
  try {
    return await by(way);
  } catch (error) {
    if (options.way === undefined && way !== 'parts' && file.size > 0 && wantsParts(error)) return by('parts');
    throw error;
  }
}

function wantsParts(error: unknown): boolean {
  return error instanceof HoldfastApiError && (error.code === 'presigned_unavailable' || error.status === 413);
}

const ways: Record<UploadWay, (task: Task) => Promise<FileObject>> = {
  form: async ({ http, file, name, options: { signal }, report }) => {
    const form = new FormData();
    form.append('purpose', 'batch');
    form.append('file', countedFile(file, name, report));
    return http.json({ method: 'POST', path: '/v1/files', form, ...(signal && { signal }) });
  },

  parts: async (task) => {
    const { http, file, options, report } = task;
    const { id } = await begin(task, {});
    return completed(task, id, async () => {
      const partIds: string[] = [];
      let sent = 0;
      let next = 0;
      const sender = async () => {
        for (let start = next; start < file.size; start = next) {
          next = start + partBytes;
          const part = file.slice(start, start + partBytes);
          const form = new FormData();
          form.append('data', part, 'part');
          const path = `/v1/uploads/${id}/parts`;
          const answer = await http.json<{ id: string }>({ method: 'POST', path, form, ...signalOf(options) });
          partIds[start / partBytes] = answer.id;
          sent += part.size;
          report(sent);
        }
      };
      await Promise.all(Array.from({ length: partsAtOnce }, sender));
      return { part_ids: partIds };
    });
  },

  presigned: async (task) => {
    const { file, options, report } = task;
    const { id, holdfast } = await begin(task, { presigned: true });
    const put = holdfast!.put;
    return completed(task, id, async () => {
      // The address itself is the permission: a bearer key beside it would be refused, and is nobody's business there.
      const init = { method: put.method, headers: put.headers, redirect: 'error' as const, ...signalOf(options) };
      const response = await task.fetch(put.url, { ...init, body: countedFile(file, 'file', report) });
      if (!response.ok)
        throw new HoldfastApiError(`The store refused the upload: HTTP ${response.status}.`, {
          status: response.status,
          code: `store_http_${response.status}`,
          param: null,
          requestId: null,
          base: new URL(put.url).origin,
          retryAfterMs: null,
        });
      return { part_ids: [], sha256: options.sha256 ?? (await sha256Of(file)) };
    });
  },
};

interface UploadObject {
  id: string;
  file: FileObject | null;
  holdfast?: { put: { url: string; method: 'PUT'; headers: Record<string, string> } };
}

function begin({ http, file, name, options }: Task, more: object): Promise<UploadObject> {
  const json = { bytes: file.size, filename: name, mime_type: 'application/jsonl', purpose: 'batch', ...more };
  return http.json({ method: 'POST', path: '/v1/uploads', json, ...signalOf(options) });
}

/** Completes the upload with what `send` gives; gives it up where that fails, so that nothing waits for its expiry. */
async function completed({ http, options }: Task, id: string, send: () => Promise<object>): Promise<FileObject> {
  try {
    const json = await send();
    const call = { method: 'POST', path: `/v1/uploads/${id}/complete`, json, answerMs: completeMs } as const;
    return (await http.json<UploadObject>({ ...call, ...signalOf(options) })).file!;
  } catch (error) {
    const signal = AbortSignal.timeout(2_000);
    await http.send({ method: 'POST', path: `/v1/uploads/${id}/cancel`, json: {}, signal }).catch(() => {});
    throw error;
  }
}

function signalOf({ signal }: UploadOptions): { signal?: AbortSignal } {
  return signal === undefined ? {} : { signal };
}

/** The same file; `report` hears how much of it was taken, where `fetch` reads bodies through `stream()` as Node does. */
function countedFile(file: Blob, name: string, report: (sentBytes: number) => void): File {
  const counted = new File([file], name, { type: 'application/jsonl' });
  const stream = counted.stream.bind(counted);
  counted.stream = () => {
    let sent = 0;
    return stream().pipeThrough(
      new TransformStream<Uint8Array<ArrayBuffer>, Uint8Array<ArrayBuffer>>({
        transform(piece, controller) {
          sent += piece.byteLength;
          report(sent);
          controller.enqueue(piece);
        },
      }),
    );
  };
  return counted;
}

async function sha256Of(file: Blob): Promise<string> {
  const hash = await crypto.subtle.digest('SHA-256', await file.arrayBuffer());
  return [...new Uint8Array(hash)].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}
