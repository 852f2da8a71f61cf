import * as z from 'zod';
import { endpoints } from '../journal/facts.ts';
import { sitePattern, tenantPattern } from '../journal/keys.ts';
import { accessKeyField, type Environment, section, textFields } from './fields.ts';
import { type ModelConfig, modelsSchema } from './models-schema.ts';
import { settingsSchema } from './settings.ts';

/** Made to be asked by anybody whether the internet is there, each by somebody else. */
const neutralPlaces = [
  'https://cp.cloudflare.com/generate_204',
  'https://www.gstatic.com/generate_204',
  'https://detectportal.firefox.com/success.txt',
  'https://www.wikipedia.org/',
] as const;

/** Shape of `holdfast.config.yaml`, bound to an environment. What it gives is `HoldfastConfig` but for `self`. */
export function configSchema(env: Environment) {
  const { text, secret, url, name } = textFields(env);

  const bucket = name(/^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/, 'must be 3 to 63 of a-z, 0-9, dot and hyphen');
  const region = name(/^[a-z0-9-]{1,40}$/, 'must be a region as its cloud writes it, such as us-east-1');
  const host = name(/^[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$/, 'must be a host name without scheme or port');

  const accessKey = accessKeyField(env);

  const place = {
    region,
    /** Raised when a region that never came back is replaced; part of the control log. Default 1. */
    generation: z.int().min(1).default(1),
    journal: bucket.default('holdfast-journal'),
    state: bucket.default('holdfast-state'),
    /** Public base address of this site's front door, with `/v1`. */
    api: url.nullable().default(null),
  };

  const awsSite = section({
    cloud: z.literal('aws'),
    ...place,
    /** S3 and SQS at another address than Amazon's, path-style: an emulator, a private endpoint. */
    endpoint: url.nullable().default(null),
    /** Lambda's control calls at another address than Amazon's: an emulator. */
    lambdaEndpoint: url.nullable().default(null),
    /** Queue URLs. */
    queues: section({ intake: url, work: url, intakeDeadLetters: url, workDeadLetters: url }),
    credentials: accessKey.nullable().default(null),
  });

  const azureSite = section({
    cloud: z.literal('azure'),
    ...place,
    /** `https://<account>.blob.core.windows.net`. */
    blobEndpoint: url,
    /** Host name of the Service Bus namespace. */
    namespace: host,
    /** Where queue counts are asked for, if not at the namespace. */
    administrationEndpoint: url.nullable().default(null),
    /** Connection strings; absent: managed identity, or what else the Azure SDK finds. */
    credentials: section({ storageConnectionEnv: secret, serviceBusConnectionEnv: secret })
      .transform(({ storageConnectionEnv, serviceBusConnectionEnv }) => ({
        storageConnection: storageConnectionEnv,
        serviceBusConnection: serviceBusConnectionEnv,
      }))
      .nullable()
      .default(null),
  });

  const witness = section({
    /** Anything that speaks S3 and honours conditional writes; it is put to the test at start-up. */
    endpoint: url,
    region: region.default('auto'),
    journal: bucket.default('holdfast-journal'),
    state: bucket.default('holdfast-state'),
    credentials: accessKey.nullable().default(null),
    /** 32 bytes in base64, the same in both clouds: content that lies at the witness is encrypted under it. */
    contentKeyEnv: secret
      .refine((value) => /^[A-Za-z0-9+/]{43}=$/.test(value), 'must name a variable that holds 32 bytes in base64')
      .nullable()
      .default(null),
  }).transform(({ contentKeyEnv, ...rest }) => ({ ...rest, contentKey: contentKeyEnv }));

  return section({
    sites: z
      .record(
        z.string().regex(sitePattern, 'a site id is 1 to 16 of a-z and 0-9'),
        z.discriminatedUnion('cloud', [awsSite, azureSite]),
      )
      .refine((sites) => Object.keys(sites).length >= 2, 'must name at least two sites'),
    /** Third voter. `null`: none, and then nothing fails over by itself. */
    witness: witness.nullable(),
    settings: settingsSchema.prefault({}),
    /** What serves a model, per alias and cloud; `*` stands for every alias that is not named. */
    models: modelsSchema(env),
    health: section({
      /** Neutral places: an observer that reaches fewer than three of them takes itself for the sick one. */
      references: z.array(url).default([...neutralPlaces]),
      /** Whether end-to-end canaries are run. */
      canaries: z.boolean().default(true),
      /** What they ask for. `null`: a chat of one word with the first alias that every cloud serves. */
      canary: section({ model: text, endpoint: z.enum(endpoints).default('/v1/chat/completions') })
        .nullable()
        .default(null),
    }).prefault({}),
    cors: section({
      origins: z
        .array(
          text.pipe(
            z.string().refine((value) => value === '*' || URL.parse(value)?.origin === value, 'must be an origin or *'),
          ),
        )
        .default([]),
    }).prefault({}),
    /** Who is told that a batch ended: Standard Webhooks, per tenant. */
    webhooks: z
      .record(
        z.string().regex(tenantPattern, 'a tenant is 1 to 63 of a-z, 0-9, hyphen and underscore'),
        section({
          url,
          secretEnv: secret.refine(
            (value) => /^whsec_[A-Za-z0-9+/]{8,}={0,2}$/.test(value),
            'must name a variable that holds whsec_ and base64, as Standard Webhooks write it',
          ),
        }).transform(({ url, secretEnv }) => ({ url, secret: secretEnv })),
      )
      .default({}),
    /**
     * Drills that run on a schedule, each as in a drill file (`docs/schema/holdfast.drill.schema.json`). `null`: a weekly
     * tabletop and a monthly shadow. They are read in full by the function that runs them.
     */
    drills: z
      .array(z.looseObject({ title: z.string().min(1) }))
      .nullable()
      .default(null),
    network: section({
      /** Private hosts, addresses and CIDR ranges that webhooks and models may have all the same. */
      allowPrivate: z
        .array(
          text.pipe(z.string().regex(/^[A-Za-z0-9.:-]+(\/\d{1,3})?$/, 'must be a host, an address or a CIDR range')),
        )
        .default([]),
    }).prefault({}),
  });
}

type Resolved = z.infer<ReturnType<typeof configSchema>>;
type Frozen<T> = T extends object ? { readonly [K in keyof T]: Frozen<T[K]> } : T;

/** The whole configuration, resolved: every field present, secrets read, frozen. Never print it: it holds secrets. */
export type HoldfastConfig = Frozen<Omit<Resolved, 'models'> & { self: string; models: Record<string, ModelConfig> }>;
export type SiteConfig = HoldfastConfig['sites'][string];
export type AwsSiteConfig = Extract<SiteConfig, { cloud: 'aws' }>;
export type AzureSiteConfig = Extract<SiteConfig, { cloud: 'azure' }>;
export type WitnessConfig = NonNullable<HoldfastConfig['witness']>;
