import * as z from 'zod';
import { nearMiss, parseYaml } from '../yaml-file.ts';
import { targetPattern, targetRule, whyUnknown } from './component.ts';
import { parseModes } from './mode.ts';
import { offsetRule, parseOffset } from './time.ts';
import type { EffectMode, Notice, Scenario, ScenarioEffect } from './types.ts';

export { formatOffset, parseDuration, parseOffset } from './time.ts';
export type * from './types.ts';

/** Name of the form that is read here. */
export const scenarioForm = 'dr-scenario/1';

const effectsMax = 10_000;
const eventKeys = ['at', 'until', 'set', 'note'] as const;
const scenarioKeys = ['id', 'cloud', 'evidence', 'events', 'expect', 'note'] as const;
const expectKeys = ['must', 'must_not', 'note'] as const;

const offset = z.string().transform((text, context) => {
  const ms = parseOffset(text);
  if (ms === undefined) context.addIssue({ code: 'custom', message: offsetRule });
  return ms ?? 0;
});

const setting = z
  .record(z.string().regex(targetPattern, targetRule), z.string())
  .refine((set) => Object.keys(set).length > 0, 'must name at least one component')
  .transform((set, context) =>
    Object.entries(set).flatMap(([target, text]): { target: string; mode: EffectMode }[] => {
      const modes = parseModes(text, target.split('.')[0] === 'operator');
      if (typeof modes !== 'string') return modes.map((mode) => ({ target, mode }));
      context.addIssue({ code: 'custom', message: modes, path: [target] });
      return [];
    }),
  );

const event = known(eventKeys, {
  at: offset,
  until: offset.optional(),
  set: setting,
  note: z.unknown().optional(),
}).refine(({ at, until }) => until === undefined || until > at, { path: ['until'], message: 'must be later than at' });

const sentences = z.array(z.string()).default([]);

const scenario = known(scenarioKeys, {
  id: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$/, "must be 1 to 100 of letters, digits, '.', '_' and '-'"),
  cloud: z.string().default('both'),
  evidence: z.unknown().optional(),
  events: z.array(event).min(1).max(effectsMax),
  expect: known(expectKeys, { must: sentences, must_not: sentences, note: z.unknown().optional() }).prefault({}),
  note: z.unknown().optional(),
});

const file = z
  .array(scenario)
  .min(1)
  .superRefine((scenarios, context) => {
    const seen = new Set<string>();
    for (const [i, { id }] of scenarios.entries()) {
      if (seen.has(id))
        context.addIssue({ code: 'custom', path: [i, 'id'], message: 'is the id of an earlier scenario' });
      seen.add(id);
    }
  });

/** What a file holds, and what in it was kept without being understood: to be shown to whoever wrote it. */
export interface ScenarioFile {
  scenarios: Scenario[];
  notices: Notice[];
}

/**
 * Reads scenarios of the form `dr-scenario/1`: a YAML list, each with events of component × mode × time.
 * Keys that nobody knows are kept in `extra`, unless they look like slips of the pen: a mistyped `until` would make an
 * outage endless.
 * @param name how errors call the file
 * @throws InputFileError naming file, line, id, key, value and rule
 */
export function parseScenarios(source: string, name: string): ScenarioFile {
  const { value, lineOf } = parseYaml(source, name, file);
  const notices: Notice[] = [];
  const note = (scenarioId: string, path: readonly PropertyKey[], sentence: string) =>
    notices.push({ line: lineOf(path), scenario: scenarioId, sentence });
  const scenarios = value.map((one, i): Scenario => {
    const { id, cloud, events, expect } = one;
    for (const [j, { set }] of events.entries())
      for (const target of new Set(set.map((each) => each.target))) {
        const why = whyUnknown(target);
        if (why !== undefined)
          note(id, [i, 'events', j, 'set', target], `${target} is kept, but nothing here knows it: ${why}`);
      }
    for (const [j, each] of events.entries())
      for (const key of extraKeys(each, eventKeys)) note(id, [i, 'events', j, key], `'${key}' is no key of an event`);
    const extra = Object.fromEntries(extraKeys(one, scenarioKeys).map((key) => [key, (one as never)[key]]));
    return {
      id,
      cloud,
      effects: events.flatMap(effectsOf),
      expect: { must: expect.must, mustNot: expect.must_not },
      extra,
    };
  });
  return { scenarios, notices };
}

function effectsOf({ at, until, set }: z.output<typeof event>): ScenarioEffect[] {
  return set.map(({ target, mode }) => ({ target, mode, fromMs: at, untilMs: until }));
}

const extraKeys = (value: object, keys: readonly string[]) => Object.keys(value).filter((key) => !keys.includes(key));

/** An object that keeps what it does not know, and refuses what is nearly a key of it. */
function known<S extends z.ZodRawShape>(keys: readonly string[], shape: S) {
  return z.looseObject(shape).superRefine((value, context) => {
    for (const key of extraKeys(value, keys)) {
      const hint = nearMiss(key, keys);
      if (hint !== undefined)
        context.addIssue({ code: 'custom', path: [key], message: `is no key of this form${hint}` });
    }
  });
}
