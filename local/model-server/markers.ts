import { type FaultKind, REFUSING_FAULTS, SPOILING_FAULTS } from './behaviour.ts';

/** What a text in the input asks this server to do, for tests that need one certain line to fail. */
export type Marked = { readonly status: number } | { readonly fault: FaultKind };

const MARKER = /\[\[(?:status:([45]\d\d)|fault:([a-z_0-9]+)|(crash|hang))\]\]/;

/**
 * The first marker in the texts of a call: `[[status:400]]` (400 to 599), `[[crash]]` (closes the connection),
 * `[[hang]]`, or `[[fault:KIND]]` for any fault. Null if there is none; a fault nobody knows is no marker.
 */
export function findMarker(texts: readonly string[]): Marked | null {
  for (const text of texts) {
    if (!text.includes('[[')) continue;
    const match = MARKER.exec(text);
    if (!match) continue;
    const [, status, fault, plain] = match;
    if (status !== undefined) return { status: Number(status) };
    if (plain !== undefined) return { fault: plain === 'hang' ? 'hang' : 'reset' };
    if (isFault(fault)) return { fault };
  }
  return null;
}

function isFault(kind: string | undefined): kind is FaultKind {
  return [...REFUSING_FAULTS, ...SPOILING_FAULTS].some((known) => known === kind);
}
