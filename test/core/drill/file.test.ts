import { expect, test } from '@jest/globals';
import { parseYaml } from '../../../local/simulator/yaml-file.ts';
import { drillSchema, isWithin, slugOf } from '../../../shared/drill/file.ts';

const head = `title: AWS goes dark
steady-state-hypothesis:
  title: both clouds are well
  probes:
    - {type: probe, name: healthy, tolerance: 2, provider: {type: holdfast, func: sites-healthy}}
`;
const parse = (text: string) => parseYaml(text, 'drill.yaml', drillSchema).value;
const errorOf = (text: string) => {
  try {
    parse(text);
  } catch (error) {
    return (error as Error).message;
  }
  return 'it was taken';
};

test('a file in the shape of a Chaos Toolkit experiment is taken, with every default in place', () => {
  const drill = parse(`${head}method:
  - {type: action, name: work, provider: {type: holdfast, func: submit, arguments: {home: aws}}, pauses: {after: 2}}
rollbacks: []
holdfast:
  kind: shadow
  blast-radius: {scope: canaries}
`);
  expect(drill.method[0]).toMatchObject({
    provider: { arguments: { batches: 1, lines: 10, held: false } },
    pauses: { before: 0, after: 2_000 },
  });
  expect(drill.holdfast).toMatchObject({
    lease: 120_000,
    objectives: { lost: 0, 'published-twice': 0, rpo: 0 },
    guardrails: { 'error-share': 0 },
  });
});

const step = (provider: string) => `${head}method:
  - type: action
    name: step
    provider: {type: holdfast, ${provider}}
holdfast:
  site: aws
`;
test.each([
  [
    'an unknown key, with the one that was meant',
    `${step('func: submit, arguments: {home: aws, linse: 3}')}  kind: shadow\n  blast-radius: {scope: canaries}\n`,
    "drill.yaml:9: method.0.provider.arguments.linse: 3: unknown key 'linse' (did you mean 'lines'?)",
  ],
  [
    'a time to live beyond the lease',
    `${step('func: fault, arguments: {target: aws, kind: refuse, ttl: 10m}')}  kind: outage\n  lease: 1m\n  blast-radius: {scope: all}\n`,
    'drill.yaml:9: method.0.provider.arguments.ttl: "10m": must not be longer than the lease (60s): a fault must not outlive its runner',
  ],
  [
    'a fault in a shadow drill',
    `${step('func: fault, arguments: {target: aws, kind: refuse, ttl: 10s}')}  kind: shadow\n  blast-radius: {scope: canaries}\n`,
    'a shadow drill does none of that; it may submit, failover, restore-backup',
  ],
  [
    'more than the blast radius',
    `${step('func: failover, arguments: {from: aws, to: azure, scope: all}')}  kind: switchover\n  blast-radius: {scope: model, model: m}\n`,
    "moves everything, and the blast radius is 'model'",
  ],
  [
    'a fault that strikes more calls of a model than the share',
    `${step('func: fault, arguments: {target: aws/model, kind: throttle, ttl: 10s, share: 0.2}')}  kind: outage\n  blast-radius: {scope: share, share: 10}\n`,
    "strikes everybody, and the blast radius is 'share'",
  ],
  [
    'a forced switchover',
    `${step('func: failover, arguments: {from: aws, to: azure, scope: all, mode: forced}')}  kind: switchover\n  blast-radius: {scope: all}\n`,
    'a switchover is planned: it must be graceful',
  ],
  [
    'nothing that could move',
    `${step('func: failover, arguments: {from: aws, to: azure}')}  kind: shadow\n  blast-radius: {scope: canaries}\n`,
    'there is no submit before it: no batch would move',
  ],
  [
    'a duration without its unit',
    `${step('func: submit, arguments: {home: aws}')}  kind: shadow\n  limit: '90'\n  blast-radius: {scope: canaries}\n`,
    'drill.yaml:13: holdfast.limit: "90": must be a number with a unit (ms, s, m, h, d), such as \'90s\'',
  ],
  [
    'a scheduled outage',
    `${step('func: submit, arguments: {home: aws}')}  kind: outage\n  schedule: {every: day, at: '04:00'}\n  blast-radius: {scope: all}\n`,
    'an outage is not scheduled by the clouds it strikes: run it from CI',
  ],
])('%s is refused with its line and the rule', (_, text, message) => {
  expect(errorOf(text)).toContain(message);
});

test('a share of the calls of a model is a share of the traffic', () => {
  const method = step('func: fault, arguments: {target: aws/model, kind: throttle, ttl: 10s, share: 0.1}');
  expect(() =>
    parseYaml(`${method}  kind: outage\n  blast-radius: {scope: share, share: 10}\n`, 'drill.yaml', drillSchema),
  ).not.toThrow();
});

test('several mistakes are told at once, in the order of their lines', () => {
  const lines = errorOf(
    `${step('func: submit, arguments: {home: AWS!}')}  kind: shadow\n  lease: soon\n  blast-radius: {scope: everybody}\n`,
  ).split('\n');
  expect(lines).toHaveLength(3);
  expect(lines.map((line) => Number(line.split(':')[1]))).toEqual([9, 13, 14]);
});

test.each([
  [2, 2, true],
  [3, 2, false],
  ['down', 'healthy', false],
  [0.5, { type: 'range', range: [0, 0.5] }, true],
  [0.51, { type: 'range', range: [0, 0.5] }, false],
  ['site-dark store-down', { type: 'regex', pattern: 'store' }, true],
  ['anything', undefined, true],
] as const)('%s within %j: %s', (value, wanted, isOk) => {
  expect(isWithin(value, wanted as never)).toBe(isOk);
});

test('titles become names', () => {
  expect(slugOf('AWS goes dark — all of it!')).toBe('aws-goes-dark-all-of-it');
  expect(slugOf('…')).toBe('drill');
});
