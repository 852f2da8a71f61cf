import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { azureModels } from '../../functions-azure/adapters/models.ts';
import { type ScriptedServer, startScriptedServer } from '../support/scripted-server.ts';

/**
 * A managed identity as App Service and Functions hand it to a process.
 * @source https://learn.microsoft.com/azure/app-service/overview-managed-identity#rest-endpoint-reference (2026-11)
 */
let server: ScriptedServer;
const kept = { ...process.env };
beforeEach(async () => {
  server = await startScriptedServer(() => ({
    body: {
      access_token: 'entra-1',
      expires_on: String(Math.floor(Date.now() / 1000) + 3_600),
      resource: 'https://cognitiveservices.azure.com',
      token_type: 'Bearer',
    },
  }));
  process.env.IDENTITY_ENDPOINT = `${server.origin}/msi/token`;
  process.env.IDENTITY_HEADER = 'header-1';
  process.env.AZURE_TOKEN_CREDENTIALS = 'ManagedIdentityCredential';
});
afterEach(async () => {
  process.env = { ...kept };
  await server.close();
});

test('an identity of the process gives a token for the scope, with its end', async () => {
  const tokens = await azureModels.entraTokens('https://cognitiveservices.azure.com/.default');
  const { token, expiresAt } = await tokens();
  expect(token).toBe('entra-1');
  expect(Math.abs(expiresAt - Date.now() - 3_600_000)).toBeLessThan(60_000);
  const [request] = server.arrived;
  expect(request!.headers['x-identity-header']).toBe('header-1');
  expect(request!.path).toContain('resource=https%3A%2F%2Fcognitiveservices.azure.com');
});
