import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

/** An emulator in a process of its own, so that it can be killed and its memory is not ours. */
export interface EmulatorProcess<Ready> {
  ready: Ready;
  /** `kill -9`; resolves when the process is gone. */
  kill(): Promise<void>;
}

/** Starts `module`, calls its export `start` with `options` and answers with what it resolves to, less its functions. */
export async function spawnEmulator<Ready>(
  module: string,
  start: string,
  options: unknown,
): Promise<EmulatorProcess<Ready>> {
  const script = `
    import(process.argv[1]).then(async (module) => {
      const ready = await module[process.argv[2]](JSON.parse(process.argv[3]));
      console.log(JSON.stringify(ready));
    });
    process.stdin.on('end', () => process.exit()).resume();`;
  const path = fileURLToPath(new URL(`../../${module}`, import.meta.url));
  const child: ChildProcess = spawn(process.execPath, ['-e', script, path, start, JSON.stringify(options)], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const exited = once(child, 'exit');
  const lines = createInterface({ input: child.stdout! });
  const first = await Promise.race([once(lines, 'line'), exited.then(() => undefined)]);
  if (first === undefined) throw new Error(`${module} ended before it was ready`);
  return {
    ready: JSON.parse(first[0]),
    async kill() {
      child.kill('SIGKILL');
      await exited;
    },
  };
}
