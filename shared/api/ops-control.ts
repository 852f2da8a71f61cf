import { Hono } from 'hono';
import * as z from 'zod';
import { type ControlCommand, describeChange, type Scope } from '../control/commands.ts';
import { type CommandOutcome, execute } from '../control/execute.ts';
import { readPast } from '../control/history.ts';
import { learnControl } from '../control/log.ts';
import { type OpenBatches, readOpenBatches } from '../control/open-batches.ts';
import { iso, opinionOf } from '../control/opinion.ts';
import type { CommandPlan } from '../control/plan.ts';
import { controlPolicy } from '../control/policy.ts';
import { isForceable, type Objection, ruleNames } from '../control/rules.ts';
import { statusPage } from '../control/status.ts';
import { readSuperseded } from '../control/superseded.ts';
import { readObservations } from '../health/observation.ts';
import type { SeenObservation } from '../health/types.ts';
import type { ControlEntry } from '../journal/facts.ts';
import { sitePattern } from '../journal/keys.ts';
import { convergeJournals } from '../redrive/converge.ts';
import { readRedriveProgress } from '../redrive/progress.ts';
import { check, readJson } from './body.ts';
import { type ApiEnv, needs } from './env.ts';
import { ApiError, badRequest, unavailable } from './errors.ts';
import type { ApiCore } from './placement.ts';

const site = z.string().regex(sitePattern, 'must be a site id');
const name = z.string().min(1).max(200);
const weight = z.int().min(0).max(100);

/** Of every command; `reason` is asked for because the next person will read it. */
const common = {
  reason: z.string().min(1).max(2000),
  operation_id: z.string().min(1).max(64).optional(),
  expected_epoch: z.int().min(1).optional(),
  force: z
    .array(z.enum(ruleNames.filter(isForceable) as [string, ...string[]]))
    .max(ruleNames.length)
    .optional(),
  dry_run: z.boolean().optional(),
};
const scoped = { scope: z.enum(['all', 'model', 'batch']).optional(), name: name.optional() };

const schemas = {
  failover: z.strictObject({
    ...common,
    ...scoped,
    from: site,
    to: site,
    mode: z.enum(['graceful', 'forced']).optional(),
  }),
  failback: z.strictObject({ ...common, ...scoped, site, weight: weight.min(1).optional() }),
  cordon: z.strictObject({ ...common, site }),
  uncordon: z.strictObject({ ...common, site }),
  drain: z.strictObject({ ...common, site }),
  freeze: z.strictObject(common),
  unfreeze: z.strictObject(common),
  weights: z.strictObject({ ...common, weights: z.record(site, weight) }),
  'replace-store': z.strictObject({ ...common, store: z.string().regex(sitePattern, 'must be a site id, or witness') }),
};
export type CommandKind = keyof typeof schemas;
/** What is sent to `/ops/v1/control/<kind>`. */
export type CommandBody<K extends CommandKind = CommandKind> = z.infer<(typeof schemas)[K]>;

const historyQuerySchema = z.strictObject({ limit: z.coerce.number().int().min(1).max(1000).optional() });

/** `/ops/v1/control` and `/ops/v1/status`, for operators. @param reading see `readingCore`; nothing is decided by it */
export function controlRoutes(core: ApiCore, reading: ApiCore): Hono<ApiEnv> {
  const app = new Hono<ApiEnv>();

  app.get('/control', needs('operator'), async (c) => {
    const { limit = 20 } = check(historyQuerySchema, c.req.query());
    const control = await learnControl(core);
    const past = await readPast(core, control, { whole: true });
    return c.json(controlPage(control, past, limit));
  });

  app.get('/status', needs('operator'), async (c) => c.json(await status(core, reading)));

  for (const kind of Object.keys(schemas) as CommandKind[])
    app.post(`/control/${kind}`, needs('operator'), async (c) => {
      const body = await readJson(c.req.raw, schemas[kind]);
      const observations = await readObservations(core);
      const policy = controlPolicy(core);
      const command = commandOf(kind, body, {
        modeFor: (from) =>
          opinionOf(from, observations, policy.profile, core.clock.now()).isWell ? 'graceful' : 'forced',
        uuid: () => core.ids.uuid(),
      });
      const outcome = await execute(core, command, {
        operationId: body.operation_id ?? core.ids.uuid(),
        ...(body.expected_epoch !== undefined && { expectedEpoch: body.expected_epoch }),
        actor: `key:${c.get('principal').keyId}`,
        reason: body.reason,
        force: ruleNames.filter((rule) => body.force?.includes(rule)),
        dryRun: body.dry_run ?? false,
        observations,
        policy,
        isConverged: () => convergeJournals(core),
      });
      return c.json(await answerOf(reading, outcome, observations));
    });
  return app;
}

