import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from '@jest/globals';
import { exitCodes } from '../../../cli/exit.ts';
import { run } from '../../../cli/program.ts';
import { comparison, costs, reportHtml } from '../../../local/simulator/report/index.ts';
import { awsDark, plan, traceText } from './support.ts';

describe('the report of a plan', () => {
  const evil = '"><script>alert(1)</script><img src=x onerror=alert(2)>&amp;\u202e';
  const page = reportHtml(plan(awsDark));

  test('is one page without script or network that names what it shows', () => {
    expect(page).toMatch(/^<!doctype html>/);
    expect(page).not.toMatch(/<script|<link|<iframe|<img|\bon\w+=|javascript:|@import|url\(|https?:\/\//i);
    expect(page).toContain("default-src 'none'");
    expect(page).toContain('prefers-color-scheme: dark');
    expect(page.match(/<svg /g)).toHaveLength(4);
    for (const words of [
      'Lines waiting, three worlds',
      'Throughput under Holdfast',
      'verdict aws',
      'control aws',
      'epoch 2',
    ])
      expect(page).toContain(words);
    expect(page).not.toMatch(/NaN|undefined|Infinity|\[object/);
  });

  test('every tag that is opened is closed, in order', () => {
    const open: string[] = [];
    const inner = page.replace(/<style>[\s\S]*?<\/style>/, '').replace('<!doctype html>', '');
    for (const [, close, name, rest] of inner.matchAll(/<(\/?)([a-z0-9]+)([^<>]*)>/g)) {
      if (['meta', 'rect', 'line', 'path'].includes(name!) || rest!.endsWith('/')) continue;
      if (close === '') open.push(name!);
      else expect(open.pop()).toBe(name);
    }
    expect(open).toEqual([]);
  });

  test('nothing of the files is trusted: markup in names, reasons and targets is text', () => {
    const hurt = plan(awsDark);
    hurt.scenario = {
      ...hurt.scenario,
      id: evil,
      effects: hurt.scenario.effects.map((effect) => ({ ...effect, target: evil })),
    };
    hurt.unmodelled = [evil];
    hurt.worlds.holdfast.entries[1]!.reason = evil;
    hurt.worlds.holdfast.notes.push({ atMs: 0, sentence: evil });
    const shown = reportHtml(hurt);
    expect(shown).not.toMatch(/<script|<img/i);
    expect(shown).not.toContain('\u202e');
    expect(shown).toContain('&quot;&gt;&lt;script&gt;alert(1)&lt;/script&gt;');
  });

  test('the numbers of its tables are those of the plan', () => {
    const one = plan(awsDark);
    const rto = comparison(one).find(([what]) => what!.includes('RTO'))!;
    expect(rto[1]).toBe('–');
    expect(rto[2]).toMatch(/^\d+ (s|min)/);
    expect(costs(one).at(-2)![0]).toBe('all');
  });
});

describe('holdfast simulate --plan', () => {
  const folder = mkdtempSync(join(tmpdir(), 'plan-'));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  const file = (name: string, content: string) => {
    writeFileSync(join(folder, name), content);
    return join(folder, name);
  };
  const outage = file(
    'outage.yaml',
    '- id: dark\n  cloud: aws\n  events: [{at: "0:00", until: "0:30", set: {aws: freeze}}]\n',
  );
  const jobs = file('jobs.csv', traceText(60, 40));

  async function cli(...argv: string[]) {
    const said = { out: '', err: '' };
    const stdout = { write: (chunk: string) => (said.out += chunk) };
    const stderr = { write: (chunk: string) => (said.err += chunk) };
    const code = await run(['simulate', ...argv], { stdout, stderr, env: {}, signal: new AbortController().signal });
    return { code, ...said };
  }

  test('prints the answer and the tables, and writes the page', async () => {
    const out = join(folder, 'report.html');
    const { code, out: said } = await cli('--plan', outage, '--trace', jobs, '--out', out);
    expect(code).toBe(exitCodes.ok);
    expect(said).toContain('fault to failover');
    expect(said).toContain('outage, no failover');
    expect(said).toContain(`report: ${out}`);
    expect(readFileSync(out, 'utf8')).toContain('What would dark cost us?');
  });

  test('--json prints one line with the three worlds', async () => {
    const { code, out } = await cli('--plan', outage, '--trace', jobs, '--json');
    expect(code).toBe(exitCodes.ok);
    expect(out.trim().split('\n')).toHaveLength(1);
    const { worlds, scenario } = JSON.parse(out);
    expect(scenario).toBe('dark');
    expect(Object.keys(worlds)).toEqual(['no-outage', 'holdfast', 'apart']);
    expect(worlds.holdfast).toMatchObject({ lines: 2_400, answered: 2_400, missed: 0 });
  });

  test.each<[string, string[], string]>([
    ['no trace', ['--plan', outage], '--plan needs --trace FILE'],
    ['a file that is not there', ['--plan', join(folder, 'no.yaml'), '--trace', jobs], 'cannot be read (ENOENT)'],
    ['flags without a plan', ['--limits', 'x'], '--limits belongs to --plan'],
    [
      'an outage that is not in it',
      ['--plan', outage, '--outage', 'x', '--trace', jobs],
      "holds no 'x'; it holds dark",
    ],
    ['a trace that is none', ['--plan', outage, '--trace', outage], 'outage.yaml:1: TIMESTAMP'],
  ])('%s: says so, and exits with 2', async (_what, argv, words) => {
    const { code, err } = await cli(...argv);
    expect(code).toBe(exitCodes.usage);
    expect(err).toContain(words);
  });
});
