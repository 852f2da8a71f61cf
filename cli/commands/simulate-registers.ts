import type { Context } from '../command.ts';
import { type ExitCode, exitCodes } from '../exit.ts';
import { text } from '../text.ts';

/** Searches the registers by themselves, every schedule within bounds; the wide bounds too, which takes minutes. */
export async function simulateRegisters({ print, io }: Context): Promise<ExitCode> {
  const { describeSearch, largeBounds, searchRegisters, smallBounds } = await import(
    '../../local/simulator/registers/index.ts'
  );
  const totals = { ok: true, searches: 0, states: 0, steps: 0, violation: null as string | null };
  for await (const searched of searchRegisters([...smallBounds, ...largeBounds])) {
    io.signal.throwIfAborted();
    const { states, transitions, violation } = searched.result;
    totals.searches += 1;
    totals.states += states;
    totals.steps += transitions;
    print.say(text`${describeSearch(searched)}`);
    if (violation === undefined) continue;
    totals.ok = false;
    totals.violation = `${searched.bounds.name}: ${violation.rule}`;
    for (const step of violation.schedule) print.say(text`    ${step}`);
  }
  print.result(totals, () => [
    text``,
    text`${totals.searches} searches, ${totals.states} states, ${totals.steps} steps: ${totals.ok ? 'one value each, for everybody' : 'BROKEN'}`,
  ]);
  return totals.ok ? exitCodes.ok : exitCodes.no;
}
