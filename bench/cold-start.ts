import { spawnSync } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { build } from 'esbuild';
import { buildFunctions } from '../scripts/build.ts';

/**
 * What each bundle costs a cold start above an empty Node, beside a plain bundle of the SDKs it needs. All are measured
 * in turn, round after round, so that a busy moment of the machine meets every one of them.
 *
 * node bench/cold-start.ts [rounds, default 30]
 */
const root = resolve(import.meta.dirname, '..');

/** What a worker needs of its own cloud, imported at the top of a file and made, as most functions do. */
const plain = {
  'plain AWS SDK': `import { S3Client, PutObjectCommand, GetObjectCommand, ListObjectsV2Command } from '@aws-sdk/client-s3';
    import { SQSClient, SendMessageBatchCommand, ChangeMessageVisibilityCommand } from '@aws-sdk/client-sqs';
    globalThis.kept = [new S3Client({ region: 'us-east-1' }), new SQSClient({ region: 'us-east-1' }),
      PutObjectCommand, GetObjectCommand, ListObjectsV2Command, SendMessageBatchCommand, ChangeMessageVisibilityCommand];`,
  'plain Azure SDK': `import { BlobServiceClient } from '@azure/storage-blob';
    import { ServiceBusClient } from '@azure/service-bus';
    import { DefaultAzureCredential } from '@azure/identity';
    const credential = new DefaultAzureCredential();
    globalThis.kept = [new BlobServiceClient('https://x.blob.core.windows.net', credential),
      new ServiceBusClient('x.servicebus.windows.net', credential)];`,
};

async function measured(folder: string): Promise<Map<string, string>> {
  const files = new Map<string, string>();
  const empty = join(folder, 'empty.mjs');
  await writeFile(empty, '');
  files.set('empty Node', empty);
  for (const [name, contents] of Object.entries(plain)) {
    const outfile = join(folder, `${name.replaceAll(' ', '-')}.cjs`);
    await build({
      stdin: { contents, resolveDir: root, loader: 'ts' },
      bundle: true,
      platform: 'node',
      format: 'cjs',
      minify: true,
      outfile,
      logLevel: 'error',
    });
    files.set(name, outfile);
  }
  for (const { entry } of await buildFunctions(folder)) files.set(entry, join(folder, entry));
  return files;
}

interface Cost {
  wallMs: number;
  /** User and system time: steadier than the wall's on a machine that does other things. */
  cpuMs: number;
}

/** What a whole process costs that loads `file` and ends. */
function once(file: string): Cost {
  const started = performance.now();
  const load = `await import(${JSON.stringify(file)}); const { user, system } = process.cpuUsage();
    process._rawDebug(user + system); process.exit(0)`;
  const { status, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', load], { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${file}: ${stderr}`);
  return { wallMs: performance.now() - started, cpuMs: Number(stderr.trim().split('\n').at(-1)) / 1000 };
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1]!;
}

const rounds = Number(process.argv[2] ?? 30);
const folder = await mkdtemp(join(tmpdir(), 'holdfast-cold-start-'));
try {
  const files = await measured(folder);
  const costs = new Map([...files.keys()].map((name) => [name, [] as Cost[]]));
  for (const file of files.values()) once(file);
  for (let round = 0; round < rounds; round++) for (const [name, file] of files) costs.get(name)!.push(once(file));
  const empty = costs.get('empty Node')!;
  console.log(`Medians of ${rounds} rounds, ms above the empty Node of the same round`);
  console.log(`${'loaded'.padEnd(34)}    wall     cpu`);
  for (const [name, values] of costs) {
    const above = (kind: keyof Cost) => median(values.map((cost, round) => cost[kind] - empty[round]![kind]));
    console.log(`${name.padEnd(34)}${above('wallMs').toFixed(1).padStart(8)}${above('cpuMs').toFixed(1).padStart(8)}`);
  }
} finally {
  await rm(folder, { recursive: true });
}
