import type { BatchObject, CloudName, HoldfastClient, StatusAnswer } from '../../client/index.ts';
import { faultControl } from '../../local/faults/index.ts';
import { portsOf } from '../../local/ports.ts';
import type { Context } from '../command.ts';
import { answeredIn } from '../describe.ts';
import { CliError, exitCodes } from '../exit.ts';
import { type LocalClouds, startClouds } from '../local-clouds.ts';
import { pause } from '../pause.ts';
import type { Progress } from '../progress.ts';
import { type Text, text } from '../text.ts';
import { seconds } from './run.ts';

/** What the outage of the demo came to; moments in ms after the kill. */
export interface Takeover {
  victim: CloudName;
  /** Lines that were open in batches of the victim when it died. */
  openLines: number;
  detectedMs: number | null;
  fencedMs: number | null;
  /** First result of the survivor for a batch whose home was the victim: the recovery time. */
  rtoMs: number | null;
}

/** Models answer this slowly while the demo runs, so that a cloud can be killed in the middle of its work. */
const latencyMs = 4_000;

/** Slows the local model servers down; a model server of the user's own is left alone. */
export async function slowModels(portBase: number): Promise<void> {
  const ports = portsOf(portBase);
  for (const { model } of [ports.aws, ports.azure])
    await fetch(`http://127.0.0.1:${model}/control/behaviour/*`, {
      method: 'PUT',
      body: JSON.stringify({ latency: { ms: latencyMs } }),
      headers: { 'content-type': 'application/json' },
    });
}

/** Waits until all three observers know both clouds: nobody fails over what he has never seen well. */
export async function untilObserved(client: HoldfastClient, signal: AbortSignal): Promise<void> {
  const isWell = ({ sites, observers }: StatusAnswer) =>
    sites.every(({ health }) => health === 'healthy') && observers.filter(({ silent }) => !silent).length >= 3;
  await untilStatus(client, 'the observers do not hold both clouds healthy', isWell, signal);
}

/** The cloud that has most left to do; of equals the first. */
export function victimOf(batches: readonly BatchObject[]): CloudName {
  return openLinesOf(batches, 'azure') > openLinesOf(batches, 'aws') ? 'azure' : 'aws';
}

export function openLinesOf(batches: readonly BatchObject[], home: CloudName): number {
  return batches
    .filter(({ holdfast }) => holdfast.home === home)
    .reduce((sum, { request_counts: { total, completed, failed } }) => sum + total - completed - failed, 0);
}

const other = (cloud: CloudName): CloudName => (cloud === 'aws' ? 'azure' : 'aws');

/**
 * Kills a cloud, every process of it at once, and gives what watches the other one take over: called at every look, it
 * tells each step above the bars.
 */
export async function killCloud(
  portBase: number,
  client: HoldfastClient,
  victim: CloudName,
  batches: readonly BatchObject[],
): Promise<{ takeover: Takeover; watch: (now: readonly BatchObject[], progress: Progress) => Promise<void> }> {
  const survivor = client.on(other(victim));
  const { epoch } = await survivor.ops.status();
  const before = new Map(batches.map((batch) => [batch.id, answeredIn(batch, other(victim))]));
  const takeover: Takeover = {
    victim,
    openLines: openLinesOf(batches, victim),
    detectedMs: null,
    fencedMs: null,
    rtoMs: null,
  };
  const killedAt = performance.now();
  await faultControl(portsOf(portBase)).inject({ site: victim, kind: 'kill', ttlMs: 1_000 });
  const watch = async (now: readonly BatchObject[], progress: Progress) => {
    const afterMs = performance.now() - killedAt;
    const say = (line: Text) => progress.note(text`  ${`+${seconds(afterMs)}`.padStart(8)}  ${line}`);
    const status = takeover.fencedMs === null ? await survivor.ops.status().catch(() => undefined) : undefined;
    const site = status?.sites.find((one) => one.site === victim);
    // Its own observer accuses it by silence, and only together with somebody who looked.
    const accusers = site?.accusers.filter((place) => place !== victim) ?? [];
    if (takeover.detectedMs === null && accusers.length > 0) {
      takeover.detectedMs = afterMs;
      say(text`seen to be down by ${accusers.join(' and ')}: ${site!.causes.join(', ')}`);
    }
    if (takeover.fencedMs === null && status !== undefined && status.epoch > epoch && site?.state === 'fenced') {
      takeover.fencedMs = afterMs;
      const { actor, reason } = status.lastChange;
      say(text`entry ${status.epoch} of the control log, by ${actor}: ${victim} is fenced (${reason})`);
    }
    const isRedriven = (batch: BatchObject) =>
      batch.holdfast.home === victim && answeredIn(batch, other(victim)) > before.get(batch.id)!;
    if (takeover.rtoMs === null && now.some(isRedriven)) {
      takeover.rtoMs = afterMs;
      say(text`first result of ${other(victim)} for a batch of ${victim}: the work flows again`);
    }
  };
  return { takeover, watch };
}

/**
 * Starts the killed cloud again and waits until it has all of its weight back, with nobody's help. Tells each entry of
 * the control log on the way.
 * @returns how long that took, ms
 */
export async function bringBack(
  options: { dataDir: string; portBase: number },
  client: HoldfastClient,
  victim: CloudName,
  started: (clouds: LocalClouds) => void,
  { io, print }: Context,
): Promise<number> {
  const survivor = client.on(other(victim));
  let { epoch } = await survivor.ops.status({ signal: io.signal });
  const beganAt = performance.now();
  started(await startClouds({ ...options, only: victim, quiet: true }));
  const say = (line: Text) => print.say(text`  ${`+${seconds(performance.now() - beganAt)}`.padStart(8)}  ${line}`);
  say(text`${victim} answers again; it stays fenced until all observers hold it healthy for long enough`);
  const isBack = async (status: StatusAnswer) => {
    if (status.epoch > epoch) {
      const { history } = await survivor.ops.control({ signal: io.signal });
      for (const entry of history.filter((one) => one.epoch > epoch).reverse())
        say(text`entry ${entry.epoch}, by ${entry.actor}: ${entry.changes.join(', ')} (${entry.reason})`);
      epoch = status.epoch;
    }
    return status.sites.some(({ site, state, weight }) => site === victim && state === 'active' && weight === 100);
  };
  await untilStatus(survivor, `${victim} has not returned`, isBack, io.signal);
  return performance.now() - beganAt;
}

const patienceMs = 600_000;

async function untilStatus(
  client: HoldfastClient,
  failure: string,
  holds: (status: StatusAnswer) => boolean | Promise<boolean>,
  signal: AbortSignal,
): Promise<void> {
  for (const until = performance.now() + patienceMs; ; await pause(1_000, signal)) {
    const status = await client.ops.status({ signal }).catch(() => undefined);
    if (status !== undefined && (await holds(status))) return;
    if (performance.now() > until)
      throw new CliError(exitCodes.no, text`${failure} within ${seconds(patienceMs)}`, [
        text`${status?.headline ?? 'nobody answers'}`,
        ...(status?.byItself ?? []).map((line) => text`${line}`),
      ]);
  }
}
