import * as z from 'zod';
import {
  type EmbeddingFormat,
  embeddingFormats,
  type InputType,
  inputTypes,
} from '../inference/bedrock/embedding-formats.ts';
import type { Environment } from './fields.ts';
import { accessKeyField, section, textFields } from './fields.ts';

export const backendKinds = ['openai', 'azure-openai', 'bedrock-openai', 'bedrock'] as const;
export type BackendKind = (typeof backendKinds)[number];

export const clouds = ['aws', 'azure'] as const;
export type Cloud = (typeof clouds)[number];

/** Scope of Entra tokens for Azure OpenAI. @source https://learn.microsoft.com/azure/ai-foundry/openai/how-to/managed-identity (2026-11) */
const defaultScope = 'https://cognitiveservices.azure.com/.default';

const count = (max: number) => z.int().min(1).max(max, `must be at most ${max}`).optional();
const dollars = () =>
  z
    .number({ error: ({ code }) => (code === 'invalid_type' ? 'must be a number' : undefined) })
    .min(0)
    .max(100_000, 'must be at most 100000');

/** Budgets and bounds of one backend. An absent one is not known, and is learned or left to the backend. */
const limitsSchema = () =>
  section({
    /** Requests a minute. */
    requestsPerMinute: count(10_000_000),
    /** Tokens a minute, input and output together, as providers count. */
    tokensPerMinute: count(100_000_000_000),
    /** Calls at once. */
    concurrencyMax: count(10_000),
    /** Inputs of one embeddings call. */
    inputsMax: count(100_000),
    /** Tokens of one input. */
    inputTokensMax: count(100_000_000),
    /** Tokens of one call. */
    callTokensMax: count(100_000_000),
  });
export type BackendLimits = Readonly<z.infer<ReturnType<typeof limitsSchema>>>;

/** US dollars per million tokens. */
const priceSchema = () =>
  section({
    input: dollars(),
    /** Not needed where nothing comes out but embeddings; elsewhere, without it, nobody can say what an answer costs. */
    output: dollars().optional(),
    /** Input tokens that came from a cache. Default: the price of input. */
    cachedInput: dollars().optional(),
  }).transform(({ input, output, cachedInput }) => ({
    input,
    output: output ?? null,
    cachedInput: cachedInput ?? input,
  }));
export type Price = Readonly<z.infer<ReturnType<typeof priceSchema>>>;

/** Shape of `models` in `holdfast.config.yaml`, bound to an environment. */
export function modelsSchema(env: Environment) {
  const { text, secret, url, name } = textFields(env);
  const region = name(/^[a-z0-9-]{1,40}$/, 'must be a region as its cloud writes it, such as us-east-1');

  /** What every kind of backend says of itself. */
  const common = {
    /** How results name it. Default: the cloud. */
    name: text.optional(),
    /** Model as this backend calls it (deployment, model id, inference profile). Default: the alias. */
    model: text.optional(),
    /** Which model that is, wherever it is served: what `same_model` compares. */
    identity: text.optional(),
    /** What `same_family` compares. */
    family: text.optional(),
    limits: limitsSchema().default({}),
    price: priceSchema().nullable().default(null),
    apiKeyEnv: secret.optional(),
  };

  const accessKey = accessKeyField(env);

  /** A server that speaks the OpenAI protocol: OpenAI, vLLM, Ollama, llama.cpp, a gateway. */
  const openai = section({
    kind: z.literal('openai').default('openai'),
    ...common,
    /** Base address, with `/v1`. */
    url,
  });

  const azureOpenai = section({
    kind: z.literal('azure-openai'),
    ...common,
    /** `https://NAME.openai.azure.com`. */
    url,
    /** Without a key, what an Entra token is asked for. */
    scope: text.default(defaultScope),
  });

  /** How a process proves to Bedrock who it is: `apiKeyEnv`, else an access key, else the SDK's own chain. */
  const bedrock = {
    ...common,
    region,
    /** Another address than Amazon's. */
    url: url.nullable().default(null),
    credentials: accessKey.nullable().default(null),
  };

  const bedrockOpenai = section({ kind: z.literal('bedrock-openai'), ...bedrock });

  const bedrockOwn = section({
    kind: z.literal('bedrock'),
    ...bedrock,
    /** How an embedding model is spoken to. Default: its id tells. */
    embeddingFormat: z.enum(embeddingFormats).nullable().default(null),
    /** What Cohere's embeddings are for. */
    inputType: z.enum(inputTypes).default('search_document'),
  });

  const backend = z.discriminatedUnion('kind', [openai, azureOpenai, bedrockOpenai, bedrockOwn]);

  const cloud = z.enum(clouds);
  const weight = z.int().min(0).max(100, 'must be at most 100').optional();

  const model = section({
    /**
     * Which backends may stand in for each other: those of the same model, of the same family, or any that stand here.
     * `equivalent` is the old name of `any`.
     */
    policy: z.enum(['same_model', 'same_family', 'any', 'equivalent']).default('same_model'),
    /** Clouds that may serve it. The first one's backend is the one that others are held against. */
    clouds: z.array(cloud).min(1).default(['aws', 'azure']),
    /** Where new work goes. */
    placement: z.enum(['weights', 'cheapest']).default('weights'),
    /** Shares of new work, 0 … 100. Default: those of the control log. */
    weights: section({ aws: weight, azure: weight }).nullable().default(null),
    /** New work while no site that may serve it is active: it waits for one, or is refused. */
    unplaced: z.enum(['wait', 'fail']).default('wait'),
    aws: backend.optional(),
    azure: backend.optional(),
  }).superRefine((entry, context) => {
    for (const [path, message] of modelProblems(entry)) context.addIssue({ code: 'custom', path, message });
  });

  return z.record(z.string().min(1).max(256), model).default({});
}

