import { createHash } from 'node:crypto';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { type BatchObject, type CloudName, createClient, type HoldfastClient, hasEnded } from '../../client/index.ts';
import { defaultPortBase } from '../../local/ports.ts';
import type { CommandMaker, Context, Flags } from '../command.ts';
import { portBaseOption } from '../connection.ts';
import { answeredIn, size } from '../describe.ts';
import { CliError, type ExitCode, exitCodes } from '../exit.ts';
import type { Io } from '../io.ts';
import { type Asked, isFlawless, type Judgement, judge, type Published } from '../judge.ts';
import { freePortBase, type LocalClouds, startClouds } from '../local-clouds.ts';
import { createProgress } from '../progress.ts';
import { type Styles, type Text, table, text } from '../text.ts';

const clouds = ['aws', 'azure'] as const;
const examples = resolve(import.meta.dirname, '..', '..', 'examples');
/** With ten batches it is all but certain (998 in 1,000) that both clouds are drawn as a home. */
const batchLines = 100;
const pollMs = 700;

export interface DemoConfig {
  /** Kept afterwards; absent: a temporary folder, removed at the end. */
  dataDir: string | undefined;
  portBase: number;
  /** Longest wait for the batches, ms. */
  patienceMs: number;
  /** True while no model server of the user's own answers. */
  isExtractive: boolean;
}

export function addDemo(maker: CommandMaker): void {
  const command = maker.add('demo', 'run 1,000 example requests on two clouds on this machine, and check the outcome', [
    'holdfast demo',
    'holdfast demo --json',
  ]);
  command.option('--data <dir>', 'keep everything there (default: a temporary folder)').addOption(portBaseOption());
  maker.action(command, demoConfig, demo);
}

function demoConfig(_: string[], flags: Flags, env: Io['env']): DemoConfig {
  return {
    dataDir: flags.data === undefined ? undefined : resolve(flags.data),
    portBase: flags.portBase ?? defaultPortBase,
    patienceMs: 180_000,
    isExtractive: !env.HOLDFAST_AWS_MODEL_URL && !env.HOLDFAST_AZURE_MODEL_URL,
  };
}

async function demo(config: DemoConfig, context: Context): Promise<ExitCode> {
  const { io, print } = context;
  const startedAt = performance.now();
  const dataDir = config.dataDir ?? (await mkdtemp(join(tmpdir(), 'holdfast-demo-')));
  let local: LocalClouds | undefined;
  try {
    heading(context, 1, 'Start two clouds on this machine');
    print.say(
      text`  AWS (SQS, S3, Lambda) and Azure (Service Bus, Blob, Functions), each in its own process, and a witness.`,
    );
    print.say(print.styles.dim('  The first start also builds the functions; it takes ten to twenty seconds.'));
    const portBase = await freePortBase(config.portBase);
    local = await startClouds({ dataDir, portBase, quiet: true });
    io.signal.throwIfAborted();
    const apis = { aws: local.aws!.api, azure: local.azure!.api };
    for (const cloud of clouds) print.say(text`  ${cloud.padEnd(6)} ${apis[cloud]}`);
    const bootMs = performance.now() - startedAt;
    print.say(print.styles.dim(text`  ready after ${seconds(bootMs)}`));

    const outcome = await runBatches(config, createClient({ ...apis, key: local.key }), context);
    const totalMs = performance.now() - startedAt;
    heading(context, 5, 'Outcome');
    print.result(report(outcome, bootMs, totalMs), () => outcomeLines(outcome, totalMs, print.styles));
    return isFlawless(outcome.verdict) ? exitCodes.ok : exitCodes.no;
  } finally {
    await local?.stop();
    if (config.dataDir === undefined) await rm(dataDir, { recursive: true, force: true, maxRetries: 3 });
  }
}

interface Outcome {
  verdict: Judgement;
  batches: BatchObject[];
  repeats: number;
  files: number;
  workMs: number;
}

