/** `https://NAME.openai.azure.com` and `…/openai` become `…/openai/v1`; what ends in `/v1` stays. */
export function azureBaseUrl(url: string): string {
  const base = url.replace(/\/+$/, '');
  if (base.endsWith('/v1')) return base;
  return base.endsWith('/openai') ? `${base}/v1` : `${base}/openai/v1`;
}

/** Bedrock's own runtime, up to and including `/v1`. @source https://docs.aws.amazon.com/bedrock/latest/userguide/inference-responses-api.html (2026-11) */
export function bedrockBaseUrl(region: string): string {
  return `https://bedrock-runtime.${region}.amazonaws.com/openai/v1`;
}

/**
 * Service that a signature is scoped to: the older endpoint at `bedrock-mantle.REGION.api.aws` is one of its own.
 * @source https://docs.aws.amazon.com/bedrock/latest/userguide/bedrock-mantle.html (2026-11)
 */
export function signingService(url: string): 'bedrock' | 'bedrock-mantle' {
  return URL.parse(url)?.hostname.startsWith('bedrock-mantle.') ? 'bedrock-mantle' : 'bedrock';
}
