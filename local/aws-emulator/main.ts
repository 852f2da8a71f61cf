/** The AWS emulator as a process of its own: `node local/aws-emulator/main.ts '{"port":4566,"dataDir":"…","buckets":["b"]}'`. */
import { type AwsEmulatorOptions, startAwsEmulator } from './index.ts';

const emulator = await startAwsEmulator(JSON.parse(process.argv[2] ?? '{}') as AwsEmulatorOptions);
console.log(JSON.stringify({ ready: true, url: emulator.endpoint, pid: process.pid }));
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => void emulator.close().then(() => process.exit(0)));
}
