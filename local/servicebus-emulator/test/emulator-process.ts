import { startServiceBusEmulator } from '../src/index.ts';

/** Run as a process of its own, to be killed: `node emulator-process.ts DATA_DIR`. Prints its addresses as one JSON line. */
const [, , dataDir] = process.argv;
const emulator = await startServiceBusEmulator({
  dataDir,
  queues: [{ name: 'q', lockDurationMs: 300_000, maxDeliveryCount: 1_000 }],
});
const { connectionString, adminUrl } = emulator;
process.stdout.write(`${JSON.stringify({ connectionString, adminUrl })}\n`);
