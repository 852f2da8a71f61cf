import type * as z from 'zod';
import { ConfigError } from '../errors.ts';
import { didYouMean, type Environment } from './fields.ts';
import {
  type BackendConfig,
  backendKinds,
  type ModelConfig,
  plainBackend,
  plainModel,
  resolveModel,
} from './models-schema.ts';
import { configSchema, type HoldfastConfig } from './schema.ts';

export type { Environment } from './fields.ts';
export { backendFor, limitsOf, modelCatalog, servesEndpoint } from './models.ts';
export type * from './models-schema.ts';
export type * from './schema.ts';

/**
 * Resolves `holdfast.config.yaml` (parsed) and the environment to a frozen value with every field present. Read once, at
 * the edge, and passed down.
 *
 * From the environment: `HOLDFAST_SITE` (this process's site), `HOLDFAST_<CLOUD>_MODEL_URL` and `…_KEY` (what serves
 * every alias the model map does not name), and what the file itself names.
 *
 * @param locate where a key stands, as `file:line`; without it errors begin with the key
 * @throws ConfigError naming place, key, value and rule; of several, all in the message and each in `cause.errors`
 */
export function resolveConfig(source: unknown, env: Environment, locate?: Locate): HoldfastConfig {
  const parsed = configSchema(env).safeParse(source);
  const models = modelsFromEnvironment(env);
  const problems = [
    ...(parsed.error?.issues ?? []).flatMap((issue) => explain(issue, source, locate)),
    ...siteProblems(source, env),
    ...models.problems,
  ];
  if (problems.length > 0 || !parsed.success) throw combine(problems);
  const named = Object.entries(parsed.data.models).map(([alias, model]): [string, ModelConfig] => [
    alias,
    resolveModel(model),
  ]);
  const byAlias = Object.fromEntries(named);
  if (models.backends.aws !== undefined || models.backends.azure !== undefined)
    byAlias['*'] = { ...plainModel, ...byAlias['*'], ...models.backends };
  return deepFreeze({ ...parsed.data, models: byAlias, self: env.HOLDFAST_SITE! });
}

/** Where a value stands that was read from a file, as `file:line`: the nearest that there is. */
export type Locate = (path: readonly PropertyKey[]) => string;

function siteProblems(source: unknown, env: Environment): ConfigError[] {
  const sites = (source as { sites?: unknown } | null | undefined)?.sites;
  if (typeof sites !== 'object' || sites === null) return [];
  const ids = Object.keys(sites);
  const self = env.HOLDFAST_SITE;
  if (self === undefined || self === '')
    return [problem('HOLDFAST_SITE', undefined, `must name the site of this process: ${ids.join(' or ')}`)];
  if (!ids.includes(self))
    return [problem('HOLDFAST_SITE', self, `must be one of the configured sites${didYouMean(self, ids)}`)];
  return [];
}

function modelsFromEnvironment(env: Environment) {
  const backends: { aws?: BackendConfig; azure?: BackendConfig } = {};
  const problems: ConfigError[] = [];
  for (const cloud of ['aws', 'azure'] as const) {
    const key = `HOLDFAST_${cloud.toUpperCase()}_MODEL_URL`;
    const value = env[key];
    if (value === undefined || value === '') continue;
    const url = URL.parse(value);
    if (url === null || !/^https?:$/.test(url.protocol))
      problems.push(problem(key, value, 'must be an http or https address'));
    else
      backends[cloud] = plainBackend(
        cloud,
        value.replace(/\/+$/, ''),
        env[`HOLDFAST_${cloud.toUpperCase()}_MODEL_KEY`] || null,
      );
  }
  return { backends, problems };
}

/** A zod issue in our words; the parts of a union that failed are told one by one. */
function explain(issue: z.core.$ZodIssue, source: unknown, locate: Locate | undefined): ConfigError[] {
  const key = issue.path.map(String).join('.') || 'holdfast.config.yaml';
  const value = issue.path.reduce<unknown>(
    (at, step) => (at as Record<PropertyKey, unknown> | undefined)?.[step],
    source,
  );
  const { path } = issue;
  if (issue.code === 'unrecognized_keys')
    return issue.message
      .split('; ')
      .map((rule, i) => problem(key, undefined, rule, locate?.([...path, issue.keys[i] ?? ''])));
  if (issue.code === 'invalid_key')
    return issue.issues.map((inner) => problem(key, undefined, inner.message, locate?.(path)));
  if (value === undefined) return [problem(key, undefined, 'is required', locate?.(path))];
  return [problem(key, mayShow(key, value) ? value : undefined, rule(issue), locate?.(path))];
}

/** False for what stands where the name of a variable should, and does not look like one: it may be the secret. */
function mayShow(key: string, value: unknown): boolean {
  return !key.endsWith('Env') || (typeof value === 'string' && /^[A-Z][A-Z0-9_]*$/.test(value));
}

function rule(issue: z.core.$ZodIssue): string {
  // What a schema says in words of its own.
  if (issue.message.startsWith('must ')) return issue.message;
  if (issue.code === 'invalid_type')
    return issue.expected === 'int' || issue.expected === 'number'
      ? 'must be a whole number'
      : `must be of type ${issue.expected}`;
  if (issue.code === 'too_small') return `must be at least ${issue.minimum}`;
  if (issue.code === 'invalid_value') return oneOf(issue.values);
  if (issue.code === 'invalid_union' && issue.path.at(-1) === 'kind') return oneOf(backendKinds);
  if (issue.code === 'invalid_union') return "must be 'aws' or 'azure'";
  return issue.message;
}

function oneOf(values: readonly unknown[]): string {
  return `must be ${values.map((value) => `'${String(value)}'`).join(' or ')}`;
}

function problem(key: string, value: unknown, rule: string, place?: string): ConfigError {
  const said = value === undefined ? `${key}: ${rule}` : `${key}: ${show(value)} ${rule}`;
  return new ConfigError(key, place === undefined ? said : `${place}: ${said}`);
}

function show(value: unknown): string {
  const text =
    typeof value === 'object' && value !== null
      ? Array.isArray(value)
        ? 'a list'
        : 'an object'
      : JSON.stringify(value);
  return text.length > 80 ? `${text.slice(0, 80)}…` : text;
}

function combine(problems: readonly ConfigError[]): ConfigError {
  const [first] = problems;
  if (first !== undefined && problems.length === 1) return first;
  const message = `${problems.length} errors in the configuration:\n${problems.map((p) => `  ${p.message}`).join('\n')}`;
  return new ConfigError(first?.key ?? 'holdfast.config.yaml', message, { cause: new AggregateError(problems) });
}

function deepFreeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value);
    for (const inner of Object.values(value)) deepFreeze(inner);
  }
  return value;
}
