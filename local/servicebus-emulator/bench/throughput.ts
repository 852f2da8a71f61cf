import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ServiceBusClient } from '@azure/service-bus';
import { type EmulatorOptions, startServiceBusEmulator } from '../src/index.ts';

/**
 * Messages a second through the SDK, client and emulator in one process: `node bench/throughput.ts [MESSAGES]`.
 * Most of the time is the client's, so this is a lower bound of what the emulator takes.
 */
const messages = Number(process.argv[2] ?? 20_000);
const body = { text: 'x'.repeat(1_000) };
const message = (index: number) => ({ body, messageId: `m${index}` });

for (const dataDir of [undefined, mkdtempSync(join(tmpdir(), 'servicebus-emulator-'))]) {
  const options: EmulatorOptions = { dataDir, queues: [{ name: 'q', maxSizeBytes: 5 * 1_024 ** 3 }] };
  const emulator = await startServiceBusEmulator(options);
  const client = new ServiceBusClient(emulator.connectionString);
  const sender = client.createSender('q');
  await sender.sendMessages(message(-1));
  const where = dataDir ? 'on disk' : 'in memory';

  await measure(`${where}: send, 100 to a batch`, async () => {
    for (let from = 0; from < messages; from += 100) {
      await sender.sendMessages(Array.from({ length: 100 }, (_, index) => message(from + index)));
    }
  });
  await measure(`${where}: send one by one, 500 under way`, async () => {
    for (let from = 0; from < messages; from += 500) {
      await Promise.all(Array.from({ length: 500 }, (_, index) => sender.sendMessages(message(from + index))));
    }
  });
  await measure(`${where}: receive and complete, 500 a call`, async () => {
    const receiver = client.createReceiver('q', { maxAutoLockRenewalDurationInMs: 0 });
    for (let received = 0; received < messages; received += 500) {
      const batch = await receiver.receiveMessages(500);
      await Promise.all(batch.map((one) => receiver.completeMessage(one)));
    }
  });
  if (dataDir) {
    await client.close();
    await emulator.close();
    let reopened: typeof emulator | undefined;
    await measure(`${where}: load what is left`, async () => {
      reopened = await startServiceBusEmulator(options);
    });
    await reopened?.close();
    rmSync(dataDir, { recursive: true });
  } else {
    await client.close();
    await emulator.close();
  }
}

async function measure(what: string, run: () => Promise<void>): Promise<void> {
  const start = performance.now();
  await run();
  const perSecond = Math.round((messages / (performance.now() - start)) * 1_000);
  console.log(`${what.padEnd(45)} ${perSecond.toLocaleString('en')} messages/s`);
}
