import { createHash } from 'node:crypto';
import {
  type BatchObject,
  type CloudName,
  type HoldfastClient,
  hasEnded,
  type UnreachableError,
} from '../../client/index.ts';
import type { Context } from '../command.ts';
import { answeredIn } from '../describe.ts';
import { CliError, exitCodes } from '../exit.ts';
import type { Published } from '../judge.ts';
import { pause } from '../pause.ts';
import { createProgress, type Progress } from '../progress.ts';
import { text } from '../text.ts';
import { batchLines, type Input } from './inputs.ts';

export const clouds = ['aws', 'azure'] as const;
const pollMs = 700;

/** A batch of the demo, and which cloud's front door took it. */
export interface Submitted {
  batch: BatchObject;
  input: Input;
  through: CloudName;
}

/** Half of the inputs through either cloud. */
export async function submitAll(client: HoldfastClient, inputs: readonly Input[], signal: AbortSignal) {
  const halves = clouds.map((through, half) =>
    submitThrough(
      client.on(through),
      through,
      inputs.filter((_, n) => n % 2 === half),
      signal,
    ),
  );
  return (await Promise.all(halves)).flat();
}

async function submitThrough(
  client: HoldfastClient,
  through: CloudName,
  inputs: readonly Input[],
  signal: AbortSignal,
): Promise<Submitted[]> {
  const submitted: Submitted[] = [];
  for (const input of inputs) {
    const name = `${input.name.replace(' ', '-')}.jsonl`;
    const { file } = await client.files.upload(new Blob([input.bytes]), { name, signal });
    const request = { input_file_id: file.id, endpoint: input.endpoint, metadata: { demo: input.name } };
    submitted.push({ batch: await client.batches.create(request, { signal }), input, through });
  }
  return submitted;
}

/** Something that goes on beside the waiting, told of every look; it may show lines above the bars. */
export type Watch = (batches: readonly BatchObject[], progress: Progress) => Promise<void> | void;

/**
 * Shows how each cloud works its batches off, until all have ended.
 * @param done ends the waiting earlier
 * @throws CliError when they do not end within `patienceMs`
 */
export async function watchAll(
  client: HoldfastClient,
  started: readonly BatchObject[],
  patienceMs: number,
  { io }: Context,
  { watch, done }: { watch?: Watch; done?: (batches: readonly BatchObject[]) => boolean } = {},
): Promise<BatchObject[]> {
  const until = performance.now() + patienceMs;
  const progress = createProgress(io);
  const tracks = clouds.map((cloud) => {
    const lines = started.filter(({ holdfast }) => holdfast.home === cloud).length * batchLines;
    return { cloud, lines, track: progress.track(cloud, lines) };
  });
  let now = [...started];
  try {
    for (;;) {
      now = await Promise.all(now.map((batch) => (hasEnded(batch) ? batch : look(client, batch, io.signal))));
      for (const { cloud, lines, track } of tracks) {
        const answered = now.reduce((sum, batch) => sum + answeredIn(batch, cloud), 0);
        const own = now.filter(({ holdfast }) => holdfast.home === cloud);
        const note = `lines answered; ${own.filter(hasEnded).length} of ${own.length} batches ended`;
        track.update(answered, Math.max(lines, answered), note);
      }
      await watch?.(now, progress);
      if (now.every(hasEnded) || done?.(now)) return now;
      if (performance.now() > until) throw notEnded(now, patienceMs);
      await pause(pollMs, io.signal);
    }
  } finally {
    progress.stop();
  }
}

/** The batch as it is told now; as it was told last while nobody answers. */
function look(client: HoldfastClient, batch: BatchObject, signal: AbortSignal): Promise<BatchObject> {
  return client.batches.get(batch.id, { signal }).catch((error: UnreachableError) => {
    if (error.code !== 'unreachable') throw error;
    return batch;
  });
}

function notEnded(now: readonly BatchObject[], patienceMs: number): CliError {
  const open = now.filter((batch) => !hasEnded(batch));
  return new CliError(
    exitCodes.no,
    text`${open.length} of ${now.length} batches did not end within ${seconds(patienceMs)}`,
    open.map(({ id, status, request_counts: { completed, total } }) => text`${id} ${status} ${completed}/${total}`),
  );
}

/** Every file that each cloud, asked by itself, gives of the batches. */
export async function downloadAll(
  client: HoldfastClient,
  batches: readonly BatchObject[],
  signal: AbortSignal,
): Promise<Published[]> {
  return (await Promise.all(clouds.map((cloud) => downloadFrom(client.on(cloud), cloud, batches, signal)))).flat();
}

async function downloadFrom(
  client: HoldfastClient,
  cloud: CloudName,
  batches: readonly BatchObject[],
  signal: AbortSignal,
): Promise<Published[]> {
  const published: Published[] = [];
  for (const { id } of batches) {
    // Asked anew: this cloud must know by itself how the batch ended.
    const batch = await client.batches.get(id, { signal });
    for (const kind of ['output', 'error'] as const) {
      const file = kind === 'output' ? batch.output_file_id : batch.error_file_id;
      if (file === null) continue;
      const bytes = new Uint8Array(await (await client.files.content(file, { signal })).arrayBuffer());
      const sha256 = createHash('sha256').update(bytes).digest('hex');
      published.push({ batch: id, kind, cloud, sha256, content: new TextDecoder().decode(bytes) });
    }
  }
  return published;
}

export function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}
