/** The model server by itself: `node local/model-server/main.ts --port 4900 --name aws`. Prints its URL when it listens. */
import { Command, InvalidArgumentError } from 'commander';
import { parseServerBehaviour } from './behaviour.ts';
import { type ModelServerBehaviour, seededRandom, startModelServer } from './index.ts';

interface Flags {
  readonly port: number;
  readonly host: string;
  readonly name: string;
  readonly model?: string[];
  readonly behaviour?: ModelServerBehaviour;
  readonly seed?: number;
}

const flags = new Command()
  .name('model-server')
  .description('An OpenAI-compatible model server for one machine, with settable latency, limits and faults.')
  .option('--port <number>', 'port to listen on; 0: any free one', readWhole, 0)
  .option('--host <address>', 'address to listen on', '127.0.0.1')
  .option('--name <cloud>', 'which cloud it stands in for', 'local')
  .option('--model <name>', 'a model to serve, repeatable; without it any name is a model', collect)
  .option('--behaviour <json>', 'behaviour by model, as in \'{"*":{"latency":{"ms":50}}}\'', readBehaviour)
  .option('--seed <number>', 'makes faults, latency and ids repeatable', readWhole)
  .parse()
  .opts<Flags>();

const server = await startModelServer({
  host: flags.host,
  port: flags.port,
  name: flags.name,
  ...(flags.model ? { models: flags.model } : {}),
  ...(flags.behaviour ? { behaviour: flags.behaviour } : {}),
  ...(flags.seed === undefined ? {} : { random: seededRandom(flags.seed) }),
});
console.log(server.url);
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => void server.close());

function readWhole(text: string): number {
  if (!/^\d+$/.test(text)) throw new InvalidArgumentError('must be a whole number.');
  return Number(text);
}

function readBehaviour(text: string): ModelServerBehaviour {
  try {
    return parseServerBehaviour(JSON.parse(text));
  } catch (error) {
    throw new InvalidArgumentError((error as Error).message);
  }
}

function collect(name: string, names: string[] = []): string[] {
  return [...names, name];
}