async function runBatches(config: DemoConfig, client: HoldfastClient, context: Context): Promise<Outcome> {
  const { io, print } = context;
  const { dim } = print.styles;
  const workStartedAt = performance.now();

  heading(context, 2, 'Submit 1,000 requests in ten batches, half through either cloud');
  print.say(text`  A batch is accepted only when it is durable in both clouds: its receipt says "dual".`);
  const inputs = await readInputs();
  const submitted = await Promise.all(
    clouds.map((cloud, i) =>
      submitAll(
        client.on(cloud),
        cloud,
        inputs.filter((_, n) => n % 2 === i),
        io.signal,
      ),
    ),
  ).then((both) => both.flat());
  const rows = submitted.map(({ batch, input, through }) => [
    text`  ${dim(batch.id)}`,
    input.name,
    `through ${through}`,
    `receipt ${batch.holdfast.receipt}`,
    `home ${batch.holdfast.home}`,
  ]);
  for (const row of table(rows)) print.say(row);

  heading(context, 3, 'Watch both clouds work');
  print.say(
    text`  Each batch is planned into chunks; pointers to them wait in the queue of its home; functions there answer.`,
  );
  const ended = await waitForAll(
    client,
    submitted.map(({ batch }) => batch),
    config,
    context,
  );
  const workMs = performance.now() - workStartedAt;
  print.say(dim(text`  all batches ended after ${seconds(workMs)}`));

  heading(context, 4, 'Download every file from both clouds, and check');
  const published = (
    await Promise.all(clouds.map((cloud) => downloadAll(client.on(cloud), cloud, ended, io.signal)))
  ).flat();
  const asked = submitted.flatMap(({ batch, input }) => input.asked.map((one) => ({ ...one, batch: batch.id })));
  const verdict = judge(asked, published, clouds, config.isExtractive);
  for (const line of checkLines(verdict, published, print.styles)) print.say(line);
  const repeats = ended.reduce((sum, { holdfast }) => sum + (holdfast.repeats ?? 0), 0);
  return { verdict, batches: ended, repeats, files: published.length, workMs };
}

interface Input {
  name: string;
  endpoint: string;
  bytes: Uint8Array<ArrayBuffer>;
  asked: Omit<Asked, 'batch'>[];
}

async function readInputs(): Promise<Input[]> {
  const inputs: Input[] = [];
  for (const name of ['chat', 'embeddings']) {
    const lines = (await readFile(join(examples, `${name}.jsonl`), 'utf8')).trimEnd().split('\n');
    for (let from = 0; from < lines.length; from += batchLines) {
      const part = lines.slice(from, from + batchLines);
      const requests = part.map((line) => JSON.parse(line) as { custom_id: string; url: string; body: Asked['body'] });
      const endpoint = requests[0]!.url;
      inputs.push({
        name: `${name} ${from + 1}-${from + part.length}`,
        endpoint,
        bytes: new TextEncoder().encode(`${part.join('\n')}\n`),
        asked: requests.map(({ custom_id, body }) => ({ customId: custom_id, endpoint, body })),
      });
    }
  }
  return inputs;
}

interface Submitted {
  batch: BatchObject;
  input: Input;
  through: CloudName;
}

async function submitAll(
  client: HoldfastClient,
  through: CloudName,
  inputs: readonly Input[],
  signal: AbortSignal,
): Promise<Submitted[]> {
  const submitted: Submitted[] = [];
  for (const input of inputs) {
    const name = `${input.name.replace(' ', '-')}.jsonl`;
    const { file } = await client.files.upload(new Blob([input.bytes]), { name, signal });
    const request = { input_file_id: file.id, endpoint: input.endpoint, metadata: { demo: input.name } };
    submitted.push({ batch: await client.batches.create(request, { signal }), input, through });
  }
  return submitted;
}

async function waitForAll(
  client: HoldfastClient,
  started: readonly BatchObject[],
  { patienceMs }: DemoConfig,
  { io }: Context,
): Promise<BatchObject[]> {
  const patience = AbortSignal.timeout(patienceMs);
  const signal = AbortSignal.any([io.signal, patience]);
  const latest = new Map(started.map((batch) => [batch.id, batch]));
  const progress = createProgress(io);
  const tracks = clouds.map((cloud) => {
    const lines = started.filter(({ holdfast }) => holdfast.home === cloud).length * batchLines;
    return { cloud, lines, track: progress.track(cloud, lines) };
  });
  const show = () => {
    const now = [...latest.values()];
    for (const { cloud, lines, track } of tracks) {
      const answered = now.reduce((sum, batch) => sum + answeredIn(batch, cloud), 0);
      const own = now.filter(({ holdfast }) => holdfast.home === cloud);
      const note = `lines answered; ${own.filter(hasEnded).length} of ${own.length} batches ended`;
      track.update(answered, Math.max(lines, answered), note);
    }
  };
  try {
    await Promise.all(
      started.map(({ id }) =>
        client.batches.wait(id, {
          pollMs,
          signal,
          onChange: (batch) => {
            latest.set(id, batch);
            show();
          },
        }),
      ),
    );
  } catch (error) {
    if (!patience.aborted || io.signal.aborted) throw error;
    const open = [...latest.values()].filter((batch) => !hasEnded(batch));
    throw new CliError(
      exitCodes.no,
      text`${open.length} of ${started.length} batches did not end within ${seconds(patienceMs)}`,
      open.map(({ id, status, request_counts: { completed, total } }) => text`${id} ${status} ${completed}/${total}`),
    );
  } finally {
    progress.stop();
  }
  return [...latest.values()];
}

