import type { Context } from '../command.ts';
import { type ExitCode, exitCodes } from '../exit.ts';
import { text } from '../text.ts';

/**
 * Lets something die at every call of a batch's life, of a failover with its redrive, and of a failback: each death in
 * a run of its own, judged like any other. A long run: thousands of points, up to four deaths each.
 * @param every one point in so many is tried; 1: all
 */
export async function simulateCrashPoints(every: number, { print, io }: Context): Promise<ExitCode> {
  const { crashAt, crashPointsOf, crashStories } = await import('../../local/simulator/crash-points.ts');
  const totals = { ok: true, points: 0, tried: 0, runs: 0, failed: [] as string[] };
  let toldAt = performance.now();
  for (const story of crashStories) {
    const points = await crashPointsOf(story);
    const chosen = points.filter((_, i) => i % every === 0);
    totals.points += points.length;
    print.say(text`${story.name}: ${points.length} points, of which ${chosen.length} are tried`);
    for (const [i, point] of chosen.entries()) {
      for (const death of point.deaths) {
        io.signal.throwIfAborted();
        const { violations } = await crashAt(point, death);
        totals.runs += 1;
        if (violations.length === 0) continue;
        totals.ok = false;
        totals.failed.push(`${story.name}, ${point.at}: ${death}`);
        print.say(text`  BROKEN at ${point.at}, ${point.call}; dies: ${death}`);
        for (const { invariant, sentence } of violations.slice(0, 3)) print.say(text`    ${invariant}  ${sentence}`);
      }
      totals.tried += 1;
      if (performance.now() - toldAt < 10_000) continue;
      toldAt = performance.now();
      print.note(text`  ${i + 1} of ${chosen.length}`);
    }
  }
  print.result(totals, () => [
    text``,
    text`${totals.tried} of ${totals.points} points tried, ${totals.runs} deaths: ${totals.ok ? 'every promise held' : `${totals.failed.length} BROKEN`}`,
  ]);
  return totals.ok ? exitCodes.ok : exitCodes.no;
}
