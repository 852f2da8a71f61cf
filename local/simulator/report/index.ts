import { pricesAsOf } from '../../../shared/cost/prices.ts';
import { type Band, lineChart, type Row, type Series, timeline } from '../../../shared/report/chart.ts';
import { type Html, html } from '../../../shared/report/html.ts';
import { style } from '../../../shared/report/style.ts';
import type { DurationMs } from '../../../shared/units.ts';
import { clouds, findings, type Plan, type RunResult, variantNames, variants } from '../plan/index.ts';
import { formatOffset } from '../scenario/index.ts';
import { comparison, costs, duration, money } from './tables.ts';

export { comparison, costs } from './tables.ts';

/** A plan as one page that needs nothing besides itself: no script, no network. */
export function reportHtml(plan: Plan): string {
  const { scenario, worlds, outageAtMs, outageMs, traceMs, limits } = plan;
  const untilMs = shownUntil(plan);
  const outage: Band = { fromMs: outageAtMs, untilMs: outageAtMs + (outageMs ?? untilMs), name: 'outage' };
  const [answer, ...more] = findings(plan);
  const page = html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>${scenario.id}: what this outage would cost</title>
<style>${styleSheet()}</style>
</head>
<body>
<header>
<h1>What would ${scenario.id} cost us?</h1>
<p class="dim">${plan.lines.toLocaleString('en-US')} requests in ${plan.batches} batches over ${duration(traceMs)}; the outage begins ${formatOffset(outageAtMs)} into the trace and ${outageMs === undefined ? 'does not end' : `lasts ${duration(outageMs)}`}. Judged by profile ${limits.health}, failover ${limits.failover}.</p>
<p>${answer}</p>
</header>
${tiles(plan)}
<h2>Backlog</h2>
${lineChart('Lines waiting, three worlds', 'accepted and unanswered, and at the door', totals(plan), { untilMs, bands: [outage] })}
${lineChart('Lines waiting under Holdfast', 'by the cloud that has to work them', byCloud(worlds.holdfast), { untilMs, bands: [outage] })}
<h2>Throughput under Holdfast</h2>
${lineChart('Lines computed', 'a minute', throughput(worlds.holdfast), { untilMs, bands: [outage], height: 200 })}
<h2>Verdicts and epochs</h2>
${timeline('Who was held for what, and who might act', rowsOf(plan, untilMs), untilMs, [outage])}
<ul>${more.map((sentence) => html`<li>${sentence}</li>`)}</ul>
<h2>The three worlds</h2>
${htmlTable(comparison(plan))}
<h2>Cost</h2>
${htmlTable(costs(plan))}
<p class="dim">List prices as of ${pricesAsOf}; the model's price as the limits say. Stores, queues and functions are counted by what each chunk and batch costs, not call by call; storage and what runs all the time anyway are left out.</p>
<h2>What was decided</h2>
${decisions(worlds.holdfast)}
<h2>How far to trust this</h2>
<ul>
<li>Judging, deciding, rules, redrive, pace, failback, homes and chunks are the product's own code, in virtual time. Queues and workers are a model, line by line and second by second.</li>
<li>A call takes what the limits say; shares of failing calls slow a cloud down by that share. Stores are not modelled call by call, and a line that is cut off is counted as paid in full.</li>
<li>“${variantNames.apart}” means each cloud by itself: a batch belongs to one of them, drawn by weight, and waits for that one, at the door too.</li>
${plan.unmodelled.length > 0 ? html`<li>Not modelled, and so without effect here: ${plan.unmodelled.join(', ')}.</li>` : ''}
${worlds.holdfast.singles > 0 ? html`<li>${worlds.holdfast.singles} batches were accepted while only one cloud could hold them (receipt <i>single</i>).</li>` : ''}
</ul>
<footer>Made by <code>holdfast simulate --plan</code>. The same files give the same page.</footer>
</body>
</html>
`;
  return page.value;
}

/** Literal of ours; nothing of a file is in it. */
const styleSheet = (): Html => html([style] as unknown as TemplateStringsArray);

/** The stretch worth showing: until all three worlds are done, or a good while after the outage. */
function shownUntil({ worlds, traceMs, outageAtMs, outageMs }: Plan): DurationMs {
  const doneMs = Math.max(
    ...variants.map((variant) => {
      const { samples } = worlds[variant];
      return samples.findLast(({ backlog, atDoor }) => backlog.aws + backlog.azure + atDoor > 0)?.atMs ?? 0;
    }),
  );
  const lastEntryMs = worlds.holdfast.entries.at(-1)?.atMs ?? 0;
  const end = Math.max(traceMs, outageAtMs + (outageMs ?? 0));
  return Math.max(60_000, Math.min(Math.max(doneMs, lastEntryMs, end) * 1.03, end * 3));
}

function tiles({ worlds }: Plan): Html {
  const { holdfast, apart } = worlds;
  const quiet = worlds['no-outage'];
  const rto = holdfast.firstResultAfterMs;
  const moved = holdfast.fencedAfterMs;
  const tile = (value: string, what: string) => html`<div class="tile"><b>${value}</b><span>${what}</span></div>`;
  return html`<div class="tiles">
${rto === undefined ? tile(moved === undefined ? 'no move' : duration(moved), moved === undefined ? 'nothing is failed over' : 'from the fault to the failover; nothing was left to redrive') : tile(duration(rto), 'RTO: from the fault to the first redriven result')}
${tile(`${holdfast.missed.toLocaleString('en-US')} / ${apart.missed.toLocaleString('en-US')}`, 'lines that miss their window, with Holdfast / without failover')}
${tile(holdfast.repeats.toLocaleString('en-US'), `lines computed again; I9 allows ${holdfast.repeatsBound.toLocaleString('en-US')}`)}
${tile(money(holdfast.cost.total - quiet.cost.total, true), 'more than without the outage, inference and plumbing')}
</div>`;
}

function totals({ worlds }: Plan): Series[] {
  const tones = { 'no-outage': 'calm', holdfast: 'holdfast', apart: 'apart' } as const;
  return variants.map((variant) => ({
    name: variantNames[variant],
    tone: tones[variant],
    points: worlds[variant].samples.map(({ atMs, backlog, atDoor }) => ({
      atMs,
      value: backlog.aws + backlog.azure + atDoor,
    })),
  }));
}

function byCloud({ samples }: RunResult): Series[] {
  const door = samples.some(({ atDoor }) => atDoor > 0)
    ? [{ name: 'at the door', tone: 'door', points: samples.map(({ atMs, atDoor }) => ({ atMs, value: atDoor })) }]
    : [];
  return [
    ...clouds.map((id) => ({
      name: id,
      tone: id,
      points: samples.map(({ atMs, backlog }) => ({ atMs, value: backlog[id] })),
    })),
    ...door,
  ];
}

function throughput({ samples }: RunResult): Series[] {
  return clouds.map((id) => ({
    name: id,
    tone: id,
    points: samples.map(({ atMs }, i) => ({ atMs, value: meanOf(samples.slice(Math.max(0, i - 5), i + 1), id) })),
  }));
}

/** Single samples are ragged: what counts is the pace of the last minute or so. */
const meanOf = (samples: RunResult['samples'], id: 'aws' | 'azure') =>
  samples.reduce((sum, { perMinute }) => sum + perMinute[id], 0) / samples.length;

const verdictTones: Record<string, string> = { healthy: 'good', degraded: 'warn', down: 'bad' };
const stateTone = (state: string) => (state.startsWith('active') ? 'good' : state === 'fenced' ? 'bad' : 'warn');

function rowsOf({ worlds, scenario, outageAtMs }: Plan, untilMs: DurationMs): Row[] {
  const { entries, verdicts } = worlds.holdfast;
  const targets = [...new Set(scenario.effects.map(({ target }) => target))].slice(0, 12);
  const faults = targets.map((target) => ({
    name: target.slice(0, 22),
    spans: scenario.effects
      .filter((effect) => effect.target === target)
      .map(({ mode, fromMs, untilMs: end }) => ({
        fromMs: outageAtMs + fromMs,
        untilMs:
          mode.kind === 'command'
            ? outageAtMs + fromMs + untilMs / 200
            : end === undefined
              ? untilMs
              : outageAtMs + end,
        name: mode.kind === 'command' ? mode.command : mode.kind,
        tone: 'quiet',
      })),
  }));
  const judged = clouds.map((site) => {
    const own = verdicts.filter((one) => one.site === site);
    return {
      name: `verdict ${site}`,
      spans: own.map(({ atMs, health, causes }, i) => ({
        fromMs: Math.max(0, atMs),
        untilMs: own[i + 1]?.atMs ?? untilMs,
        name: [health, ...causes.slice(0, 2)].join(' '),
        tone: verdictTones[health] ?? 'quiet',
      })),
    };
  });
  const acting = clouds.map((site) => ({
    name: `control ${site}`,
    spans: entries.map(({ atMs, epoch, states }, i) => ({
      fromMs: atMs,
      untilMs: entries[i + 1]?.atMs ?? untilMs,
      name: `${states[site]} (epoch ${epoch})`,
      tone: stateTone(states[site]),
    })),
  }));
  return [...faults, ...judged, ...acting];
}

function decisions({ entries, notes }: RunResult): Html {
  const rows = [
    ...entries
      .slice(1)
      .map(({ atMs, epoch, actor, reason }) => ({ atMs, who: `${actor}, epoch ${epoch}`, what: reason })),
    ...notes.map(({ atMs, sentence }) => ({ atMs, who: 'nothing changes', what: sentence })),
  ].sort((a, b) => a.atMs - b.atMs);
  return html`<div class="scroll"><table><thead><tr><th>into the trace</th><th style="text-align:left">who</th><th style="text-align:left">why</th></tr></thead><tbody>
${rows.slice(0, 60).map(({ atMs, who, what }) => html`<tr><td>${formatOffset(Math.max(0, atMs))}</td><td class="text">${who}</td><td class="text">${what}</td></tr>`)}
</tbody></table></div>${rows.length > 60 ? html`<p class="dim">and ${rows.length - 60} more</p>` : ''}`;
}

function htmlTable([head, ...rows]: readonly (readonly string[])[]): Html {
  return html`<div class="scroll"><table><thead><tr>${head!.map((cell) => html`<th>${cell}</th>`)}</tr></thead><tbody>
${rows.map((row) => html`<tr${row[0] === 'all' ? html` class="sum"` : ''}>${row.map((cell) => html`<td>${cell}</td>`)}</tr>`)}
</tbody></table></div>`;
}
