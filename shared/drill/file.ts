import * as z from 'zod';
import { section } from '../config/fields.ts';
import { endpoints } from '../journal/facts.ts';
import { sitePattern } from '../journal/keys.ts';
import { durationRule, parseDuration } from './duration.ts';

/**
 * A drill file: a Chaos Toolkit experiment (title, steady-state hypothesis, method, rollbacks; `provider` says what a
 * probe or action does), and under `holdfast` what that format has no word for: kind, objectives, blast radius,
 * guardrails, windows, schedule.
 *
 * @source https://chaostoolkit.org/reference/api/experiment/ 2026-10
 */

/** What a rehearsal may do. */
export const drillKinds = ['tabletop', 'shadow', 'switchover', 'outage'] as const;
export type DrillKind = (typeof drillKinds)[number];

const day = 86_400_000;
const span = (minMs: number, maxMs: number) =>
  z
    .string()
    .refine((text) => parseDuration(text) !== undefined, durationRule)
    .transform((text) => parseDuration(text) ?? 0)
    .refine((ms) => ms >= minMs && ms <= maxMs, `must be from ${minMs / 1000}s to ${maxMs / 1000}s`);
/** Chaos Toolkit writes pauses as seconds. */
const pause = z.union([
  z
    .number()
    .min(0)
    .max(3_600)
    .transform((seconds) => seconds * 1000),
  span(0, day),
]);

const site = z.string().regex(sitePattern, 'a site id is 1 to 16 of a-z and 0-9');
const name = z.string().min(1).max(120);
const model = z.string().min(1).max(200);
const count = z.int().min(0).max(10_000_000);
const none = section({}).prefault({});

/** `aws/store`: a site, or a service of it; `witness`. What there is to break, the injector of faults knows. */
const target = z
  .string()
  .regex(
    /^[a-z0-9]{1,16}(\/(store|queue|model|functions|api|link))?$/,
    'must be SITE or SITE/SERVICE; services are store, queue, model, functions, api, link',
  );

const func = <F extends string, A extends z.ZodType>(func: F, args: A) =>
  section({ type: z.literal('holdfast'), func: z.literal(func), arguments: args });

const actions = [
  /** Batches of the drill tenant, through the real intake. `held`: their pointers are lost, as in a dark queue. */
  func(
    'submit',
    section({
      batches: z.int().min(1).max(100).default(1),
      lines: z.int().min(1).max(10_000).default(10),
      home: site,
      held: z.boolean().default(false),
      model: model.optional(),
      endpoint: z.enum(endpoints).optional(),
    }),
  ),
  /** Breaks something, for `ttl`. Only where an injector is at hand: the local clouds, staging. */
  func(
    'fault',
    section({
      target,
      kind: z.string().regex(/^[a-z-]{1,40}$/),
      ttl: span(1_000, day),
      direction: z.enum(['to', 'from', 'both']).optional(),
      share: z.number().positive().max(1).optional(),
      delay: span(0, 600_000).optional(),
      model: model.optional(),
      /** It only sets the scene, as a slow model does: nothing is measured from it on. */
      prepares: z.boolean().default(false),
    }),
  ),
  /** Scope `canaries`: the batches that this drill submitted, and nothing else. */
  func(
    'failover',
    section({
      from: site,
      to: site,
      mode: z.enum(['graceful', 'forced']).default('graceful'),
      scope: z.union([z.enum(['all', 'canaries']), section({ model })]).default('canaries'),
      /** A mistake on purpose: this rule has to refuse it, or the drill is ended. */
      'refused-by': z
        .string()
        .regex(/^[a-z-]{1,60}$/)
        .optional(),
    }),
  ),
  /** Somebody else has just broken it (AWS FIS, Azure Chaos Studio, a person): everything is measured from here. */
  func('struck', section({ site })),
  func('failback', section({ site })),
  func('cordon', section({ site })),
  func('uncordon', section({ site })),
  func('weights', section({ weights: z.record(site, z.int().min(0).max(100)) })),
  /** Takes what a backup made before the drill would lack (the batches of the drill) out of one journal. */
  func('restore-backup', section({ site })),
  /** Says of a store (of a site, or `witness`) that it is another one now: it votes again once it holds every register. */
  func('replace-store', section({ store: site })),
] as const;

