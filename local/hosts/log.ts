import type { Log, LogFields } from '../../shared/ports/log.ts';

/** A host's own log: one JSON object a line on stderr, as the functions it runs write theirs to stdout. */
export function hostLog(name: string, write = (line: string) => void process.stderr.write(line)): Log {
  const at = (level: string) => (event: string, fields?: LogFields) =>
    write(`${JSON.stringify({ time: new Date().toISOString(), level, host: name, event, ...fields })}\n`);
  return { debug() {}, info: at('info'), warn: at('warn'), error: at('error') };
}

/** One line about an error, for a log field. */
export function errorText(error: unknown): string {
  const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
  return text.slice(0, 1_000);
}
