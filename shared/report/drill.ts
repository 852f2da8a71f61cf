import { productionWords } from '../drill/conclude.ts';
import { showDuration } from '../drill/duration.ts';
import type { DrillReport } from '../drill/report.ts';
import type { DurationMs, EpochMs } from '../units.ts';
import { type Band, lineChart, type Row, type Series, timeline } from './chart.ts';
import { type Html, html } from './html.ts';
import { formatOffset } from './offset.ts';
import { style } from './style.ts';

/** The report of a drill as one page that needs nothing besides itself: no script, no network. */
export function drillHtml(report: DrillReport, sha256: string): string {
  const { verdict, title, drillKind, actor, reason, startedAt, endedAt } = report;
  const untilMs = Math.max(1_000, endedAt - startedAt);
  const bands = bandsOf(report, untilMs);
  return page(
    `${title}: ${verdict.outcome}`,
    html`<header>
<p class="verdict ${verdict.outcome}">${verdict.outcome}</p>
<h1>${title}</h1>
<p class="dim">${kindWords[drillKind]}, run by ${actor} on ${moment(startedAt)}, ${showDuration(untilMs)} long: ${reason}</p>
${report.description === '' ? '' : html`<p>${report.description}</p>`}
${verdict.reasons.length === 0 ? '' : html`<ul>${verdict.reasons.map((sentence) => html`<li>${sentence}</li>`)}</ul>`}
</header>
${tiles(report)}
<h2>Objectives</h2>
${objectives(report)}
<h2>Timeline</h2>
${timeline('Faults, verdicts and who might act', rowsOf(report, untilMs), untilMs, bands)}
<h2>Backlog and throughput</h2>
${lineChart('Lines open', 'of the drill, and of production by cloud', backlog(report), { untilMs, bands })}
${lineChart('Lines of the drill answered', 'in all, by cloud', answered(report), { untilMs, bands, height: 200 })}
<h2>Steady state and probes</h2>
${table(
  ['when', 'probe', 'value', 'wanted', ''],
  report.checks.map(({ when, name, value, wanted, isOk }) => [
    when,
    name,
    String(value),
    wanted,
    isOk ? 'holds' : 'does not',
  ]),
)}
<h2>What happened</h2>
${table(
  ['', 'what', ''],
  report.entries
    .slice(0, entriesMax)
    .map(({ at, kind, text }) => [formatOffset(Math.max(0, at - startedAt)), kind, text]),
)}
${report.entries.length > entriesMax ? html`<p class="dim">and ${report.entries.length - entriesMax} more</p>` : ''}
<h2>Control log</h2>
${table(
  ['epoch', 'when', 'who', 'changes', 'why'],
  report.control.entries.map((entry) => [
    String(entry.epoch),
    formatOffset(Math.max(0, entry.at - startedAt)),
    entry.actor,
    entry.changes.join(', '),
    entry.reason,
  ]),
)}
<h2>Evidence</h2>
<p>Everything stands under these keys in the journals of both clouds:</p>
<ul>${report.evidence.map((key) => html`<li><code>${key}</code></li>`)}</ul>
<p>Hashes (SHA-256). Whoever changed this report, its turn or the control log would have to change all that follows:</p>
${table(
  ['', 'SHA-256'],
  [
    ['this report', sha256],
    ['the report before it', report.previous ?? 'none'],
    [`turn ${report.turn}`, report.turnSha256],
    [`control entry ${report.control.first.epoch}, before`, report.control.first.sha256],
    [`control entry ${report.control.last.epoch}, after`, report.control.last.sha256],
  ],
)}
<footer>Drill <code>${report.drill}</code>. Made by <code>holdfast drill report</code>; the same report gives the same page.</footer>`,
  );
}

