import { existsSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { parseScenarios } from '../../../local/simulator/scenario/index.ts';
import type { EffectMode } from '../../../local/simulator/scenario/types.ts';
import { InputFileError } from '../../../local/simulator/yaml-file.ts';

const oneEvent = (event: string) => `- id: one\n  cloud: aws\n  events:\n    - ${event}\n`;
const withMode = (mode: string, target = 'aws.store') => oneEvent(`{at: "0:00", set: {${target}: "${mode}"}}`);
const parse = (source: string) => parseScenarios(source, 'my.yaml');

function modesOf(mode: string, target?: string): EffectMode[] {
  return parse(withMode(mode, target)).scenarios[0]!.effects.map((effect) => effect.mode);
}

function refusal(source: string): string {
  try {
    parse(source);
  } catch (error) {
    expect(error).toBeInstanceOf(InputFileError);
    return (error as Error).message;
  }
  throw new Error('it was taken');
}

describe('a scenario file', () => {
  const path = resolve(import.meta.dirname, '..', '..', '..', '..', 'shared', 'scenarios.yaml');
  const isThere = existsSync(path);
  // The project ships no shared folder.
  (isThere ? test : test.skip)(
    `../shared/scenarios.yaml${isThere ? '' : ' (is not there: skipped)'}: every scenario of it is taken, and every component known`,
    () => {
      const { scenarios, notices } = parseScenarios(readFileSync(path, 'utf8'), 'scenarios.yaml');
      expect(scenarios.length).toBeGreaterThanOrEqual(15);
      expect(notices).toEqual([]);
      for (const { id, effects } of scenarios)
        expect({ id, effects: effects.length > 0 }).toEqual({ id, effects: true });
    },
  );

  test('gives times beyond a day, open ends, several targets of an event, and expectations as data', () => {
    const { scenarios } = parse(`
- id: long.one
  evidence: {offsets: R}
  cloud: azure
  events:
    - {at: "0:30", until: "72:00:05", set: {azure.control: freeze, azure.api: "partial(pop,0.5)"}, note: "text"}
    - {at: "24:00", set: {azure.store: gone}}
  expect: {must: [I4, "prose, too"], must_not: ["redrive twice"], note: "why"}
`);
    expect(scenarios).toEqual([
      {
        id: 'long.one',
        cloud: 'azure',
        effects: [
          { target: 'azure.control', mode: { kind: 'freeze' }, fromMs: 1_800_000, untilMs: 259_205_000 },
          {
            target: 'azure.api',
            mode: { kind: 'partial', cohort: 'pop', rate: 0.5 },
            fromMs: 1_800_000,
            untilMs: 259_205_000,
          },
          { target: 'azure.store', mode: { kind: 'gone' }, fromMs: 86_400_000, untilMs: undefined },
        ],
        expect: { must: ['I4', 'prose, too'], mustNot: ['redrive twice'] },
        extra: {},
      },
    ]);
  });

  test.each<[string, EffectMode[]]>([
    ['ok', [{ kind: 'ok' }]],
    ['error(dns-nxdomain-or-empty,1.0)', [{ kind: 'error', code: 'dns-nxdomain-or-empty', rate: 1 }]],
    ['error( 5xx , .5 )', [{ kind: 'error', code: '5xx', rate: 0.5 }]],
    ['timeout(30s,0.1)', [{ kind: 'timeout', afterMs: 30_000, rate: 0.1 }]],
    ['timeout(10s)', [{ kind: 'timeout', afterMs: 10_000, rate: 1 }]],
    ['slow(20m,3h)', [{ kind: 'slow', p50Ms: 1_200_000, p99Ms: 10_800_000 }]],
    ['throttle(0.3)', [{ kind: 'throttle', share: 0.3 }]],
    ['drop_reply(0.05)', [{ kind: 'drop_reply', rate: 0.05 }]],
    ['stale(30m)', [{ kind: 'stale', ageMs: 1_800_000 }]],
    ['stale(inf)', [{ kind: 'stale', ageMs: Number.POSITIVE_INFINITY }]],
    ['new_conns_only', [{ kind: 'new_conns_only' }]],
    ['cold_only', [{ kind: 'cold_only' }]],
    ['partial(some-accounts,0.2)', [{ kind: 'partial', cohort: 'some-accounts', rate: 0.2 }]],
    ['freeze', [{ kind: 'freeze' }]],
    ['gone', [{ kind: 'gone' }]],
    [
      'error(400,0.4) & error(429,0.3)',
      [
        { kind: 'error', code: '400', rate: 0.4 },
        { kind: 'error', code: '429', rate: 0.3 },
      ],
    ],
    ['freeze&slow(500ms,1.5s)', [{ kind: 'freeze' }, { kind: 'slow', p50Ms: 500, p99Ms: 1_500 }]],
  ])('the mode %s is understood', (text, modes) => {
    expect(modesOf(text)).toEqual(modes);
  });

  test.each<[string, EffectMode[]]>([
    ['failover(from=aws,to=azure)', [{ kind: 'command', command: 'failover', args: { from: 'aws', to: 'azure' } }]],
    [
      'failover(to=aws, from=azure, mode=graceful)',
      [{ kind: 'command', command: 'failover', args: { from: 'azure', to: 'aws', mode: 'graceful' } }],
    ],
    ['failback(site=aws)', [{ kind: 'command', command: 'failback', args: { site: 'aws' } }]],
  ])('the command %s of an operator is understood', (text, modes) => {
    expect(modesOf(text, 'operator.1')).toEqual(modes);
  });

  test('components that nobody knows are kept and reported with their line; what else is not of the form is kept', () => {
    const { scenarios, notices } = parse(`
- id: odd
  cloud: mars
  seeds: [1, 2]
  settings: {tickMs: 60000}
  events:
    - {at: "0:00", set: {aws.toaster: freeze, gcp.store: gone, aws.store.delete: gone, link.aws: freeze, aws: gone}, by: me}
`);
    const [odd] = scenarios;
    expect(odd!.effects.map(({ target }) => target)).toEqual([
      'aws.toaster',
      'gcp.store',
      'aws.store.delete',
      'link.aws',
      'aws',
    ]);
    expect(odd!.extra).toEqual({ seeds: [1, 2], settings: { tickMs: 60_000 } });
    expect(odd!.cloud).toBe('mars');
    expect(notices.map(({ line, sentence }) => `${line} ${sentence.split(' ')[0]}`)).toEqual([
      '7 aws.toaster',
      '7 gcp.store',
      '7 aws.store.delete',
      '7 link.aws',
      "7 'by'",
    ]);
  });
});

describe('a bad scenario file is refused with file, line, id, key, value and rule', () => {
  test.each<[string, string, RegExp]>([
    ['a share above one', 'throttle(1.5)', /'1\.5' must be a share from 0 to 1/],
    ['a share that is none', 'error(5xx,half)', /'half' must be a share from 0 to 1/],
    ['a negative share', 'drop_reply(-0.1)', /must be a share from 0 to 1/],
    ['a share in powers of ten', 'drop_reply(1e-1)', /must be a share from 0 to 1/],
    ['too few arguments', 'error(5xx)', /must be written error\(code,rate\)/],
    ['too many arguments', 'timeout(1s,0.1,0.2)', /must be written timeout\(after\[,rate\]\)/],
    ['an argument where there is none', 'freeze(1)', /must be written freeze/],
    ['an empty argument', 'slow(,1s)', /must be written slow\(p50,p99\)/],
    ['a duration without a unit', 'stale(30)', /'30' must be a number with a unit/],
    ['a duration of ages', 'timeout(999999d)', /at most a year/],
    ['p99 below p50', 'slow(3s,1s)', /p99 \(1s\) must not be less than p50 \(3s\)/],
    ['an unknown mode', 'explode(1.0)', /'explode' is no mode; there is: ok \|/],
    ['a mode from the prototype', 'constructor', /'constructor' is no mode/],
    ['nothing', '', /'' is no mode/],
    ['half an and', 'freeze & ', /'' is no mode/],
    ['brackets in brackets', 'error(5xx,(1))', /is no mode/],
    ['a command to a thing', 'failback(site=aws)', /only an operator gives one/],
    ['infinity for a time-out', 'timeout(inf)', /'inf' must be a number with a unit/],
  ])('%s', (_what, mode, rule) => {
    const message = refusal(withMode(mode));
    expect(message).toMatch(rule);
    expect(message).toContain(`my.yaml:4: one.events.0.set.aws.store: ${JSON.stringify(mode)}: `);
  });

  test.each<[string, string]>([
    ['freeze', 'an operator takes a command'],
    ['failover(from=aws)', 'must be written failover(from=,to=)'],
    ['failover(from=aws,to=azure,to=aws)', 'must be written failover'],
    ['failback(aws)', 'must be written failback(site=)'],
    ['failback(site=../x)', 'must be written failback(site=)'],
  ])('an operator who does %s', (mode, rule) => {
    expect(refusal(withMode(mode, 'operator.1'))).toContain(rule);
  });

  test.each<[string, string, string]>([
    ['minutes beyond 59', '{at: "0:75", set: {aws.store: gone}}', `one.events.0.at: "0:75": must be 'h:mm'`],
    ['a number for a time', '{at: 90, set: {aws.store: gone}}', 'one.events.0.at: 90: must be text'],
    ['an end before its start', '{at: "1:00", until: "0:59", set: {aws.store: gone}}', 'must be later than at'],
    ['a mistyped until', '{at: "0:00", untill: "1:00", set: {aws.store: gone}}', "did you mean 'until'?"],
    ['no set', '{at: "0:00"}', 'one.events.0.set: must be a map'],
    ['an empty set', '{at: "0:00", set: {}}', 'must name at least one component'],
    ['a component with odd characters', '{at: "0:00", set: {"../store": gone}}', "must be '<site>.<service>"],
    ['a list of modes', '{at: "0:00", set: {aws.store: [gone]}}', 'set.aws.store: a list: must be text'],
  ])('%s', (_what, event, words) => {
    const message = refusal(oneEvent(event));
    expect(message).toContain('my.yaml:4: one.events.0');
    expect(message).toContain(words);
  });

  test.each<[string, string, string]>([
    ['an empty file', '', 'my.yaml:1: null: must be a list'],
    ['a map', 'id: x', 'my.yaml:1: a map: must be a list'],
    ['text', 'hello', 'must be a list'],
    ['no YAML', '- [', 'is not YAML'],
    ['deep nesting', '['.repeat(20_000), 'is not YAML'],
    [
      'a mistyped key of a scenario',
      `${withMode('gone')}  expct: {}\n`,
      'my.yaml:5: one.expct: a map: is no key of this form',
    ],
    [
      'an id with blanks',
      withMode('gone').replace('id: one', 'id: o ne'),
      'my.yaml:1: o ne.id: "o ne": must be 1 to 100',
    ],
    ['an id twice', withMode('gone') + withMode('gone'), 'my.yaml:5: one.id: "one": is the id of an earlier scenario'],
    ['a key twice', oneEvent('{at: "0:00", set: {aws.store: gone, aws.store: ok}}'), 'Map keys must be unique'],
    ['no events', '- {id: one, events: []}', 'one.events: a list: needs at least 1'],
  ])('%s', (_what, source, words) => {
    expect(refusal(source)).toContain(words);
  });

  test('aliases that grow without bound', () => {
    const levels = Array.from({ length: 30 }, (_, i) => `- &a${i + 1} [${Array(9).fill(`*a${i}`).join(', ')}]`);
    expect(refusal(`- &a0 [x]\n${levels.join('\n')}\n`)).toMatch(/is not YAML that can be read: Excessive alias count/);
  });

  test('more than two megabytes', () => {
    expect(refusal(`# ${'x'.repeat(2 * 1024 * 1024)}`)).toContain('is larger than 2097152 bytes');
  });

  test('tells all problems of a file at once, by line', () => {
    const message = refusal(withMode('gone').replace('"0:00"', '"x"').replace('gone', 'boom'));
    expect(message.split('\n')).toHaveLength(2);
  });

  test('what looks like members of all objects changes none of them', () => {
    const { scenarios } = parse(`${withMode('gone')}  __proto__: {polluted: true}\n`);
    expect(scenarios[0]!.effects).toHaveLength(1);
    expect(({} as { polluted?: boolean }).polluted).toBeUndefined();
  });
});
