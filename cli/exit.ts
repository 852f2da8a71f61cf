import { HoldfastApiError, UnreachableError } from '../client/index.ts';
import { joined, type Text, text } from './text.ts';

/** What the process answers with; `holdfast --help` shows the same table. */
export const exitCodes = {
  /** Done, and all is well. */
  ok: 0,
  /** The answer is no: a batch that failed or left requests unanswered, a check that found something; or our own fault. */
  no: 1,
  /** The command line, the file or the request is wrong; trying again changes nothing. */
  usage: 2,
  /** No cloud answers, or all say `not now`; trying again may help. */
  unreachable: 3,
  /** Ctrl-C. */
  interrupted: 130,
} as const;
export type ExitCode = (typeof exitCodes)[keyof typeof exitCodes];

/** Ends a command with a message and an exit code. */
export class CliError extends Error {
  readonly exitCode: ExitCode;
  readonly hints: readonly Text[];

  constructor(exitCode: ExitCode, message: Text, hints: readonly Text[] = []) {
    super(message.value);
    this.name = 'CliError';
    this.exitCode = exitCode;
    this.hints = hints;
  }
}

/** What a person is told of an error, and what the process answers with. */
export interface Failure {
  exitCode: ExitCode;
  message: Text;
  hints: readonly Text[];
}

/** Any thrown value as a message; unforeseen ones show their stack only where `HOLDFAST_DEBUG` is set. */
export function failureOf(error: unknown, debug: boolean): Failure {
  if (error instanceof CliError)
    return { exitCode: error.exitCode, message: text`${error.message}`, hints: error.hints };
  if (error instanceof HoldfastApiError) return apiFailure(error);
  if (error instanceof UnreachableError)
    return {
      exitCode: exitCodes.unreachable,
      message: text`unreachable: ${error.attempts.length === 1 ? 'the API does not answer' : 'neither cloud answers'}`,
      hints: [
        ...error.attempts.map(({ base, reason }) => text`${base}: ${reason}`),
        text`Is it running? "holdfast up" starts both clouds on this machine; "holdfast doctor" looks for the cause.`,
        text`Elsewhere: --aws URL, --azure URL, or HOLDFAST_AWS_URL and HOLDFAST_AZURE_URL.`,
      ],
    };
  if ((error as { name?: unknown } | null)?.name === 'ConfigError')
    return { exitCode: exitCodes.usage, message: text`${(error as Error).message}`, hints: [] };
  const shown = debug && error instanceof Error ? (error.stack ?? error.message) : String(error);
  return {
    exitCode: exitCodes.no,
    message: joined(
      shown.split('\n').map((line) => text`${line}`),
      '\n',
    ),
    hints: [],
  };
}

function apiFailure(error: HoldfastApiError): Failure {
  const { code, message, param, status } = error;
  const request = error.requestId === null ? [] : [text`Request ${error.requestId} at ${error.base}`];
  return {
    exitCode: status >= 500 || status === 429 ? exitCodes.unreachable : exitCodes.usage,
    message: text`${code}: ${message}${param === null ? '' : ` (${param})`}`,
    hints: status === 401 ? [text`Set the key with HOLDFAST_KEY or --key.`, ...request] : request,
  };
}
