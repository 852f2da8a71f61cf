import { bearer } from './support.ts';

/** A streamed upload request whose file has exactly `bytes` bytes. */
export function takeExactly(secret: string, bytes: number): RequestInit {
  const piece = Buffer.alloc(1024 * 1024, 'x');
  let left = bytes;
  const body = new ReadableStream({
    start: (controller) =>
      controller.enqueue(
        Buffer.from(
          '--b\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nbatch\r\n--b\r\ncontent-disposition: form-data; name="file"; filename="in.jsonl"\r\n\r\n',
        ),
      ),
    pull(controller) {
      if (left > 0) {
        controller.enqueue(piece.subarray(0, Math.min(left, piece.length)));
        left -= piece.length;
        return;
      }
      controller.enqueue(Buffer.from('\r\n--b--\r\n'));
      controller.close();
    },
  });
  return {
    method: 'POST',
    headers: { ...bearer(secret), 'content-type': 'multipart/form-data; boundary=b' },
    body,
    duplex: 'half',
  } as RequestInit;
}
