import { ConfigError } from '../shared/errors.ts';
import type { Log, LogFields } from '../shared/ports/log.ts';

const levels = ['debug', 'info', 'warn', 'error', 'silent'] as const;
export type LogLevel = (typeof levels)[number];

/**
 * One JSON object a line: `level`, `time`, `event`, then `base` and the fields. JSON escapes control characters, so a
 * field can neither start a line nor move a terminal's cursor.
 *
 * Not a logging library: the smallest that fits costs a cold start 9 ms, a fifth of all it may take, and what both
 * clouds want is a line of JSON on stdout.
 */
export function jsonLog(
  level: LogLevel,
  base: LogFields,
  write: (line: string) => void = (line) => process.stdout.write(line),
): Log {
  const at = (name: LogLevel) => {
    if (levels.indexOf(name) < levels.indexOf(level)) return () => {};
    return (event: string, fields?: LogFields) =>
      write(`${JSON.stringify({ level: name, time: new Date().toISOString(), event, ...base, ...fields })}\n`);
  };
  return { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') };
}

/** `HOLDFAST_LOG`. @throws ConfigError for anything but a level */
export function logLevel(value: string | undefined): LogLevel {
  if (value === undefined || value === '') return 'info';
  const level = levels.find((name) => name === value);
  if (level === undefined)
    throw new ConfigError('HOLDFAST_LOG', `HOLDFAST_LOG: '${value}' must be one of ${levels.join(', ')}`);
  return level;
}
