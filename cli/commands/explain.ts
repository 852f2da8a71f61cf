import type { LineStory } from '../../client/index.ts';
import type { CommandMaker, Context, Flags } from '../command.ts';
import { type Connection, connect, connectionOf, withConnection } from '../connection.ts';
import { type ExitCode, exitCodes } from '../exit.ts';
import type { Io } from '../io.ts';
import { type Styles, type Text, table, text } from '../text.ts';

export interface ExplainConfig {
  batch: string;
  customId: string;
  connection: Connection;
}

export function addExplain(maker: CommandMaker): void {
  const command = maker.add('explain <batch> <custom-id>', 'tell the life of one request, from the facts', [
    'holdfast explain batch_0123456789abcdef0123456789abcdef chat-0042',
  ]);
  maker.action(withConnection(command), explainConfig, explain);
}

function explainConfig([batch, customId]: string[], flags: Flags, env: Io['env']): ExplainConfig {
  return { batch: batch!, customId: customId!, connection: connectionOf(flags, env) };
}

async function explain(config: ExplainConfig, { io, print }: Context): Promise<ExitCode> {
  const story = await connect(config.connection).ops.explain(config.batch, config.customId, { signal: io.signal });
  print.result(story, () => [
    text`${print.styles.bold(story.custom_id)}, line ${story.line} of ${story.batch}`,
    text``,
    ...timeline(story, print.styles),
    text``,
    ...ending(story, print.styles),
  ]);
  return exitCodes.ok;
}

/** What happened, oldest first: one row for each fact. */
export function timeline(story: LineStory, styles: Styles): Text[] {
  const { accepted, publication } = story;
  const events: { at: string; site: string; what: Text }[] = [
    {
      at: accepted.at,
      site: accepted.site,
      what: text`accepted with a ${accepted.receipt} receipt; home ${accepted.home}, epoch ${accepted.epoch}`,
    },
    ...story.dispatches.map(({ at, from, to, epoch, reason }) => ({
      at,
      site: from,
      what: text`sent to the queue of ${to} (${reasonWords[reason] ?? reason}), epoch ${epoch}`,
    })),
    ...story.attempts.map(({ at, site, outcome, detail }) => ({
      at,
      site,
      what: text`${outcomeText(outcome, styles)}${detailOf(detail)}`,
    })),
    ...(publication === null
      ? []
      : [
          {
            at: publication.at,
            site: publication.site,
            what: text`batch published as ${styles.bold(publication.status)}, epoch ${publication.epoch}`,
          },
        ]),
  ];
  return table(
    events
      .sort((a, b) => (a.at < b.at ? -1 : a.at > b.at ? 1 : 0))
      .map(({ at, site, what }) => [styles.dim(at), site, what]),
  );
}

const reasonWords: Record<string, string> = {
  plan: 'planned',
  lost: 'the pointer before was lost',
  split: 'a half of a chunk that ended its worker',
  redrive: 'redriven',
  spillover: 'its model moved',
};

function outcomeText(outcome: LineStory['attempts'][number]['outcome'], styles: Styles): Text {
  switch (outcome) {
    case 'answered':
      return styles.green('answered');
    case 'failed':
      return styles.red('failed');
    case 'retry':
      return styles.yellow('to be tried again');
    case 'started':
      return text`begun; without an outcome below, its worker ended or still runs`;
  }
}

function detailOf(detail: Record<string, string | number | boolean>): Text {
  const parts = Object.entries(detail).map(([name, value]) => `${name} ${value}`);
  return parts.length === 0 ? text`` : text`: ${parts.join(', ')}`;
}

function ending({ result, cancels, unseen, publication }: LineStory, styles: Styles): Text[] {
  const lines: Text[] = [];
  if (result === null)
    lines.push(
      publication === null
        ? text`No result yet.`
        : text`No answer was chosen: the line ended with the batch (${publication.status}).`,
    );
  else if (result.decided) lines.push(text`Published result: ${result.key}`);
  else lines.push(text`Would be published, if the batch ended now: ${result.key}`);
  if (cancels > 0) lines.push(text`Cancellation was asked for.`);
  if (unseen.length > 0)
    lines.push(styles.yellow(`Did not answer: ${unseen.join(', ')}. What only they know is missing here.`));
  return lines;
}
