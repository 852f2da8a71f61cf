import { describe, expect, test } from '@jest/globals';
import { fileMetaSchema } from '../../../shared/journal/facts.ts';
import { fileIdPattern, outputKey, timeOfInverted } from '../../../shared/journal/keys.ts';
import { outputFileId, outputFileMeta, outputLifeDefaultMs } from '../../../shared/journal/outputs.ts';
import { publicationOf } from '../../support/publication.ts';

const endedAt = Date.UTC(2026, 7, 21);
const publication = publicationOf(
  `batch_${'a'.repeat(32)}`,
  { epoch: 3, output: { sha256: 'b'.repeat(64), bytes: 200 } },
  endedAt - 3000,
);

describe('output files', () => {
  test('an id is a file id that tells when the batch ended and differs between output and error', () => {
    const id = outputFileId(publication, 'output');
    expect(id).toMatch(fileIdPattern);
    expect(timeOfInverted(id.slice(5, 16))).toBe(endedAt);
    expect(outputFileId(publication, 'error')).not.toBe(id);
  });

  test('a meta is a valid file fact that names the content under outputs/', () => {
    const meta = outputFileMeta(publication, { outputExpiresAfterMs: null }, 'output');
    expect(fileMetaSchema.parse(meta)).toEqual(meta);
    expect(meta).toMatchObject({
      contentKey: outputKey('acme', 'b'.repeat(64)),
      purpose: 'batch_output',
      expiresAt: endedAt + outputLifeDefaultMs,
    });
  });

  test('the expiry counts from the creation of the file when the batch asked for one', () => {
    const meta = outputFileMeta(publication, { outputExpiresAfterMs: 3_600_000 }, 'output');
    expect(meta?.expiresAt).toBe(endedAt + 3_600_000);
  });

  test('a batch without an error file has no meta for it', () => {
    expect(outputFileMeta(publication, { outputExpiresAfterMs: null }, 'error')).toBeUndefined();
  });
});
