import { gigabyteSecondPrices, unitPrices } from '../../../shared/cost/prices.ts';
import { calls } from './calls.ts';
import type { Usage } from './floor.ts';
import { type Cloud, clouds, otherCloud, type PlanLimits } from './limits.ts';

/** Dollars of one world. */
export interface Cost {
  inference: Record<Cloud, number>;
  /** Stores, queues, functions and what crosses between the clouds. */
  plumbing: Record<Cloud, number>;
  /** What of the inference was computed again. */
  repeats: number;
  total: number;
}

/** What a world cost at list prices. @param isApart each cloud by itself: nothing is written twice */
export function costOf(
  usage: Readonly<Record<Cloud, Usage>>,
  repeats: number,
  limits: PlanLimits,
  isApart: boolean,
): Cost {
  const inference = byCloud((id) => {
    const { inputPerMillion, outputPerMillion } = limits.clouds[id].price;
    return (usage[id].inputTokens * inputPerMillion + usage[id].outputTokens * outputPerMillion) / 1e6;
  });
  const plumbing = byCloud((id) => plumbingOf(id, usage, isApart));
  const made = usage.aws.calls + usage.azure.calls;
  const sum = inference.aws + inference.azure;
  return {
    inference,
    plumbing,
    repeats: made === 0 ? 0 : (sum * repeats) / made,
    total: sum + plumbing.aws + plumbing.azure,
  };
}

function plumbingOf(id: Cloud, usage: Readonly<Record<Cloud, Usage>>, isApart: boolean): number {
  const price = unitPrices[id];
  const [own, other] = [usage[id], usage[otherCloud(id)]];
  const storeCalls = (kind: 'storeWrite' | 'storeRead' | 'storeList') =>
    own.runs * calls.perChunk.own[kind] +
    own.batches * calls.perBatch.own[kind] +
    (isApart ? 0 : other.runs * calls.perChunk.other[kind] + other.batches * calls.perBatch.other[kind]);
  const store =
    (storeCalls('storeWrite') + storeCalls('storeList')) * price.store_write +
    storeCalls('storeRead') * price.store_read;
  const queue = (own.messages * calls.perChunk.queue[id] + own.batches * calls.perBatch.queue[id]) * price.queue_call;
  const { gigabytes, messages } = calls.worker[id];
  const functions = (own.workedMs / 1_000 / messages) * gigabytes * gigabyteSecondPrices[id];
  const egress = (isApart ? 0 : own.mirroredBytes) * price.bytes_to_other_cloud;
  return store + queue + functions + egress;
}

const byCloud = (of: (id: Cloud) => number): Record<Cloud, number> =>
  Object.fromEntries(clouds.map((id) => [id, of(id)])) as Record<Cloud, number>;
