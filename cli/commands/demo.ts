import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { Option } from 'commander';
import { type BatchObject, type CloudName, createClient, type HoldfastClient } from '../../client/index.ts';
import { defaultPortBase } from '../../local/ports.ts';
import type { CommandMaker, Context, Flags } from '../command.ts';
import { portBaseOption } from '../connection.ts';
import { readInputs } from '../demo/inputs.ts';
import { bringBack, killCloud, openLinesOf, slowModels, untilObserved, victimOf } from '../demo/outage.ts';
import { checkLines, isWell, type Outcome, outcomeLines, report } from '../demo/report.ts';
import { downloadAll, type Submitted, seconds, submitAll, watchAll } from '../demo/run.ts';
import { type ExitCode, exitCodes } from '../exit.ts';
import type { Io } from '../io.ts';
import { judge } from '../judge.ts';
import { freePortBase, type LocalClouds, startClouds } from '../local-clouds.ts';
import { table, text } from '../text.ts';

/** Lines that are answered, and lines of its own that the cloud has open, when it is killed: in the middle of its work. */
const killWhen = { answered: 100, open: 100 } as const;

export interface DemoConfig {
  /** Kept afterwards; absent: a temporary folder, removed at the end. */
  dataDir: string | undefined;
  portBase: number;
  /** Longest wait for the batches, ms. */
  patienceMs: number;
  /** True while no model server of the user's own answers. */
  isExtractive: boolean;
  /** Whether a cloud is killed in the middle; which one, where it is said. */
  outage: boolean;
  victim: CloudName | undefined;
}

export function addDemo(maker: CommandMaker): void {
  const command = maker.add(
    'demo',
    'run 1,000 example requests on two clouds on this machine, kill one of them, and check the outcome',
    ['holdfast demo', 'holdfast demo --kill azure', 'holdfast demo --no-outage', 'holdfast demo --json'],
  );
  command
    .option('--data <dir>', 'keep everything there (default: a temporary folder)')
    .addOption(
      new Option('--kill <cloud>', 'the cloud to kill (default: that with most left to do)').choices(['aws', 'azure']),
    )
    .option('--no-outage', 'let both clouds live: done in half a minute')
    .addOption(portBaseOption());
  maker.action(command, demoConfig, demo);
}

function demoConfig(_: string[], flags: Flags, env: Io['env']): DemoConfig {
  return {
    dataDir: flags.data === undefined ? undefined : resolve(flags.data),
    portBase: flags.portBase ?? defaultPortBase,
    patienceMs: 300_000,
    isExtractive: !env.HOLDFAST_AWS_MODEL_URL && !env.HOLDFAST_AZURE_MODEL_URL,
    outage: flags.outage !== false,
    victim: flags.kill,
  };
}

async function demo(config: DemoConfig, context: Context): Promise<ExitCode> {
  const { io, print } = context;
  const startedAt = performance.now();
  const dataDir = config.dataDir ?? (await mkdtemp(join(tmpdir(), 'holdfast-demo-')));
  const running: LocalClouds[] = [];
  const heading = headings(context);
  try {
    heading('Start two clouds on this machine');
    print.say(
      text`  AWS (SQS, S3, Lambda) and Azure (Service Bus, Blob, Functions), each in its own process, and a witness.`,
    );
    print.say(print.styles.dim('  The first start also builds the functions; it takes ten to twenty seconds.'));
    const portBase = await freePortBase(config.portBase);
    const local = await startClouds({ dataDir, portBase, quiet: true });
    running.push(local);
    io.signal.throwIfAborted();
    const apis = { aws: local.aws!.api, azure: local.azure!.api };
    for (const [cloud, api] of Object.entries(apis)) print.say(text`  ${cloud.padEnd(6)} ${api}`);
    const bootMs = performance.now() - startedAt;
    print.say(print.styles.dim(text`  ready after ${seconds(bootMs)}`));

    const client = createClient({ ...apis, key: local.key });
    const started = (clouds: LocalClouds) => void running.push(clouds);
    const outcome = await run({ ...config, dataDir, portBase }, client, started, heading, context);
    const totalMs = performance.now() - startedAt;
    heading('Outcome');
    print.result(report(outcome, bootMs, totalMs), () => outcomeLines(outcome, totalMs, print.styles));
    return isWell(outcome) ? exitCodes.ok : exitCodes.no;
  } finally {
    await Promise.all(running.map((clouds) => clouds.stop()));
    if (config.dataDir === undefined) await rm(dataDir, { recursive: true, force: true, maxRetries: 3 });
  }
}

