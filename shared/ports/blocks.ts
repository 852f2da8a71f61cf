/**
 * Cuts a stream into blocks of `blockBytes`, the last one smaller, whatever the sizes of its chunks. What is yielded is
 * the receiver's own. An empty stream gives none.
 *
 * @throws the signal's reason as soon as it is aborted, also while the stream keeps us waiting
 */
export async function* blocksOf(
  stream: AsyncIterable<Uint8Array>,
  blockBytes: number,
  signal?: AbortSignal,
): AsyncGenerator<Uint8Array> {
  const source = stream[Symbol.asyncIterator]();
  let block: Buffer = Buffer.alloc(0);
  let filled = 0;
  let ended = false;
  try {
    for (;;) {
      const next = await orAbort(() => source.next(), signal);
      if (next.done) break;
      let chunk = next.value;
      while (chunk.byteLength > 0) {
        block = withRoomFor(block, filled, chunk.byteLength, blockBytes);
        const piece = chunk.subarray(0, block.byteLength - filled);
        block.set(piece, filled);
        filled += piece.byteLength;
        chunk = chunk.subarray(piece.byteLength);
        if (filled < blockBytes) continue;
        yield block;
        block = Buffer.alloc(0);
        filled = 0;
      }
    }
    ended = true;
    if (filled > 0) yield block.subarray(0, filled);
  } finally {
    // Not awaited: a stream that hangs in `next` would hang here too.
    if (!ended) void source.return?.().catch(() => {});
  }
}

/**
 * Tells a stream of at most one block from a longer one: `only` is the block (empty for an empty stream), else `all` are
 * the blocks. A function of its own, since the frame of its caller would hold the first blocks to the end.
 */
export async function onlyOrAll(
  blocks: AsyncGenerator<Uint8Array>,
): Promise<{ only: Uint8Array; all?: undefined } | { only?: undefined; all: AsyncGenerator<Uint8Array> }> {
  const head: Uint8Array[] = [];
  for (let next = await blocks.next(); !next.done; next = await blocks.next()) {
    head.push(next.value);
    if (head.length === 2) return { all: chained(head, blocks) };
  }
  return { only: head[0] ?? new Uint8Array() };
}

async function* chained(head: Uint8Array[], rest: AsyncGenerator<Uint8Array>): AsyncGenerator<Uint8Array> {
  try {
    while (head.length > 0) yield head.shift()!;
    yield* rest;
  } finally {
    await rest.return(undefined);
  }
}

/** Grows by doubling, so that a small stream does not cost a whole block of memory. */
function withRoomFor(block: Buffer, filled: number, more: number, blockBytes: number): Buffer {
  if (filled + more <= block.byteLength || block.byteLength === blockBytes) return block;
  const grown = Buffer.allocUnsafeSlow(Math.min(blockBytes, Math.max(filled + more, 2 * block.byteLength)));
  grown.set(block.subarray(0, filled));
  return grown;
}

/** Not `Promise.race`: what races against one lasting promise is held by it, every chunk of the stream. */
async function orAbort<T>(next: () => Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return await next();
  signal.throwIfAborted();
  const { promise, resolve, reject } = Promise.withResolvers<T>();
  const onAbort = () => reject(signal.reason);
  signal.addEventListener('abort', onAbort);
  try {
    next().then(resolve, reject);
    const result = await promise;
    signal.throwIfAborted();
    return result;
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}