const probes = [
  func('sites-healthy', none),
  func('health', section({ site })),
  func('causes', section({ site })),
  func('canary', section({ site })),
  func('state', section({ site })),
  func('witness', none),
  func('frozen', none),
  func('backlog-age', section({ site: site.optional() }).prefault({})),
  func('answered', none),
  func('answered-by', section({ site })),
  func('open', none),
  func('batches-ended', none),
  func('error-share', none),
  func('moves', none),
  func('journals-equal', none),
  func('epoch-raised', none),
  func('votes', section({ store: site })),
] as const;

const range = z
  .tuple([z.number(), z.number()])
  .refine(([least, most]) => least <= most, 'the first must not be above the second');
const tolerance = z.union([
  z.boolean(),
  z.number(),
  z.string().max(200),
  section({ type: z.literal('range'), range }),
  section({ type: z.literal('regex'), pattern: z.string().max(200).refine(isPattern, 'must be a regular expression') }),
]);
export type Tolerance = z.output<typeof tolerance>;

const pauses = section({ before: pause.default(0), after: pause.default(0) }).prefault({});
const action = section({
  type: z.literal('action'),
  name,
  provider: z.discriminatedUnion('func', [...actions]),
  pauses,
});
const probe = section({
  type: z.literal('probe'),
  name,
  provider: z.discriminatedUnion('func', [...probes]),
  /** Absent: the value is noted, and nothing is expected of it. */
  tolerance: tolerance.optional(),
  /** Ours: the probe is asked again until it holds, so long. Default: once. */
  within: span(0, day).default(0),
  pauses,
});

const objectives = section({
  lost: count.default(0),
  'published-twice': count.default(0),
  /** Accepted work that the survivor did not hold when the fault struck, as time. */
  rpo: span(0, day).default(0),
  /** Fault, or command, to the first result of the survivor. */
  rto: span(0, day).optional(),
  detect: span(0, day).optional(),
  decide: span(0, day).optional(),
  fence: span(0, day).optional(),
  redrive: span(0, day).optional(),
  'first-result': span(0, day).optional(),
  'backlog-cleared': span(0, day).optional(),
  /** So long the steady state may not hold in the method, from the first fault or command on. */
  unsteady: span(0, day).optional(),
  'computed-twice': count.optional(),
  'computed-twice-tokens': count.optional(),
});
export type Objectives = z.output<typeof objectives>;

export const weekdays = ['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun'] as const;
export type Weekday = (typeof weekdays)[number];
const clock = z.string().regex(/^([01]\d|2[0-3]):[0-5]\d$/, "must be a time of day in UTC, such as '09:30'");
const date = z
  .string()
  .regex(
    /^\d{4}-\d{2}-\d{2}(\/\d{4}-\d{2}-\d{2})?$/,
    "must be a date or 'FROM/UNTIL', such as '2026-12-20/2027-01-02' (in quotes)",
  );

const window = section({
  days: z
    .array(z.enum(weekdays))
    .min(1)
    .default([...weekdays]),
  from: clock,
  until: clock,
});
export type Window = z.output<typeof window>;

const schedule = z.discriminatedUnion('every', [
  section({ every: z.literal('day'), at: clock }),
  section({ every: z.literal('week'), day: z.enum(weekdays), at: clock }),
  section({ every: z.literal('month'), day: z.int().min(1).max(28), at: clock }),
]);
export type Schedule = z.output<typeof schedule>;

