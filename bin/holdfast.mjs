#!/usr/bin/env node
// Runs the command line on Node 24 or later, whatever `node` was found first: the sources are TypeScript that Node runs
// as they are. Older ones start the Node that package.json pins.
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { constants } from 'node:os';
import { fileURLToPath } from 'node:url';

const main = fileURLToPath(new URL('../cli/main.ts', import.meta.url));

if (Number(process.versions.node.split('.')[0]) >= 24) await import('../cli/main.ts');
else runPinned(fileURLToPath(new URL('../node_modules/node/bin/node', import.meta.url)));

function runPinned(node) {
  if (!existsSync(node)) {
    console.error(
      `holdfast: this is Node ${process.version}, and Holdfast needs 24 or later. Run "npm ci", which brings one.`,
    );
    process.exitCode = 2;
    return;
  }
  const child = spawn(node, [main, ...process.argv.slice(2)], { stdio: 'inherit' });
  // A terminal sends Ctrl-C to both processes; the child takes two in quick succession for one.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal));
  child.on('error', (error) => {
    console.error(`holdfast: ${node} does not start: ${error.message}`);
    process.exitCode = 2;
  });
  child.on('exit', (code, signal) => {
    process.exitCode = code ?? 128 + (constants.signals[signal] ?? 0);
  });
}
