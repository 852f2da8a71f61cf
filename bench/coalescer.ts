/**
 * Ten thousand submits, each awaited, answered by calls that share them. Goal: at most 2 × the time of `dataloader`,
 * with budgets (items, tokens) and a deadline for each item, which it does not have. `ours` is as the client's `Enqueuer`
 * uses it; `worker` also knows when each came, so that a call can be shared in two.
 */
import DataLoader from 'dataloader';
import PQueue from 'p-queue';
import { systemClock } from '../runtime/machine.ts';
import { Coalescer } from '../shared/batching/coalescer.ts';
import { CostModel } from '../shared/batching/cost-model.ts';
import { median, medianRatio, roundsAsync } from './rounds.ts';
import { table } from './support/table.ts';

const count = 10_000;
const perCall = 500;
const inputs = Array.from({ length: count }, (_, i) => i);
let calls = 0;
const call = async (batch: readonly number[]): Promise<number[]> => {
  calls += 1;
  return batch.map((n) => 2 * n);
};

interface Item {
  n: number;
  items: number;
  weight: number;
  deadline: number;
  resolve(answer: number): void;
}

async function coalesced(isWorker: boolean): Promise<number[]> {
  const cost = new CostModel();
  const coalescer = new Coalescer<Item>({
    clock: systemClock,
    itemsMax: perCall,
    weightMax: 1_000_000,
    lingerMs: 5,
    cost,
    ...(isWorker && { nextEndAt: () => undefined }),
    send(gathered, why) {
      for (let from = 0; from < gathered.length; from += perCall) {
        const part = gathered.slice(from, from + perCall);
        if (why === 'full' && part.length < perCall) return part;
        void call(part.map(({ n }) => n)).then((answers) => {
          for (const [i, answer] of answers.entries()) part[i]!.resolve(answer);
        });
      }
      return undefined;
    },
  });
  const deadline = Date.now() + 10_000;
  return Promise.all(
    inputs.map((n) => new Promise<number>((resolve) => coalescer.add({ n, items: 1, weight: 100, deadline, resolve }))),
  );
}

async function dataloader(): Promise<number[]> {
  const loader = new DataLoader<number, number>(call, { maxBatchSize: perCall, cache: false });
  return Promise.all(inputs.map((n) => loader.load(n)));
}

/** It shares nothing: every submit is a call. */
async function pQueue(): Promise<number[]> {
  const queue = new PQueue({ concurrency: 64 });
  return Promise.all(inputs.map((n) => queue.add(async () => (await call([n]))[0]!)));
}

const ours = () => coalesced(false);
const worker = () => coalesced(true);
const rivals = { ours, worker, dataloader, pQueue };
const expected = JSON.stringify(inputs.map((n) => 2 * n));
const made: Record<string, number> = {};
for (const [name, run] of Object.entries(rivals)) {
  calls = 0;
  if (JSON.stringify(await run()) !== expected) throw new Error(`${name}: not the same answers`);
  made[name] = calls;
}
// One run of `p-queue` takes as long as fifty of the others.
const times = {
  ...(await roundsAsync(5, { dataloader, pQueue })),
  ...(await roundsAsync(101, { ours, worker, dataloader })),
};
const ratio = Math.max(medianRatio(times.ours!, times.dataloader!), medianRatio(times.worker!, times.dataloader!));
table(
  ['10,000 submits', 'ms', 'calls', '÷ dataloader'],
  Object.keys(rivals).map((name) => [
    name,
    median(times[name]!).toFixed(2),
    String(made[name]),
    (name === 'pQueue'
      ? median(times[name]!) / median(times.dataloader!)
      : medianRatio(times[name]!, times.dataloader!)
    ).toFixed(2),
  ]),
);
console.log(`goal: ours ≤ 2 × dataloader: ${ratio <= 2 ? 'met' : 'MISSED'}`);
process.exitCode = ratio <= 2 ? 0 : 1;
