import { runs } from './runs.ts';

/** The other end of `apart.ts`. */
process.on('message', async ({ name, question }: { name: keyof typeof runs; question: never }) => {
  try {
    process.send!({ answer: await runs[name](question) });
  } catch (error) {
    process.send!({ error: String((error as Error).stack ?? error) });
  }
});
process.on('disconnect', () => process.exit());
