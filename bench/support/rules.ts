/** What a rule sees when it is asked: jobs that wait, oldest first, with their arrival times. */
export interface Seen {
  now: number;
  waiting: number;
  oldestAt: number;
  newestAt: number;
  /** A call may start. */
  isFree: boolean;
}

/** Either so many jobs go in one call now, or the rule wants to be asked again at a moment, if nothing happens before. */
export type Choice = { send: number } | { lookAt: number };

/** When to send, as a plain function, asked at each arrival, at each end of a call, and when it wished. */
export interface Rule {
  name: string;
  choose(seen: Seen): Choice;
  /** A call of `jobs` took `ms`, after its oldest job had waited `waitedMs`; `isLate` if any job missed its deadline. */
  ended?(jobs: number, ms: number, waitedMs: number, isLate: boolean): void;
}

export interface Limits {
  deadlineMs: number;
  jobsMax: number;
  /** True cost of a call of n jobs in the mean, for rules that are given a profile. */
  profile(jobs: number): number;
}

const never: Choice = { lookAt: Number.POSITIVE_INFINITY };

/** Whatever waits goes as soon as a call may start. */
export const sendAtOnce = ({ jobsMax }: Limits): Rule => ({
  name: 'send at once',
  choose: ({ waiting, isFree }) => (isFree ? { send: Math.min(waiting, jobsMax) } : never),
});

/** A call goes when its oldest job has waited for so long, or when it is full. */
export const fixedWindow = ({ jobsMax }: Limits, windowMs: number): Rule => ({
  name: `window ${windowMs} ms`,
  choose({ now, waiting, oldestAt, isFree }) {
    if (!isFree) return never;
    if (waiting >= jobsMax || now >= oldestAt + windowMs) return { send: Math.min(waiting, jobsMax) };
    return { lookAt: oldestAt + windowMs };
  },
});

/**
 * Clipper: no waiting; the largest batch grows by a step while batches stay within the objective, and shrinks by a tenth
 * when one does not. @source Crankshaw et al., Clipper, NSDI 2017, section 4.3
 */
export function clipper({ deadlineMs, jobsMax }: Limits): Rule {
  let most = 1;
  return {
    name: 'Clipper',
    choose: ({ waiting, isFree }) => (isFree ? { send: Math.min(waiting, Math.floor(most), jobsMax) } : never),
    ended(jobs, ms) {
      if (ms > deadlineMs) most = Math.max(1, most * 0.9);
      else if (jobs >= Math.floor(most)) most = Math.min(jobsMax, most + 4);
    },
  };
}

/**
 * BentoML: a call is held back as long as holding it costs those that wait less than it saves, judged by a regression of
 * duration on size and by the mean wait of late, and not beyond the latency objective.
 * @source https://github.com/bentoml/BentoML/blob/main/docs/source/guides/micro_batching.rst 2026-11
 */
export function bentoMl({ deadlineMs, jobsMax }: Limits): Rule {
  const tickMs = 1;
  let [sumN, sumT, sumNN, sumNT, count] = [0, 0, 0, 0, 0];
  let meanWait = 0;
  let perJob = 0;
  let base = 0;
  return {
    name: 'BentoML',
    choose({ now, waiting, oldestAt, newestAt, isFree }) {
      if (!isFree) return never;
      const isAtLimit = waiting >= jobsMax || now - oldestAt + base + perJob * waiting >= deadlineMs;
      const isWorthIt = waiting * (now - newestAt + tickMs + perJob) <= 0.95 * meanWait;
      return !isAtLimit && isWorthIt ? { lookAt: now + tickMs } : { send: Math.min(waiting, jobsMax) };
    },
    ended(jobs, ms, waitedMs) {
      const kept = 0.99;
      [sumN, sumT, sumNN, sumNT, count] = [
        sumN * kept + jobs,
        sumT * kept + ms,
        sumNN * kept + jobs * jobs,
        sumNT * kept + jobs * ms,
        count * kept + 1,
      ];
      const spread = count * sumNN - sumN * sumN;
      perJob = spread > 1e-6 ? Math.max(0, (count * sumNT - sumN * sumT) / spread) : 0;
      base = Math.max(0, (sumT - perJob * sumN) / count);
      meanWait += (waitedMs - meanWait) * 0.05;
    },
  };
}

/**
 * Proteus: waits until one job more would make the oldest late, by the profile that it was given.
 * @source Ahmad et al., Proteus, ASPLOS 2024, section 5
 */
export const proteus = ({ deadlineMs, jobsMax, profile }: Limits): Rule => ({
  name: 'Proteus',
  choose({ now, waiting, oldestAt, isFree }) {
    if (!isFree) return never;
    const latest = oldestAt + deadlineMs - profile(waiting + 1);
    return waiting >= jobsMax || now >= latest ? { send: Math.min(waiting, jobsMax) } : { lookAt: latest };
  },
});
