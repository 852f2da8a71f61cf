import { run } from './program.ts';

/** Second Ctrl-C: leave at once. One keypress may arrive twice, by way of a parent process. */
const againMs = 500;

const interrupt = new AbortController();
let firstAt = 0;
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
  process.on(signal, () => {
    if (!interrupt.signal.aborted) {
      firstAt = Date.now();
      interrupt.abort(new Error(signal));
    } else if (Date.now() - firstAt > againMs) process.exit(130);
  });
// Whoever reads us may have heard enough: `holdfast status | head -1`.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0);
  throw error;
});

const { stdout, stderr, env } = process;
process.exitCode = await run(process.argv.slice(2), { stdout, stderr, env, signal: interrupt.signal });