async function downloadAll(
  client: HoldfastClient,
  cloud: CloudName,
  batches: readonly BatchObject[],
  signal: AbortSignal,
): Promise<Published[]> {
  const published: Published[] = [];
  for (const { id } of batches) {
    // Asked anew: this cloud must know by itself how the batch ended.
    const batch = await client.batches.get(id, { signal });
    for (const kind of ['output', 'error'] as const) {
      const file = kind === 'output' ? batch.output_file_id : batch.error_file_id;
      if (file === null) continue;
      const bytes = new Uint8Array(await (await client.files.content(file, { signal })).arrayBuffer());
      const sha256 = createHash('sha256').update(bytes).digest('hex');
      published.push({ batch: id, kind, cloud, sha256, content: new TextDecoder().decode(bytes) });
    }
  }
  return published;
}

function heading({ print }: Context, step: number, title: string): void {
  print.say();
  print.say(print.styles.bold(text`${step}. ${title}`));
}

function checkLines(verdict: Judgement, published: readonly Published[], { green, red }: Styles): Text[] {
  const check = (what: string, found: readonly string[]) =>
    found.length === 0
      ? text`  ${green('✓')} ${what}`
      : text`  ${red('✗')} ${what}: not so for ${found.length}, such as ${found.slice(0, 3).join(', ')}`;
  const outputs = published.filter(({ cloud }) => cloud === clouds[0]);
  const bytes = outputs.reduce((sum, { content }) => sum + content.length, 0);
  return [
    check('every custom_id is published', verdict.lost),
    check('none is published twice', verdict.publishedTwice),
    check('nothing is published that was not asked for', verdict.strange),
    check(`both clouds give the same ${outputs.length} files (${size(bytes)}), by SHA-256`, verdict.different),
    check('every answer fits its question', verdict.implausible),
  ];
}

function report({ verdict, batches, repeats, files, workMs }: Outcome, bootMs: number, totalMs: number) {
  const { accepted, answered, failed, lost, publishedTwice, strange, different, implausible } = verdict;
  return {
    ok: isFlawless(verdict),
    batches: batches.map(({ id, status, holdfast: { home, receipt, answered_by } }) => ({
      id,
      status,
      home,
      receipt,
      answered_by,
    })),
    accepted,
    answered,
    failed,
    lost: lost.length,
    published_twice: publishedTwice.length,
    computed_twice: repeats,
    strange: strange.length,
    different_files: different.length,
    implausible: implausible.length,
    files,
    boot_ms: Math.round(bootMs),
    work_ms: Math.round(workMs),
    total_ms: Math.round(totalMs),
  };
}

function outcomeLines({ verdict, batches, repeats, workMs }: Outcome, totalMs: number, styles: Styles): Text[] {
  const { accepted, answered, failed, lost, publishedTwice } = verdict;
  const zero = (count: number) => (count === 0 ? styles.green('0') : styles.red(`${count}`));
  const share = clouds.map((cloud) => `${cloud} ${batches.reduce((sum, batch) => sum + answeredIn(batch, cloud), 0)}`);
  const rows = table([
    ['  accepted', text`${accepted}`, `in ${batches.length} batches`],
    ['  answered', text`${answered}`, share.join(', ')],
    ['  failed', zero(failed), ''],
    ['  lost', zero(lost.length), ''],
    ['  published twice', zero(publishedTwice.length), ''],
    ['  computed twice', text`${repeats}`, 'allowed around a failover, and counted'],
    ['  time', seconds(totalMs), `${seconds(workMs)} from the first upload to the last result`],
  ]);
  const end = isFlawless(verdict)
    ? styles.green('  All is well. Next: npm start, then npx holdfast submit examples/chat.jsonl --wait')
    : styles.red('  Something is wrong; see above.');
  return [...rows, text``, end];
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}
