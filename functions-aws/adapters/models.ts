import type { BedrockTransport } from '../../shared/inference/bedrock/backend.ts';
import type { Authorize } from '../../shared/inference/openai.ts';
import type { BedrockConnection } from './bedrock.ts';
import type { SigningIdentity } from './sign.ts';

/** Ways to reach models that need AWS's SDK, from either cloud; each loads its part of it when it is first called. */
export const awsModels = {
  bedrock: async (connection: BedrockConnection): Promise<BedrockTransport> =>
    (await import('./bedrock.ts')).bedrockTransport(connection),
  awsSigner: async (identity: SigningIdentity): Promise<Authorize> =>
    (await import('./sign.ts')).requestSigner(identity),
};
