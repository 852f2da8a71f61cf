/**
 * Anti-entropy: what one journal lacks is copied from the other, any number of times, in an order in which nothing ever
 * refers to what is absent (DESIGN.md section 4). `state` is never copied, but for the hint of a batch that arrives.
 */
export type { Tally } from './copy.ts';
export { mirrorBatch } from './mirror-batch.ts';
export { type SyncReport, syncJournals } from './sync.ts';
