import type { DurationMs } from '../units.ts';
import { type FileMeta, factVersion, type Manifest, type Publication } from './facts.ts';
import { sha256 } from './json.ts';
import { invertedTime, outputKey } from './keys.ts';

/** The two files that a batch leaves behind for its owner. */
export type OutputKind = 'output' | 'error';

/**
 * Life of an output file where the batch does not say: 30 days, as OpenAI keeps batch files. A constant, not a setting:
 * two sites that were configured differently must write the same bytes.
 * @source https://platform.openai.com/docs/api-reference/files/create 2026-08
 */
export const outputLifeDefaultMs: DurationMs = 30 * 24 * 3_600_000;

/** Id under which clients find an output file: a pure function of the publication, and newest first like any file id. */
export function outputFileId(publication: Pick<Publication, 'batch' | 'endedAt'>, kind: OutputKind): string {
  return `file-${invertedTime(publication.endedAt)}${sha256(publication.batch + kind).slice(0, 16)}`;
}

/**
 * The `meta.json` that makes an output or error file an ordinary file; `undefined` where the batch has none. Pure, so
 * that every publisher and every repair writes the same bytes.
 */
export function outputFileMeta(
  publication: Publication,
  manifest: Pick<Manifest, 'outputExpiresAfterMs'>,
  kind: OutputKind,
): FileMeta | undefined {
  const file = kind === 'output' ? publication.output : publication.errorFile;
  if (file === null) return undefined;
  return {
    v: factVersion,
    kind: 'file',
    id: outputFileId(publication, kind),
    tenant: publication.tenant,
    contentKey: outputKey(publication.tenant, file.sha256),
    bytes: file.bytes,
    sha256: file.sha256,
    filename: `${publication.batch}_${kind}.jsonl`,
    purpose: 'batch_output',
    createdAt: publication.endedAt,
    expiresAt: publication.endedAt + (manifest.outputExpiresAfterMs ?? outputLifeDefaultMs),
    boundTo: publication.boundTo,
  };
}