const holdfast = section({
  kind: z.enum(drillKinds),
  /** The site that is taken to fail; who must stay well is every other. */
  site: site.optional(),
  'blast-radius': section({
    scope: z.enum(['canaries', 'model', 'share', 'all']),
    model: model.optional(),
    /** Of new batches, in percent. */
    share: z.int().min(1).max(100).optional(),
  }),
  objectives: objectives.prefault({}),
  /** What ends a drill at once; everything it did is then undone. A real incident and on-call's stop always do. */
  guardrails: section({
    /** Of the oldest open batch of production. */
    'backlog-age': span(1_000, 30 * day).optional(),
    /** Lines of the drill that ended in an error, 0 to 1. */
    'error-share': z.number().min(0).max(1).default(0),
  }).prefault({}),
  /** In UTC; none: at any time. */
  'allowed-windows': z.array(window).default([]),
  'blocked-windows': z.array(window).default([]),
  'blocked-dates': z.array(date).default([]),
  /** None: on any that is not blocked. */
  'allowed-dates': z.array(date).default([]),
  schedule: schedule.optional(),
  /** If the runner is not heard for this long, whoever notices undoes the drill. No fault lives longer. */
  lease: span(5_000, 3_600_000).prefault('2m'),
  /** The drill is ended after this long. */
  limit: span(10_000, day).prefault('30m'),
  /** What the clouds may take to be as before; a site that was fenced returns in steps, a soak each. Longer fails the drill. */
  settle: span(0, day).prefault('1h'),
});

const base = section({
  version: z.string().max(40).optional(),
  title: z.string().min(1).max(120),
  description: z.string().max(4_000).default(''),
  tags: z.array(z.string().max(60)).max(20).default([]),
  'steady-state-hypothesis': section({ title: name, probes: z.array(probe).min(1).max(20) }),
  method: z.array(z.discriminatedUnion('type', [action, probe])).max(100),
  rollbacks: z.array(action).max(20).default([]),
  holdfast,
});

export type Drill = z.output<typeof base>;
/** As a person writes it. */
export type DrillSource = z.input<typeof base>;
export type DrillStep = Drill['method'][number];
export type DrillAction = Extract<DrillStep, { type: 'action' }>;
export type DrillProbe = Extract<DrillStep, { type: 'probe' }>;
export type FaultArguments = Extract<DrillAction['provider'], { func: 'fault' }>['arguments'];

interface Problem {
  path: (string | number)[];
  message: string;
}

/** A drill, with everything that must hold between its parts. */
export const drillSchema = base.superRefine((drill, context) => {
  for (const { path, message } of problemsOf(drill)) context.addIssue({ code: 'custom', path, message });
});

const everyAction = [
  'submit',
  'fault',
  'struck',
  'failover',
  'failback',
  'cordon',
  'uncordon',
  'weights',
  'restore-backup',
  'replace-store',
] as const;
/** Which of them a kind may do: `shadow` leaves production untouched, `switchover` loses and repeats nothing. */
const allowedActions: Record<DrillKind, ReadonlySet<string>> = {
  tabletop: new Set(everyAction),
  shadow: new Set(['submit', 'failover', 'restore-backup']),
  switchover: new Set(['submit', 'failover', 'failback', 'cordon', 'uncordon', 'weights']),
  outage: new Set(everyAction),
};

function problemsOf(drill: Drill): Problem[] {
  const { kind, lease, schedule, site, 'blast-radius': radius } = drill.holdfast;
  const found: Problem[] = [];
  const say = (path: (string | number)[], message: string) => void found.push({ path, message });
  if ((radius.scope === 'model') !== (radius.model !== undefined))
    say(['holdfast', 'blast-radius', 'model'], "goes with scope 'model', and is needed there");
  if ((radius.scope === 'share') !== (radius.share !== undefined))
    say(['holdfast', 'blast-radius', 'share'], "goes with scope 'share', and is needed there");
  if (kind === 'shadow' && radius.scope !== 'canaries')
    say(['holdfast', 'blast-radius', 'scope'], "a shadow drill leaves production untouched: it must be 'canaries'");
  if (kind === 'outage' && schedule !== undefined)
    say(['holdfast', 'schedule'], 'an outage is not scheduled by the clouds it strikes: run it from CI');
  if (kind === 'outage' && site === undefined)
    say(['holdfast', 'site'], 'an outage names the site that fails: any other that does is a real incident');
  if (drill.method.length === 0) say(['method'], 'needs at least 1 step');
  const steps = [
    ...drill.method.map((step, i) => ({ step, path: ['method', i] })),
    ...drill.rollbacks.map((step, i) => ({ step, path: ['rollbacks', i] })),
  ];
  let submitted = false;
  for (const { step, path } of steps) {
    if (step.type === 'probe') continue;
    const { provider } = step;
    if (!allowedActions[kind].has(provider.func))
      say(
        [...path, 'provider', 'func'],
        `a ${kind} drill does none of that; it may ${[...allowedActions[kind]].join(', ')}`,
      );
    if (provider.func === 'submit') submitted = true;
    const breach = beyondRadius(provider, radius);
    if (breach !== undefined) say([...path, 'provider', ...breach.path], breach.message);
    if (provider.func === 'fault' && provider.arguments.ttl > lease)
      say(
        [...path, 'provider', 'arguments', 'ttl'],
        `must not be longer than the lease (${lease / 1000}s): a fault must not outlive its runner`,
      );
    if (provider.func !== 'failover') continue;
    const { from, to, scope, mode } = provider.arguments;
    const at = [...path, 'provider', 'arguments'];
    if (from === to) say([...at, 'to'], 'must be another site than from');
    if (kind === 'shadow' && scope !== 'canaries')
      say([...at, 'scope'], "a shadow drill leaves production untouched: it must be 'canaries'");
    if (kind === 'switchover' && scope === 'all' && mode !== 'graceful')
      say([...at, 'mode'], 'a switchover is planned: it must be graceful');
    if (scope === 'canaries' && !submitted) say([...at, 'scope'], 'there is no submit before it: no batch would move');
  }
  return found;
}

