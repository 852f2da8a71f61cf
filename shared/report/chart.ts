import type { DurationMs } from '../units.ts';
import { type Html, html } from './html.ts';
import { formatOffset } from './offset.ts';

/** One line of a chart. */
export interface Series {
  name: string;
  /** Class that gives it its colour: `aws`, `azure`, `door`, `holdfast`, `apart`, `calm`. */
  tone: string;
  points: readonly { atMs: DurationMs; value: number }[];
}

/** A stretch of time that is set off. */
export interface Band {
  fromMs: DurationMs;
  untilMs: DurationMs;
  name: string;
}

const width = 960;
const margin = { left: 56, right: 96, top: 14, bottom: 26 };
const plotWidth = width - margin.left - margin.right;

/** Lines over time, labelled where they are highest; drawn without a script. */
export function lineChart(
  title: string,
  unit: string,
  series: readonly Series[],
  { untilMs, bands, height = 240 }: { untilMs: DurationMs; bands: readonly Band[]; height?: number },
): Html {
  const plotHeight = height - margin.top - margin.bottom;
  const top = niceTop(Math.max(1, ...series.flatMap(({ points }) => points.map(({ value }) => value))));
  const x = (ms: DurationMs) => round(margin.left + (Math.min(ms, untilMs) / untilMs) * plotWidth);
  const y = (value: number) => round(margin.top + plotHeight - (value / top) * plotHeight);
  const grid = [0, 0.25, 0.5, 0.75, 1].map(
    (
      share,
    ) => html`<line class="grid" x1="${margin.left}" x2="${width - margin.right}" y1="${y(top * share)}" y2="${y(top * share)}"/>
<text class="tick" x="${margin.left - 8}" y="${y(top * share) + 4}" text-anchor="end">${short(top * share)}</text>`,
  );
  const lines = series.map(
    ({ tone, points }) =>
      html`<path class="line ${tone}" d="${pathOf(points.map(({ atMs, value }) => [x(atMs), y(value)]))}"/>`,
  );
  return html`<figure>
<figcaption><b>${title}</b> <span class="dim">${unit}</span> ${legend(series)}</figcaption>
<svg viewBox="0 0 ${width} ${height}" role="img" aria-label="${title}, ${unit}">
${bandsOf(bands, untilMs, margin.top, plotHeight)}
${grid}
${timeAxis(untilMs, height - 8)}
${lines}
</svg>
</figure>`;
}

/** One row of a timeline: stretches with a tone and a word each. */
export interface Row {
  name: string;
  spans: readonly (Band & { tone: string })[];
}

/** Rows of coloured stretches over time. */
export function timeline(title: string, rows: readonly Row[], untilMs: DurationMs, bands: readonly Band[]): Html {
  const rowHeight = 26;
  const left = 132;
  const height = margin.top + rows.length * rowHeight + margin.bottom;
  const scale = (width - left - 12) / untilMs;
  const x = (ms: DurationMs) => round(left + Math.min(ms, untilMs) * scale);
  const drawn = rows.map(({ name, spans }, i) => {
    const y = margin.top + i * rowHeight;
    return html`<text class="row" x="${left - 8}" y="${y + 16}" text-anchor="end">${name}</text>
${spans.map((span) => {
  const [from, until] = [x(span.fromMs), x(span.untilMs)];
  const isRoomy = until - from > span.name.length * 6.4 + 8;
  return html`<g><title>${span.name}: ${formatOffset(span.fromMs)} to ${formatOffset(span.untilMs)}</title>
<rect class="span ${span.tone}" x="${from}" y="${y + 3}" width="${Math.max(1.5, round(until - from))}" height="${rowHeight - 7}" rx="2"/>
${isRoomy ? html`<text class="word ${span.tone}" x="${from + 5}" y="${y + 16}">${span.name}</text>` : ''}</g>`;
})}`;
  });
  const marks = bands.map(
    ({ fromMs, untilMs: until }) =>
      html`<rect class="band" x="${x(fromMs)}" y="${margin.top}" width="${Math.max(1, round(x(until) - x(fromMs)))}" height="${rows.length * rowHeight}"/>`,
  );
  return html`<figure>
<figcaption><b>${title}</b></figcaption>
<svg viewBox="0 0 ${width} ${height}" role="img" aria-label="${title}">
${marks}
${drawn}
${timeAxis(untilMs, height - 8, left, width - 12)}
</svg>
</figure>`;
}

function bandsOf(bands: readonly Band[], untilMs: DurationMs, top: number, height: number): Html[] {
  const x = (ms: DurationMs) => round(margin.left + (Math.min(ms, untilMs) / untilMs) * plotWidth);
  return bands.map(
    ({
      fromMs,
      untilMs: until,
      name,
    }) => html`<rect class="band" x="${x(fromMs)}" y="${top}" width="${Math.max(1, round(x(until) - x(fromMs)))}" height="${height}"/>
<text class="note" x="${x(fromMs) + 4}" y="${top + 11}">${name}</text>`,
  );
}

function timeAxis(untilMs: DurationMs, y: number, left = margin.left, right = width - margin.right): Html[] {
  const step = niceStep(untilMs / 8);
  const ticks: Html[] = [];
  for (let at = 0; at <= untilMs; at += step) {
    const x = round(left + (at / untilMs) * (right - left));
    ticks.push(html`<text class="tick" x="${x}" y="${y}" text-anchor="middle">${formatOffset(at)}</text>`);
  }
  return ticks;
}

function legend(series: readonly Series[]): Html {
  return html`<span class="legend">${series.map(({ name, tone }) => html`<span class="key ${tone}">${name}</span>`)}</span>`;
}

/** Points that lie on a straight line between their neighbours are left out. */
function pathOf(points: readonly (readonly [number, number])[]): string {
  const kept = points.filter(([, y], i) => {
    const [before, after] = [points[i - 1], points[i + 1]];
    return before === undefined || after === undefined || before[1] !== y || after[1] !== y;
  });
  return kept.map(([x, y], i) => `${i === 0 ? 'M' : 'L'}${x} ${y}`).join('');
}

function niceTop(value: number): number {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 4, 5, 10].map((times) => times * power).find((top) => top >= value)!;
}

const minutes = [1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1_440, 2_880, 10_080];
const steps: DurationMs[] = [...[1, 2, 5, 10, 15, 30].map((s) => s * 1_000), ...minutes.map((m) => m * 60_000)];
const niceStep = (atLeast: DurationMs) => steps.find((step) => step >= atLeast) ?? steps.at(-1)!;
const round = (value: number) => Math.round(value * 10) / 10;

/** `12k`, `3.5M`. */
function short(value: number): string {
  if (value >= 1e6) return `${round(value / 1e6)}M`;
  return value >= 10_000 ? `${round(value / 1e3)}k` : value.toLocaleString('en-US', { maximumFractionDigits: 1 });
}
