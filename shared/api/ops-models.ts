import { Hono } from 'hono';
import * as z from 'zod';
import type { ModelBackend, ModelEntry } from '../core.ts';
import { type Endpoint, endpoints } from '../journal/facts.ts';
import type { SiteId } from '../ports/site.ts';
import type { DurationMs } from '../units.ts';
import { readJson } from './body.ts';
import { type ApiEnv, type ApiOptions, needs } from './env.ts';
import { notFound, unavailable } from './errors.ts';
import type { ApiCore } from './placement.ts';

/** How the own site's backend of an alias answered when it was asked for as little as it can give. */
export interface ModelCheck {
  alias: string;
  site: SiteId;
  backend: string;
  /** Endpoint that was answered, or the last that was tried. */
  endpoint: Endpoint;
  answers: boolean;
  ms: DurationMs;
  /** The model that says it answered; why it did not. */
  detail: string;
}

/** An alias of the model map, as it is shown. */
export interface ModelShown extends Omit<ModelEntry, 'backends'> {
  /** Sites that may serve it, on any endpoint. */
  sites: SiteId[];
  /** True if only one site may, so that no other can take it over. */
  unprotected: boolean;
  backends: (Omit<ModelBackend, 'isPermitted'> & { is_permitted: boolean })[];
}

export interface ModelPage {
  object: 'list';
  /** Whose map this is: it is part of what was deployed to each site. */
  site: SiteId;
  data: ModelShown[];
}

export interface ModelCheckPage {
  object: 'list';
  site: SiteId;
  data: ModelCheck[];
}

const checkSchema = z.strictObject({
  alias: z.string().min(1).max(256).optional(),
  endpoint: z.enum(endpoints).optional(),
});

/** `/ops/v1/models`: what serves which model, and whether it answers. */
export function modelRoutes(core: ApiCore, { checkModel }: Pick<ApiOptions, 'checkModel'>): Hono<ApiEnv> {
  const app = new Hono<ApiEnv>();

  app.get('/', needs('viewer'), (c) => {
    const page: ModelPage = {
      object: 'list',
      site: core.self,
      data: aliasesOf(core).map((alias) => shown(core, alias)),
    };
    return c.json(page);
  });

  // It costs tokens, so only operators may.
  app.post('/check', needs('operator'), async (c) => {
    const { alias, endpoint } = await readJson(c.req.raw, checkSchema);
    if (checkModel === undefined) throw unavailable('no_model_check', 'This front door cannot reach models.');
    if (alias !== undefined && core.models.entryOf?.(alias) === undefined) throw notFound('model', alias, 'alias');
    const wanted = alias === undefined ? aliasesOf(core).filter((one) => one !== '*') : [alias];
    const checks = await Promise.all(wanted.map((one) => checkModel(one, endpoint)));
    const page: ModelCheckPage = { object: 'list', site: core.self, data: checks.filter((one) => one !== undefined) };
    return c.json(page);
  });

  return app;
}

function aliasesOf({ models }: ApiCore): readonly string[] {
  return (models.aliases?.() ?? []).toSorted();
}

function shown(core: ApiCore, alias: string): ModelShown {
  const { backends, ...entry } = core.models.entryOf!(alias)!;
  const sites = [...new Set(endpoints.flatMap((endpoint) => core.models.sitesFor(alias, endpoint)))];
  return {
    ...entry,
    sites,
    unprotected: sites.length < 2,
    backends: backends.map(({ isPermitted, ...backend }) => ({ ...backend, is_permitted: isPermitted })),
  };
}
