import { describe, expect, test } from '@jest/globals';
import { fileContentKey, fileMetaKey } from '../../../shared/journal/keys.ts';
import { call, createWorld, fileForm, inputText } from './support.ts';

describe('uploading a file', () => {
  test('puts content and meta into both journals before it answers, and answers with the File object', async () => {
    const world = createWorld();
    const secret = await world.key();
    const answer = await call(world.api('aws'), secret, 'POST', '/v1/files', fileForm(inputText(3), 'in.jsonl'));
    expect(answer.status).toBe(200);
    expect(answer.body).toEqual({
      id: expect.stringMatching(/^file-[0-9a-f]{27}$/),
      object: 'file',
      bytes: inputText(3).length,
      created_at: world.clock.now() / 1000,
      expires_at: world.clock.now() / 1000 + 30 * 24 * 3600,
      filename: 'in.jsonl',
      purpose: 'batch',
      status: 'processed',
      status_details: null,
    });
    for (const site of ['aws', 'azure'] as const)
      expect(await world.keys(site, 't/')).toEqual([
        fileContentKey('acme', answer.body.id),
        fileMetaKey('acme', answer.body.id),
      ]);
  });
});
