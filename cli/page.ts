import type { StatusAnswer } from '../client/index.ts';
import { age } from './describe.ts';
import { type Style, type Styles, type Text, table, text } from './text.ts';

/** The page of whoever was woken, as one screen: worst first, what to type in the middle, batches last. */
export function pageLines(page: StatusAnswer, styles: Styles): Text[] {
  const { bold, dim, green, yellow } = styles;
  const since =
    page.since === null ? '' : ` Since ${page.since} (${age(Date.parse(page.at) - Date.parse(page.since))}).`;
  const changed = page.lastChange;
  return [
    text`${(page.blame === 'nobody' ? green : styles.red)(page.headline)}${since}`,
    ...page.evidence.slice(0, 6).map((sentence) => text`  ${dim(sentence)}`),
    text``,
    ...table(page.sites.map((site) => siteRow(site, styles))),
    ...breakerLines(page, styles),
    ...page.moves.map((move) => text`${yellow('moved')}  ${move}`),
    ...redriveLines(page),
    text`${dim(`entry ${page.epoch} of ${changed.at}, by ${changed.actor}: ${changed.reason}`)}`,
    ...(page.frozen ? [yellow('control is frozen')] : []),
    ...(page.witness === 'answers' ? [] : [yellow(witnessWords[page.witness])]),
    text``,
    text`${bold('By itself')}`,
    ...page.byItself.map((sentence) => text`  ${sentence}`),
    text`${bold('If nobody does anything')}`,
    text`  ${page.otherwise}`,
    text`${bold('To type')}`,
    ...table(page.type.map(({ command, why }) => [text`  ${bold(command)}`, dim(why)])),
    ...batchLines(page, styles),
    ...supersededLines(page, styles),
  ];
}

function supersededLines({ superseded }: StatusAnswer, { bold, dim }: Styles): Text[] {
  if (superseded.length === 0) return [];
  return [
    text`${bold('Decided alone by force, and superseded since')} ${dim('(kept in the journals under these keys)')}`,
    ...table(superseded.slice(0, supersededShown).map(({ key, by }) => [text`  ${key}`, text`by ${by}`])),
    ...(superseded.length > supersededShown
      ? [dim(text`  and ${superseded.length - supersededShown} more: --json`)]
      : []),
  ];
}
const supersededShown = 10;

function redriveLines({ redrive }: StatusAnswer): Text[] {
  return Object.entries(redrive ?? {}).flatMap(([site, { redriven, left, lines }]) =>
    redriven + left === 0
      ? []
      : [text`redrive to ${site}: ${redriven} pointers sent, ${left} to go${left > 0 ? ` (${lines} lines)` : ''}`],
  );
}

/** What is held off, probed, or coming back; one that is closed again for a while needs nobody. */
export function breakerLines({ breakers }: Pick<StatusAnswer, 'breakers'>, { yellow }: Styles): Text[] {
  return (breakers ?? []).flatMap(({ site, backend, model, state, since, until, reason, concurrency }) => {
    const what = text`${model} of ${backend} at ${site}`;
    if (state === 'open')
      return [text`${yellow('held off')}  ${what} since ${since}, tried again at ${until}: ${reason}`];
    if (state === 'halfOpen')
      return [text`${yellow('half open')} ${what} since ${since}: the next call is a probe, and decides: ${reason}`];
    if (state !== 'ramping') return [];
    const bearable = concurrency === null ? text`` : text`, ${concurrency} at once were borne before`;
    return [text`${yellow('ramping')}   ${what} answers again since ${since}: calls began with one at once${bearable}`];
  });
}

const witnessWords = {
  silent: 'the witness is not heard: with one cloud dark, nothing could be decided',
  none: 'no witness is configured: nothing fails over by itself',
};

function siteRow(site: StatusAnswer['sites'][number], styles: Styles): (Text | string)[] {
  const { state, weight, health, causes, models, openLines } = site;
  const colors: Record<typeof health, Style> = {
    healthy: styles.green,
    degraded: styles.yellow,
    down: styles.red,
    unknown: styles.yellow,
  };
  return [
    styles.bold(site.site),
    state === 'active' ? text`active, weight ${weight}` : styles.yellow(state),
    colors[health](health),
    text`${[...causes, ...models].join(', ')}`,
    text`${openLines} lines open`,
  ];
}

/** Only those that miss their window: the others need nobody tonight. */
function batchLines({ batches, unread }: StatusAnswer, { bold, dim, red }: Styles): Text[] {
  const missing = batches.filter(({ misses }) => misses);
  const notes =
    unread === null
      ? [dim('  open batches could not be read')]
      : unread > 0
        ? [dim(`  ${unread} were not looked at`)]
        : [];
  if (missing.length === 0 && notes.length === 0) return [];
  return [
    text`${bold('Batches that miss their window, the first one first')}`,
    ...table(
      missing.map(({ batch, tenant, owner, left, lines, deadline }) => [
        text`  ${batch}`,
        tenant,
        text`${left} of ${lines} open`,
        text`at ${owner ?? 'no site'}`,
        red(`ends ${deadline}`),
      ]),
    ),
    ...notes,
  ];
}
