import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

/** One chat request as a line of an input file, without its line end. */
export function chatLine(customId: string, model: string, content = 'Say yes.'): string {
  const body = { model, messages: [{ role: 'user', content }], max_tokens: 16 };
  return JSON.stringify({ custom_id: customId, method: 'POST', url: '/v1/chat/completions', body });
}

/** A file on disk, removed with its folder. */
export interface GeneratedFile {
  readonly path: string;
  readonly bytes: number;
  readonly lines: number;
  readonly sha256: string;
  remove(): void;
}

/** Writes `lines` chat requests of exactly `lineBytes` bytes each, a few at a time: never the file in memory. */
export async function generateFile(lines: number, lineBytes: number, model: string): Promise<GeneratedFile> {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-large-'));
  const path = join(folder, 'large.jsonl');
  const passage = 'The keeper counts the ships that come in before the tide turns and writes down each name. ';
  const frame = chatLine(customIdOf(0), model, '').length + 1;
  const content = passage.repeat(Math.ceil(lineBytes / passage.length)).slice(0, lineBytes - frame);
  const hash = createHash('sha256');
  const file = await open(path, 'w');
  try {
    const piece = 500;
    for (let first = 0; first < lines; first += piece) {
      const numbers = Array.from({ length: Math.min(piece, lines - first) }, (_, i) => first + i);
      const text = numbers.map((line) => `${chatLine(customIdOf(line), model, content)}\n`).join('');
      hash.update(text);
      await file.write(text);
    }
  } finally {
    await file.close();
  }
  const remove = () => rmSync(folder, { recursive: true, force: true });
  return { path, bytes: lines * lineBytes, lines, sha256: hash.digest('hex'), remove };
}

/** `custom_id` of a line (0-based) of a generated file. */
export function customIdOf(line: number): string {
  return `line-${String(line).padStart(6, '0')}`;
}

/** What a command printed, and how it ended. */
export interface Finished {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs the `holdfast` command as people do: `bin/holdfast.mjs` in a process of its own. */
export function holdfast(args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Finished> {
  const bin = resolve(import.meta.dirname, '../../bin/holdfast.mjs');
  const child = spawn(process.execPath, [bin, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...env },
  });
  const heard = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const)
    child[name].setEncoding('utf8').on('data', (text: string) => {
      heard[name] += text;
    });
  return new Promise((finished, failed) => {
    child.once('error', failed);
    child.once('close', (code) => finished({ code, ...heard }));
  });
}

/** Watches how much memory processes take. */
export interface MemoryWatch {
  /** By process: the most it held since the baseline, less the baseline, in bytes. */
  growth(): Map<number, number>;
  stop(): void;
}

const sampleMs = 100;

/** Takes the baseline now, and a sample of each process ten times a second. A process that ends keeps its last mark. */
export function watchMemory(pids: readonly number[]): MemoryWatch {
  const baseline = new Map(pids.map((pid) => [pid, residentBytes(pid)!]));
  const highest = new Map(baseline);
  const timer = setInterval(() => {
    for (const pid of pids) highest.set(pid, Math.max(highest.get(pid)!, residentBytes(pid) ?? 0));
  }, sampleMs);
  return {
    growth: () => new Map(pids.map((pid) => [pid, highest.get(pid)! - baseline.get(pid)!])),
    stop: () => clearInterval(timer),
  };
}

/** What a process holds in memory; `undefined` once it has ended. */
export function residentBytes(pid: number): number | undefined {
  try {
    const found = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
    return found ? Number(found[1]) * 1024 : undefined;
  } catch {
    return undefined;
  }
}