async function run(
  config: DemoConfig & { dataDir: string },
  client: HoldfastClient,
  started: (clouds: LocalClouds) => void,
  heading: (title: string) => void,
  context: Context,
): Promise<Outcome> {
  const { io, print } = context;
  const { dim } = print.styles;
  const { outage, patienceMs, portBase, dataDir, isExtractive } = config;
  if (outage && isExtractive) await slowModels(portBase);

  heading('Submit 1,000 requests in ten batches, half through either cloud');
  print.say(text`  A batch is accepted only when it is durable in both clouds: its receipt says "dual".`);
  const workStartedAt = performance.now();
  const submitted = await submitAll(client, await readInputs(), io.signal);
  for (const row of table(submittedRows(submitted, dim))) print.say(row);
  const batches = submitted.map(({ batch }) => batch);

  heading('Watch both clouds work');
  print.say(
    text`  Each batch is planned into chunks; pointers to them wait in the queue of its home; functions there answer.`,
  );
  const ended = outage
    ? await withOutage(batches)
    : { batches: await watchAll(client, batches, patienceMs, context), workMs: performance.now() - workStartedAt };

  heading('Download every file from both clouds, and check');
  const published = await downloadAll(client, ended.batches, io.signal);
  const asked = submitted.flatMap(({ batch, input }) => input.asked.map((one) => ({ ...one, batch: batch.id })));
  const verdict = judge(asked, published, ['aws', 'azure'], isExtractive);
  for (const line of checkLines(verdict, published, print.styles)) print.say(line);
  const repeats = ended.batches.reduce((sum, { holdfast }) => sum + (holdfast.repeats ?? 0), 0);
  return { ...ended, verdict, repeats, files: published.length };

  async function withOutage(
    batches: BatchObject[],
  ): Promise<Pick<Outcome, 'batches' | 'workMs' | 'takeover' | 'returnMs'>> {
    await untilObserved(client, io.signal);
    const victim = (now: readonly BatchObject[]) => config.victim ?? victimOf(now);
    const isMidway = (now: readonly BatchObject[]) => {
      const answered = now.reduce((sum, { request_counts: { completed } }) => sum + completed, 0);
      return answered >= killWhen.answered && openLinesOf(now, victim(now)) >= killWhen.open;
    };
    const before = await watchAll(client, batches, patienceMs, context, { done: isMidway });
    const killed = victim(before);
    const open = openLinesOf(before, killed);
    heading(`Kill ${killed}, all of it`);
    print.say(text`  kill -9 of its queue, store, functions and models. ${open} lines of its batches are open.`);
    const { takeover, watch } = await killCloud(portBase, client, killed, before);
    const survivor = client.on(killed === 'aws' ? 'azure' : 'aws');
    const after = await watchAll(survivor, before, patienceMs, context, { watch });
    const workMs = performance.now() - workStartedAt;
    print.say(dim(text`  all batches ended after ${seconds(workMs)}, without ${killed}`));
    heading(`Start ${killed} again, and watch it come back`);
    print.say(text`  It copies what it missed, proves that both clouds hold the same, and takes weight in steps.`);
    const returnMs = await bringBack({ dataDir, portBase }, client, killed, started, context);
    return { batches: after, workMs, takeover, returnMs };
  }
}

function submittedRows(submitted: readonly Submitted[], dim: Context['print']['styles']['dim']) {
  return submitted.map(({ batch, input, through }) => [
    text`  ${dim(batch.id)}`,
    input.name,
    `through ${through}`,
    `receipt ${batch.holdfast.receipt}`,
    `home ${batch.holdfast.home}`,
  ]);
}

/** Numbers its headings. */
function headings({ print }: Context): (title: string) => void {
  let step = 0;
  return (title) => {
    step += 1;
    print.say();
    print.say(print.styles.bold(text`${step}. ${title}`));
  };
}
