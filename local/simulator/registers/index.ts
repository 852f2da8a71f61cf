import * as core from '../../../shared/journal/registers.ts';
import { type Bounds, type SearchResult, search } from './search.ts';

export { largeBounds, smallBounds } from './bounds.ts';
export type { RegisterCode } from './process.ts';
export { type Bounds, type SearchResult, search, type Violation } from './search.ts';

/** One search that is done. */
export interface Searched {
  bounds: Bounds;
  result: SearchResult;
}

/** Searches the registers of the core within each of `bounds`, one after the other, as far as the first violation. */
export async function* searchRegisters(bounds: readonly Bounds[]): AsyncGenerator<Searched> {
  for (const each of bounds) {
    const result = await search(each, core);
    yield { bounds: each, result };
    if (result.violation !== undefined) return;
  }
}

/** `two proposers: 39,387 states, 117,250 steps, 2.3e9 schedules; decided v1 or v2`. */
export function describeSearch({ bounds, result }: Searched): string {
  const { states, transitions, schedules, histories, decided, violation } = result;
  const count = (value: number) =>
    value < 1e7 ? value.toLocaleString('en-US') : value.toExponential(1).replace('+', '');
  const sizes = `${count(states)} states, ${count(transitions)} steps, ${count(schedules)} schedules, ${count(histories)} histories`;
  return `${bounds.name}: ${sizes}; decided ${decided.join(' or ') || 'nothing'}${violation === undefined ? '' : `; BROKEN: ${violation.rule}`}`;
}