/** What strikes more than the blast radius allows. */
function beyondRadius(
  provider: DrillAction['provider'],
  radius: Drill['holdfast']['blast-radius'],
): Problem | undefined {
  if (radius.scope === 'all') return undefined;
  const wider = (path: string[], what: string): Problem => ({
    path,
    message: `${what}, and the blast radius is '${radius.scope}'`,
  });
  switch (provider.func) {
    case 'cordon':
    case 'failback':
    case 'struck':
      return wider(['func'], 'strikes a whole site');
    case 'replace-store':
      return wider(['func'], 'takes a vote from every decision for a while');
    case 'weights':
      return radius.scope === 'share' ? undefined : wider(['func'], 'strikes a share of all new batches');
    case 'fault': {
      const isOfModel = /\/model$/.test(provider.arguments.target) && provider.arguments.model === radius.model;
      // Each call of a model is of some lines: a share of the calls is a share of the traffic.
      const calls = /\/model$/.test(provider.arguments.target) ? (provider.arguments.share ?? 1) : 1;
      const isOfShare = radius.scope === 'share' && 100 * calls <= (radius.share ?? 0);
      return (radius.scope === 'model' && isOfModel) || isOfShare
        ? undefined
        : wider(['arguments', 'target'], 'strikes everybody');
    }
    case 'failover': {
      const { scope } = provider.arguments;
      if (scope === 'canaries') return undefined;
      if (scope === 'all') return wider(['arguments', 'scope'], 'moves everything');
      return radius.scope === 'model' && scope.model === radius.model
        ? undefined
        : wider(['arguments', 'scope'], `moves ${scope.model}`);
    }
    default:
      return undefined;
  }
}

function isPattern(pattern: string): boolean {
  try {
    return new RegExp(pattern, 'u') !== undefined;
  } catch {
    return false;
  }
}

/** True if a value is what is expected of it; anything is, where nothing is. */
export function isWithin(value: number | string | boolean, wanted: Tolerance | undefined): boolean {
  if (wanted === undefined) return true;
  if (typeof wanted !== 'object') return value === wanted;
  if (wanted.type === 'range') return typeof value === 'number' && value >= wanted.range[0] && value <= wanted.range[1];
  return new RegExp(wanted.pattern, 'u').test(String(value));
}

/** `true`, `0 … 5`, `/site-dark/`. */
export function showTolerance(wanted: Tolerance | undefined): string {
  if (wanted === undefined) return 'anything';
  if (typeof wanted !== 'object') return String(wanted);
  return wanted.type === 'range' ? `${wanted.range[0]} … ${wanted.range[1]}` : `/${wanted.pattern}/`;
}

/** What a drill file becomes in names: `aws-goes-dark`. */
export function slugOf(title: string): string {
  const slug = title
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, '-')
    .replaceAll(/^-+|-+$/g, '');
  return slug.slice(0, 40).replace(/-+$/, '') || 'drill';
}
