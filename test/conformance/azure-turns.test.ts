import { ServiceBusClient } from '@azure/service-bus';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { ownTurn } from '../../functions-azure/adapters/turns.ts';
import { type ServiceBusEmulator, startServiceBusEmulator } from '../../local/servicebus-emulator/src/index.ts';

let emulator: ServiceBusEmulator;
let client: ServiceBusClient;
beforeEach(async () => {
  emulator = await startServiceBusEmulator({ queues: [{ name: 'q' }] });
  client = new ServiceBusClient(emulator.connectionString);
});
afterEach(async () => {
  await client.close();
  await emulator.close();
});

test('messages settled differently in one turn of the event loop keep their own outcomes', async () => {
  const messages = Array.from({ length: 8 }, (_, i) => ({ messageId: String(i), body: i }));
  await client.createSender('q').sendMessages(messages);
  const receiver = client.createReceiver('q');
  const received = await receiver.receiveMessages(8, { maxWaitTimeInMs: 5_000 });
  expect(received).toHaveLength(8);
  await Promise.all(
    received.map(async (message, i) => {
      await ownTurn();
      await (i % 2 === 0 ? receiver.completeMessage(message) : receiver.abandonMessage(message));
    }),
  );
  const left = emulator.queue('q').peekAll();
  expect(left.map(({ messageId }) => messageId).sort()).toEqual(['1', '3', '5', '7']);
});