/** @throws ApiError 400 for a scope without its name */
function commandOf(
  kind: CommandKind,
  body: CommandBody,
  { modeFor, uuid }: { modeFor: (from: string) => 'graceful' | 'forced'; uuid: () => string },
): ControlCommand {
  switch (kind) {
    case 'failover': {
      const { from, to, mode, ...rest } = body as CommandBody<'failover'>;
      const scope = scopeOf(rest);
      return { kind, from, to, scope, mode: mode ?? (scope.kind === 'all' ? modeFor(from) : 'forced') };
    }
    case 'failback': {
      const { site, weight, ...rest } = body as CommandBody<'failback'>;
      const scope = scopeOf(rest);
      if (scope.kind !== 'all') return { kind, site, step: 'return', scope };
      return { kind, site, step: weight ?? 'start' };
    }
    case 'weights':
      return { kind, weights: (body as CommandBody<'weights'>).weights };
    case 'replace-store':
      return { kind, store: (body as CommandBody<'replace-store'>).store, incarnation: uuid() };
    case 'freeze':
    case 'unfreeze':
      return { kind };
    default:
      return { kind, site: (body as CommandBody<'cordon'>).site };
  }
}

function scopeOf({ scope = 'all', name }: { scope?: Scope['kind'] | undefined; name?: string | undefined }): Scope {
  if (scope === 'all') {
    if (name !== undefined) throw badRequest('invalid_value', "'name' goes with the scope model or batch.", 'name');
    return { kind: 'all' };
  }
  if (name === undefined) throw badRequest('missing_required_parameter', `The scope ${scope} needs a 'name'.`, 'name');
  return { kind: scope, name };
}

/** @throws ApiError for everything that did not happen and was to */
async function answerOf(core: ApiCore, outcome: CommandOutcome, observations: readonly SeenObservation[]) {
  const object = 'control.outcome';
  switch (outcome.status) {
    case 'done':
      return {
        object,
        status: outcome.status,
        epoch: outcome.entry.epoch,
        /** One store and a person decided: in force at this site alone until the link heals. */
        solo: outcome.isSolo === true,
        ...(await planned(core, outcome.plan)),
      };
    case 'replayed':
      return { object, status: outcome.status, epoch: outcome.entry.epoch, entry: changeOf(outcome.entry, undefined) };
    case 'unchanged':
    case 'planned':
      return {
        object,
        status: outcome.status,
        epoch: outcome.plan.epoch,
        ...(await planned(core, outcome.plan, observations)),
      };
    case 'refused':
      throw refused(outcome.objections);
    case 'impossible':
      throw badRequest('impossible_change', `There is no such change: ${outcome.sentence}.`);
    case 'stale':
      throw conflict(
        'epoch_stale',
        `The control log stands at entry ${said(outcome.entry)}: look at it and decide again.`,
        'expected_epoch',
      );
    case 'lost':
      throw conflict(
        'decided_otherwise',
        `Somebody else was faster, and nothing was done: entry ${said(outcome.entry)}.`,
      );
    case 'undecided':
      throw unavailable(
        'undecided',
        `${outcome.objections.map(({ sentence }) => sentence).join('; ')}. It may still come to be: send it again with the same operation_id.`,
      );
  }
}

/** The entry that stands, and the last ones, newest first. */
function controlPage(control: ControlEntry, past: readonly ControlEntry[], limit: number) {
  const entries = [control, ...past];
  const history = entries.slice(0, limit).map((entry, i) => changeOf(entry, entries[i + 1]));
  return { object: 'control' as const, entry: control, history };
}