/** What the drills of the past came to, as one page: RTO and RPO over time, and a row for each. */
export function historyHtml(reports: readonly DrillReport[]): string {
  const first = reports[0]?.startedAt ?? 0;
  const untilMs = Math.max(60_000, (reports.at(-1)?.startedAt ?? 0) - first);
  const series = (name: string, tone: string, value: (report: DrillReport) => DurationMs | null): Series => ({
    name,
    tone,
    points: reports.flatMap((report) => {
      const ms = value(report);
      return ms === null ? [] : [{ atMs: report.startedAt - first, value: ms / 1_000 }];
    }),
  });
  return page(
    'Drills',
    html`<header><h1>Drills</h1><p class="dim">${reports.length} drills, from ${moment(first)} on.</p></header>
${lineChart('RTO and RPO', 'seconds, by drill', [series('RTO', 'holdfast', ({ verdict }) => verdict.recovery.firstResult), series('RPO', 'apart', ({ verdict }) => verdict.rpoMs)], { untilMs, bands: [] })}
${table(
  ['when', 'drill', 'kind', 'verdict', 'RTO', 'RPO', 'lost', 'computed twice'],
  reports
    .toReversed()
    .map(({ startedAt, drill, drillKind, verdict }) => [
      moment(startedAt),
      drill,
      drillKind,
      verdict.outcome,
      shown(verdict.recovery.firstResult),
      showDuration(verdict.rpoMs),
      String(verdict.lost.length),
      String(verdict.computedTwice.lines),
    ]),
)}
<footer>Made by <code>holdfast drill history</code>.</footer>`,
  );
}

const entriesMax = 300;
const kindWords: Record<DrillReport['drillKind'], string> = {
  tabletop: 'Tabletop drill (planned, no effect)',
  shadow: 'Shadow drill (batches of its own, production untouched)',
  switchover: 'Switchover (planned, real traffic)',
  outage: 'Outage (faults injected)',
};

