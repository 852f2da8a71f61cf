/**
 * Prints what each handler allocates for a record, bytes: to be started with `--expose-gc` and a young generation so large
 * that nothing is collected meanwhile. Arguments: records of an event, per cent that fail, `asTheyCome` or `allGivingBack`.
 */
import { PerformanceObserver } from 'node:perf_hooks';
import { allGivingBack, asTheyCome, eventOf } from './handlers.ts';

const [count, failing] = [Number(process.argv[2]), Number(process.argv[3])];
const rivals = process.argv[4] === 'allGivingBack' ? allGivingBack : asTheyCome;
const event = eventOf(count, failing);

let collections = 0;
const observer = new PerformanceObserver((list) => {
  collections += list.getEntries().length;
});
observer.observe({ entryTypes: ['gc'] });
const noted = () => new Promise((resolve) => setTimeout(resolve, 20));

/** Enough that what is compiled and grown once weighs nothing; compiled first, by as many again. */
const events = Math.max(3, Math.round(30_000 / count));
const bytes: Record<string, number> = {};
for (const [name, run] of Object.entries(rivals)) {
  for (let i = 0; i < events; i++) await run(event);
  gc!();
  await noted();
  collections = 0;
  const before = process.memoryUsage().heapUsed;
  for (let i = 0; i < events; i++) await run(event);
  const allocated = process.memoryUsage().heapUsed - before;
  await noted();
  if (collections > 0) throw new Error(`${name}: ${collections} collections while bytes were counted`);
  bytes[name] = allocated / (count * events);
}
console.log(JSON.stringify(bytes));