/** What `/ops/v1/control` answers. */
export type ControlPage = ReturnType<typeof controlPage>;
/** What a command is answered with when nothing stood against it. */
export type ControlAnswer = Awaited<ReturnType<typeof answerOf>>;
/** What `/ops/v1/status` answers. */
export type StatusAnswer = Awaited<ReturnType<typeof status>>;

/** What a plan says, and, before a failover, how much it moves. */
async function planned(core: ApiCore, plan: CommandPlan, observations?: readonly SeenObservation[]) {
  const { changes, objections, overridden, moving, command } = plan;
  const load =
    observations === undefined || command.kind !== 'failover' ? undefined : await loadOf(core, command, observations);
  return { command, changes, objections, overridden, moving, ...(load !== undefined && { load }) };
}

/** Batches, lines and tokens that a failover would move, and how long the target would take at the pace last seen. */
async function loadOf(
  core: ApiCore,
  command: Extract<ControlCommand, { kind: 'failover' }>,
  observations: readonly SeenObservation[],
) {
  const open = await openBatches(core, await core.control.current());
  if (open === undefined) return null;
  const { from, scope, to } = command;
  const moving = open.batches.filter(
    ({ owner, model, batch }) =>
      owner === from && (scope.kind === 'all' || scope.name === (scope.kind === 'model' ? model : batch)),
  );
  const lines = moving.reduce((sum, { lines, answered }) => sum + lines - answered, 0);
  const rows = observations.flatMap(({ observation }) => (observation.home === to ? observation.backlog : []));
  const here = rows.filter(({ site }) => site === to);
  const linesPerTick = here.reduce((sum, { answeredOfLate }) => sum + answeredOfLate, 0);
  const ahead = here.reduce((sum, { openLines }) => sum + openLines, 0);
  return {
    batches: moving.length,
    lines,
    tokens: moving.reduce((sum, { tokens }) => sum + tokens, 0),
    unread: open.unread,
    /** Open at the target already. */
    ahead,
    /** Until all of it is done at the target's pace; `null` where nothing was seen to get done. */
    estimated_seconds:
      linesPerTick === 0 ? null : Math.ceil(((ahead + lines) / linesPerTick) * (core.settings.tickMs / 1000)),
  };
}

async function status(core: ApiCore, reading: ApiCore) {
  const [control, observations] = await Promise.all([
    learnControl(core).catch(() => core.control.current()),
    readObservations(core),
  ]);
  const isMoving = control.moves.length > 0 || Object.values(control.sites).some((site) => site.state === 'fenced');
  const [open, past, superseded, redrive] = await Promise.all([
    openBatches(reading, control),
    readPast(core, control),
    readSuperseded(reading),
    isMoving ? readRedriveProgress(reading).catch(() => null) : null,
  ]);
  const now = core.clock.now();
  return {
    ...statusPage({ control, observations, open, policy: controlPolicy(core), now, past, superseded }),
    /** By site that takes over: pointers that were sent to it, and those still to be sent; `null` where nothing is moved. */
    redrive,
    answered_by: core.self,
  };
}

async function openBatches(core: ApiCore, control: ControlEntry): Promise<OpenBatches | undefined> {
  return readOpenBatches(core, control).catch(() => undefined);
}

function changeOf(entry: ControlEntry, previous: ControlEntry | undefined) {
  const { epoch, at, actor, reason, operation, forced, evidence } = entry;
  const isNext = previous?.epoch === epoch - 1;
  return {
    epoch,
    at: iso(at),
    actor,
    reason,
    operation,
    forced,
    evidence,
    changes: isNext ? describeChange(previous, entry) : [],
  };
}

const said = ({ epoch, actor, reason }: ControlEntry) => `${epoch} (${actor}: ${reason})`;

function conflict(code: string, message: string, param?: string): ApiError {
  return new ApiError({ status: 409, code, message, ...(param !== undefined && { param }) });
}

/** 409; `code` is the first rule that objects. */
function refused(objections: readonly Objection[]): ApiError {
  const told = objections.map(({ rule, sentence }) => `${rule}: ${sentence}`).join('; ');
  const may = objections.filter(({ rule }) => isForceable(rule)).map(({ rule }) => rule);
  const hint = may.length === objections.length ? ` To override it all the same, force ${may.join(' ')}.` : '';
  return conflict(objections[0]!.rule, `Refused. ${told}.${hint}`, 'force');
}
