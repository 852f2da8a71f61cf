import { productionWords } from '../../shared/drill/conclude.ts';
import { showDuration } from '../../shared/drill/duration.ts';
import type { DrillEntry } from '../../shared/drill/facts.ts';
import type { DrillReport } from '../../shared/drill/report.ts';
import { type Style, type Styles, type Text, table, text } from '../text.ts';

/** `+12.3 s  action  aws refuse …`. */
export function entryLine({ at, kind, text: words }: DrillEntry, startedAt: number, { dim }: Styles): Text {
  const after = `+${((at - startedAt) / 1000).toFixed(1)} s`.padStart(9);
  return text`${dim(after)}  ${kind.padEnd(7)} ${words}`;
}

/** What a drill came to, for people. */
export function reportLines(report: DrillReport, sha256: string, styles: Styles): Text[] {
  const { verdict, checks } = report;
  const { bold, dim, green, red, yellow } = styles;
  const colors: Record<typeof verdict.outcome, Style> = { passed: green, failed: red, aborted: yellow };
  const { recovery } = verdict;
  const shown = (ms: number | null) => (ms === null ? 'not seen' : showDuration(ms));
  return [
    text`${bold(report.title)}: ${colors[verdict.outcome](verdict.outcome)}`,
    ...verdict.reasons.map((reason) => text`  ${red('✗')} ${reason}`),
    text``,
    ...table([
      ['  drill', text`${report.drill}, ${report.drillKind}, by ${report.actor}: ${report.reason}`],
      ['  took', showDuration(report.endedAt - report.startedAt)],
      [
        '  lines',
        text`${verdict.accepted} accepted, ${verdict.lost.length} lost, ${verdict.publishedTwice.length} published twice`,
      ],
      ...(verdict.production === null
        ? []
        : [['  production', productionWords(verdict.production)] as [string, string]]),
      ['  computed twice', text`${verdict.computedTwice.lines} lines, ${verdict.computedTwice.tokens} tokens`],
      ['  RPO', showDuration(verdict.rpoMs)],
      [
        '  RTO',
        text`${shown(recovery.firstResult)} (detect ${shown(recovery.detect)}, decide ${shown(recovery.decide)}, fence ${shown(recovery.fence)}, redrive ${shown(recovery.redrive)}, backlog cleared ${shown(recovery.backlogCleared)})`,
      ],
    ]),
    text``,
    ...table(
      [
        ...verdict.objectives.map(({ name, wanted, measured, isMet }) => ({ name, wanted, measured, isMet })),
        ...checks.map(({ when, name, value, wanted, isOk }) => ({
          name: `${when}: ${name}`,
          wanted,
          measured: String(value),
          isMet: isOk,
        })),
      ].map(({ name, wanted, measured, isMet }) => [
        text`  ${isMet ? green('✓') : red('✗')} ${name}`,
        measured.slice(0, 60),
        dim(`wanted ${wanted}`),
      ]),
    ),
    text``,
    dim(text`  SHA-256 of the report: ${sha256}`),
  ];
}

/** A row for each drill, and bars of RTO and RPO that share one scale. */
export function historyLines(reports: readonly DrillReport[], { bold, dim }: Styles): Text[] {
  if (reports.length === 0) return [text`no drill has ended yet`];
  const width = 24;
  const most = Math.max(1, ...reports.flatMap(({ verdict }) => [verdict.recovery.firstResult ?? 0, verdict.rpoMs]));
  const bar = (ms: number) => '█'.repeat(Math.max(ms > 0 ? 1 : 0, Math.round((ms / most) * width)));
  const rows = reports.map(({ startedAt, drill, verdict }) => {
    const rto = verdict.recovery.firstResult;
    return [
      new Date(startedAt).toISOString().slice(0, 16),
      drill,
      verdict.outcome,
      rto === null ? '–' : showDuration(rto),
      rto === null ? '' : bar(rto),
      showDuration(verdict.rpoMs),
      bar(verdict.rpoMs),
    ];
  });
  return [
    ...table([[bold('when'), bold('drill'), bold('verdict'), bold('RTO'), '', bold('RPO'), ''], ...rows]),
    dim(text`${reports.length} drills`),
  ];
}
