/** Where the emulator says what happened; a pino or Holdfast-like logger fits. Default: nothing is said. */
export interface EmulatorLogger {
  debug(event: string, fields?: Record<string, string | number | boolean | null | undefined>): void;
  info(event: string, fields?: Record<string, string | number | boolean | null | undefined>): void;
}

export const silentLogger: EmulatorLogger = { debug() {}, info() {} };
