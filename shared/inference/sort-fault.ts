import type { BackendReply } from './backend.ts';

/**
 * What a reply means for the lines that were in the call (DESIGN.md section 6):
 * - `good`: an answer
 * - `line`: the request itself is refused: terminal once confirmed
 * - `malformed`: an answer that is none; spends an attempt
 * - `backend`: throttled, failing or slow; tried again, spends nothing
 * - `site`: nobody is served (credentials, name, connection); spends nothing and feeds the verdict
 */
export type FaultSort = 'good' | 'line' | 'malformed' | 'backend' | 'site';

/** Statuses by which a server refuses one request as such. Anything else of 400 to 499 is configuration or weather. */
const lineStatuses = new Set([400, 413, 422]);

/** Sorts one reply by itself. Whether many `line` replies at once are the backend's fault is judged above. */
export function sortFault(reply: BackendReply): FaultSort {
  if (reply.kind === 'unreachable') return 'site';
  if (reply.kind === 'timeout') return 'backend';
  const { status } = reply;
  if (status === 401 || status === 403 || status === 407) return 'site';
  if (status >= 200 && status < 300)
    return reply.kind === 'malformed' || hasErrorInside(reply.body) ? 'malformed' : 'good';
  // A proxy's HTML page with status 400 says nothing about the line.
  return lineStatuses.has(status) && reply.kind === 'answered' ? 'line' : 'backend';
}

/** True if the reply asks for less: the concurrency is cut. */
export function isThrottle(reply: BackendReply): boolean {
  return reply.kind === 'timeout' || ('status' in reply && (reply.status === 429 || reply.status === 503));
}

function hasErrorInside(body: unknown): boolean {
  if (typeof body !== 'object' || body === null || Array.isArray(body)) return true;
  const error = (body as { error?: unknown }).error;
  return error !== undefined && error !== null;
}
