/** A server with so many places, a call of n jobs taking `baseMs + perJobMs · n` at least. */
export interface Fastest {
  slots: number;
  jobsMax: number;
  baseMs: number;
  perJobMs: number;
}

const gridMs = 50;
/** Longest stretch of arrivals that is looked at: every load here has its worst within that. */
const stretchMs = 20_000;

/** Most jobs that one place can serve in so much time: in few calls, each of them full. */
function servedIn(ms: number, { jobsMax, baseMs, perJobMs }: Fastest): number {
  let most = 0;
  for (let calls = 1; calls * baseMs < ms; calls++) {
    const jobs = Math.min(calls * jobsMax, Math.floor((ms - calls * baseMs) / perJobMs));
    if (jobs < most) break;
    most = jobs;
  }
  return most;
}

/**
 * Jobs that come too late whatever the rule is, and if it knew all arrivals beforehand: what came between two moments
 * can only be served between the first of them and the deadline of the last. The worst such stretch counts, no other: so
 * there may be more of them, and not fewer.
 * @param arrivals ms, ascending
 */
export function lateByAnyRule(arrivals: Float64Array, deadlineMs: number, server: Fastest): number {
  if (arrivals.length === 0) return 0;
  const cells = Math.floor(arrivals.at(-1)! / gridMs) + 1;
  const before = new Uint32Array(cells + 1);
  for (const at of arrivals) before[Math.floor(at / gridMs) + 1]! += 1;
  for (let i = 1; i <= cells; i++) before[i]! += before[i - 1]!;
  const spans = Math.min(cells, stretchMs / gridMs);
  const served = Array.from({ length: spans + 1 }, (_, span) =>
    span === 0 ? 0 : server.slots * servedIn(span * gridMs + deadlineMs, server),
  );
  let worst = 0;
  for (let from = 0; from < cells; from++)
    for (let span = 1; span <= spans && from + span <= cells; span++)
      worst = Math.max(worst, before[from + span]! - before[from]! - served[span]!);
  return worst;
}
