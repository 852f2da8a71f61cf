export { planBatch } from './planner.ts';
export { publishBatch } from './publisher.ts';
export { type SweepReport, sweep } from './sweeper.ts';
export { work } from './work.ts';
