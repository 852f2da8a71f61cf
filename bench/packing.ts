/**
 * Packing 100,000 lines of lognormal lengths under four token budgets, against next-fit and the lower bound that no
 * packing can beat. Goal: at most 1.02 × the bound, never more calls than next-fit.
 */

import { seededRandom } from '../local/model-server/random.ts';
import { lowerBound, nextFit, pack } from '../shared/batching/pack.ts';
import { median, rounds } from './rounds.ts';
import { table } from './support/table.ts';

const count = 100_000;
const itemTokensMax = 8192;

/** A few hundred tokens in the middle, a long tail up to what a model takes. */
function makeLines(medianTokens: number, spread: number) {
  const random = seededRandom(7);
  const gauss = () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
  return Array.from({ length: count }, () => ({
    items: 1,
    tokens: Math.max(1, Math.min(itemTokensMax, Math.round(medianTokens * Math.exp(spread * gauss())))),
  }));
}

let isMet = true;
const rows: string[][] = [];
for (const medianTokens of [60, 130, 600])
  for (const tokensMax of [8_192, 32_768, 100_000, 300_000]) {
    const lines = makeLines(medianTokens, 1);
    const limits = { itemsMax: 2048, tokensMax, itemTokensMax };
    const bound = lowerBound(lines, limits);
    const packed = pack(lines, limits);
    const seen = new Set(packed.flat());
    if (seen.size !== count) throw new Error('not every line is in exactly one call');
    for (const call of packed)
      if (call.length > limits.itemsMax || call.reduce((sum, { tokens }) => sum + tokens, 0) > tokensMax)
        throw new Error('a call is over a limit');
    const next = nextFit(lines, limits).count;
    const times = rounds(3, { pack: () => void pack(lines, limits), next: () => void nextFit(lines, limits) });
    isMet &&= packed.length <= 1.02 * bound && packed.length <= next;
    rows.push([
      String(medianTokens),
      tokensMax.toLocaleString('en'),
      String(bound),
      String(next),
      String(packed.length),
      (next / bound).toFixed(3),
      (packed.length / bound).toFixed(4),
      `${median(times.pack!).toFixed(0)} ms`,
    ]);
  }
table(['median tokens', 'budget', 'bound', 'next-fit', 'ours', 'next-fit ÷ bound', 'ours ÷ bound', 'time'], rows);
console.log(`goal: ours ÷ bound ≤ 1.02, never more than next-fit: ${isMet ? 'met' : 'MISSED'}`);
process.exitCode = isMet ? 0 : 1;