type ParsedModel = z.infer<ReturnType<typeof modelsSchema>>[string];
type ParsedBackend = NonNullable<ParsedModel['aws']>;

/** What must hold between the members of one entry: the key at fault, and the rule in words. */
function modelProblems(entry: {
  placement: 'weights' | 'cheapest';
  clouds: readonly Cloud[];
  weights: { aws?: number; azure?: number } | null;
  aws?: { price: unknown };
  azure?: { price: unknown };
}): [string[], string][] {
  const serving = clouds.filter((cloud) => entry[cloud] !== undefined && entry.clouds.includes(cloud));
  const problems: [string[], string][] = [];
  if (serving.length === 0)
    problems.push([['clouds'], 'must name a cloud that has a backend here, or nothing serves the model']);
  if (new Set(entry.clouds).size < entry.clouds.length) problems.push([['clouds'], 'must not name a cloud twice']);
  for (const cloud of serving)
    if (entry.placement === 'cheapest' && entry[cloud]?.price === null)
      problems.push([[cloud, 'price'], 'must be given where placement is cheapest']);
  const { weights } = entry;
  if (weights !== null && serving.every((cloud) => (weights[cloud] ?? 0) === 0))
    problems.push([['weights'], 'must be more than 0 for a cloud that serves the model']);
  return problems;
}

/** What serves one alias. A cloud that is absent does not serve it. */
export interface ModelConfig {
  policy: 'same_model' | 'same_family' | 'any';
  clouds: readonly Cloud[];
  placement: 'weights' | 'cheapest';
  weights: { readonly aws?: number; readonly azure?: number } | null;
  unplaced: 'wait' | 'fail';
  aws?: BackendConfig;
  azure?: BackendConfig;
}

/** What every kind of backend has. */
interface CommonBackend {
  name: string;
  /** `null`: the alias itself. */
  model: string | null;
  /** `null`: not said. */
  identity: string | null;
  family: string | null;
  limits: BackendLimits;
  /** `null`: not known. */
  price: Price | null;
  apiKey: string | null;
}

export interface AwsIdentity {
  region: string;
  /** `null`: Amazon's own address in that region. */
  url: string | null;
  /** `null`: the SDK's own chain. */
  credentials: { accessKeyId: string; secretAccessKey: string; sessionToken: string | null } | null;
}

export type OpenAiConfig = CommonBackend & { kind: 'openai'; url: string };
export type AzureOpenAiConfig = CommonBackend & { kind: 'azure-openai'; url: string; scope: string };
export type BedrockOpenAiConfig = CommonBackend & AwsIdentity & { kind: 'bedrock-openai' };
export type BedrockConfig = CommonBackend &
  AwsIdentity & { kind: 'bedrock'; embeddingFormat: EmbeddingFormat | null; inputType: InputType };
export type BackendConfig = OpenAiConfig | AzureOpenAiConfig | BedrockOpenAiConfig | BedrockConfig;

/** An entry as it was parsed, with every field that the rest of the code reads. */
export function resolveModel(entry: ParsedModel): ModelConfig {
  const { policy, aws, azure, ...rest } = entry;
  return {
    policy: policy === 'equivalent' ? 'any' : policy,
    ...rest,
    ...(aws && { aws: resolveBackend(aws, 'aws') }),
    ...(azure && { azure: resolveBackend(azure, 'azure') }),
  };
}

function resolveBackend(parsed: ParsedBackend, cloud: Cloud): BackendConfig {
  const { apiKeyEnv, ...backend } = parsed;
  return {
    ...backend,
    name: backend.name ?? cloud,
    model: backend.model ?? null,
    identity: backend.identity ?? null,
    family: backend.family ?? null,
    apiKey: apiKeyEnv ?? null,
  } as BackendConfig;
}

/** A model server named by the environment, which serves every alias that the map does not name. */
export function plainBackend(cloud: Cloud, url: string, apiKey: string | null): OpenAiConfig {
  const unsaid = { model: null, identity: null, family: null, limits: {}, price: null };
  return { kind: 'openai', name: cloud, url, apiKey, ...unsaid };
}

/** An entry that says nothing but what serves it. */
export const plainModel: Omit<ModelConfig, Cloud> = {
  policy: 'same_model',
  clouds: ['aws', 'azure'],
  placement: 'weights',
  weights: null,
  unplaced: 'wait',
};
