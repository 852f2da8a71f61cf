/**
 * Models whose requests and answers we know. Cohere embeds for a purpose, which OpenAI's request does not name: it comes
 * from the model map.
 */
export const embeddingFormats = ['titan-v1', 'titan-v2', 'cohere-v3', 'cohere-v4'] as const;
export type EmbeddingFormat = (typeof embeddingFormats)[number];

export const inputTypes = ['search_document', 'search_query', 'classification', 'clustering'] as const;
export type InputType = (typeof inputTypes)[number];

interface FormatRules {
  /** Texts that one call takes. */
  inputsMax: number;
  /** Values that `dimensions` may have; none: the model has but one size. */
  dimensions: readonly number[];
}

/**
 * @source https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-titan-embed-text.html (2026-11)
 * @source https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-embed-v3.html (2026-11)
 * @source https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-embed-v4.html (2026-11)
 */
export const embeddingRules: Readonly<Record<EmbeddingFormat, FormatRules>> = {
  'titan-v1': { inputsMax: 1, dimensions: [] },
  'titan-v2': { inputsMax: 1, dimensions: [256, 512, 1024] },
  'cohere-v3': { inputsMax: 96, dimensions: [] },
  'cohere-v4': { inputsMax: 96, dimensions: [256, 512, 1024, 1536] },
};

/** The format of a model by its id; `undefined` where the id does not tell (an inference profile's ARN). */
export function embeddingFormatOf(modelId: string): EmbeddingFormat | undefined {
  if (modelId.includes('titan-embed-text-v2')) return 'titan-v2';
  if (/titan-embed-(text-v1|g1-text)/.test(modelId)) return 'titan-v1';
  if (modelId.includes('cohere.embed-v4')) return 'cohere-v4';
  return /cohere\.embed-(english|multilingual)-v3/.test(modelId) ? 'cohere-v3' : undefined;
}