function page(title: string, body: Html): string {
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>${title}</title>
<style>${styleSheet()}</style>
</head>
<body>
${body}
</body>
</html>
`.value;
}

/** Literals of ours; nothing of a report is in them. */
const styleSheet = (): Html => html([style + own] as unknown as TemplateStringsArray);
const own = `
.verdict { border-radius: 6px; color: #fff; display: inline-block; font-weight: 600; margin: 0 0 0.6rem; padding: 0.15rem 0.7rem; }
.verdict.passed { background: var(--good); } .verdict.failed { background: var(--bad); } .verdict.aborted { background: var(--warn); }
td, thead th { overflow-wrap: break-word; text-align: left; } .met { color: var(--good); } .missed { color: var(--bad); font-weight: 600; }
code { font-size: 0.86rem; overflow-wrap: anywhere; }
@media (max-width: 700px) { figure { overflow-x: auto; } figure svg { min-width: 640px; } }
`;

function tiles({ verdict }: DrillReport): Html {
  const { recovery, lost, publishedTwice, computedTwice, rpoMs } = verdict;
  const tile = (value: string, what: string) => html`<div class="tile"><b>${value}</b><span>${what}</span></div>`;
  const parts = [
    ['detect', recovery.detect],
    ['decide', recovery.decide],
    ['fence', recovery.fence],
    ['redrive', recovery.redrive],
    ['first result', recovery.firstResult],
    ['backlog cleared', recovery.backlogCleared],
  ] as const;
  return html`<div class="tiles">
${tile(shown(recovery.firstResult), 'RTO: from the fault or command to the first result elsewhere')}
${tile(showDuration(rpoMs), 'RPO: accepted work that the survivor did not hold')}
${tile(`${lost.length} / ${publishedTwice.length}`, `lost / published twice, of ${verdict.accepted} lines`)}
${tile(String(computedTwice.lines), `lines computed twice, ${computedTwice.tokens} tokens`)}
</div>
${verdict.production === null ? '' : html`<p>Production: ${productionWords(verdict.production)}.</p>`}
<p>${parts.map(([name, ms], i) => html`${i === 0 ? '' : ' → '}${name} <b>${shown(ms)}</b>`)} <span class="dim">after the fault</span></p>`;
}

const shown = (ms: DurationMs | null) => (ms === null ? 'not seen' : showDuration(ms));
const moment = (at: EpochMs) => `${new Date(at).toISOString().slice(0, 16).replace('T', ' ')} UTC`;

function objectives({ verdict }: DrillReport): Html {
  if (verdict.objectives.length === 0) return html`<p class="dim">None beside the checks below.</p>`;
  return html`<div class="scroll"><table><thead><tr><th>objective</th><th>wanted</th><th>measured</th><th></th></tr></thead><tbody>
${verdict.objectives.map(
  ({ name, wanted, measured, isMet, evidence }) =>
    html`<tr><td>${name}</td><td>${wanted}</td><td>${measured}</td><td class="${isMet ? 'met' : 'missed'}">${isMet ? 'met' : `missed ${evidence.slice(0, 3).join(', ')}`}</td></tr>`,
)}
</tbody></table></div>`;
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): Html {
  if (rows.length === 0) return html`<p class="dim">None.</p>`;
  return html`<div class="scroll"><table><thead><tr>${head.map((cell) => html`<th>${cell}</th>`)}</tr></thead><tbody>
${rows.map((row) => html`<tr>${row.map((cell) => html`<td>${cell}</td>`)}</tr>`)}
</tbody></table></div>`;
}

/** From the fault until all was as before. */
function bandsOf({ faultAt, restoredAt, startedAt }: DrillReport, untilMs: DurationMs): Band[] {
  if (faultAt === null) return [];
  return [
    {
      fromMs: faultAt - startedAt,
      untilMs: Math.min(untilMs, (restoredAt ?? startedAt + untilMs) - startedAt),
      name: 'struck',
    },
  ];
}

const healthTones: Record<string, string> = { healthy: 'good', degraded: 'warn', down: 'bad' };
const stateTones: Record<string, string> = { active: 'good', fenced: 'bad' };

/** A row for the phases, one for what was done, and for each site what was held of it and what it might do. */
function rowsOf({ samples, entries, startedAt }: DrillReport, untilMs: DurationMs): Row[] {
  const from = (at: EpochMs) => Math.max(0, at - startedAt);
  const phases = entries.filter(({ kind }) => kind === 'phase');
  const spansOf = (items: readonly { at: EpochMs; name: string; tone: string }[]) =>
    items.map(({ at, name, tone }, i) => ({
      fromMs: from(at),
      untilMs: items[i + 1] === undefined ? untilMs : from(items[i + 1]!.at),
      name,
      tone,
    }));
  const changes = (site: string, what: 'health' | 'state') =>
    samples
      .flatMap((sample) => {
        const one = sample.sites[site];
        if (one === undefined) return [];
        const name = what === 'health' ? one.health : `${one.state} ${one.weight} (epoch ${sample.epoch})`;
        const tone = what === 'health' ? (healthTones[one.health] ?? 'quiet') : (stateTones[one.state] ?? 'warn');
        return [{ at: sample.at, name, tone }];
      })
      .filter((one, i, all) => all[i - 1]?.name !== one.name);
  const sites = Object.keys(samples[0]?.sites ?? {}).sort();
  const done = entries.filter(({ kind }) => kind === 'action' || kind === 'undo');
  return [
    { name: 'phase', spans: spansOf(phases.map(({ at, text }) => ({ at, name: text.split(':')[0]!, tone: 'quiet' }))) },
    {
      name: 'done',
      spans: done.map(({ at, text, kind }) => ({
        fromMs: from(at),
        untilMs: from(at) + untilMs / 150,
        name: text,
        tone: kind === 'undo' ? 'good' : 'bad',
      })),
    },
    ...sites.map((site) => ({ name: `verdict ${site}`, spans: spansOf(changes(site, 'health')) })),
    ...sites.map((site) => ({ name: `control ${site}`, spans: spansOf(changes(site, 'state')) })),
  ];
}

function backlog({ samples, startedAt }: DrillReport): Series[] {
  const sites = Object.keys(samples[0]?.sites ?? {}).sort();
  return [
    { name: 'drill', tone: 'holdfast', points: samples.map(({ at, open }) => ({ atMs: at - startedAt, value: open })) },
    ...sites.map((site) => ({
      name: `production, ${site}`,
      tone: site,
      points: samples.map(({ at, sites }) => ({ atMs: at - startedAt, value: sites[site]?.openLines ?? 0 })),
    })),
  ];
}

function answered({ samples, startedAt }: DrillReport): Series[] {
  const sites = Object.keys(samples[0]?.sites ?? {}).sort();
  return sites.map((site) => ({
    name: site,
    tone: site,
    points: samples.map(({ at, answered }) => ({ atMs: at - startedAt, value: answered[site] ?? 0 })),
  }));
}
