/** The error object of the OpenAI API; all four members are always there. */
export interface OpenAiError {
  readonly message: string;
  readonly type: string;
  readonly param: string | null;
  readonly code: string | null;
}

/** A call answered with an HTTP error instead of a result. Thrown while a call is read or admitted, answered at the top. */
export class Refusal extends Error {
  readonly status: number;
  readonly error: OpenAiError;
  readonly headers: Readonly<Record<string, string>>;
  constructor(status: number, error: Partial<OpenAiError> & { message: string }, headers: Record<string, string> = {}) {
    super(error.message);
    this.name = 'Refusal';
    this.status = status;
    this.error = { type: 'invalid_request_error', param: null, code: null, ...error };
    this.headers = headers;
  }
}

/** A required member is absent. */
export function missing(param: string): Refusal {
  return new Refusal(400, {
    message: `Missing required parameter: '${param}'.`,
    param,
    code: 'missing_required_parameter',
  });
}

/** A member has the wrong JSON type; `expected` as in "an array of objects". */
export function wrongType(param: string, expected: string, value: unknown): Refusal {
  return new Refusal(400, {
    message: `Invalid type for '${param}': expected ${expected}, but got ${nameOfType(value)} instead.`,
    param,
    code: 'invalid_type',
  });
}

/** A member has the right type and a value that is not accepted. */
export function wrongValue(param: string, why: string, code = 'invalid_value'): Refusal {
  return new Refusal(400, { message: `Invalid '${param}': ${why}`, param, code });
}

/** A member is none of the words it may be. */
export function unsupported(param: string, value: unknown, supported: readonly string[]): Refusal {
  const given = typeof value === 'string' ? `'${value.slice(0, 100)}'` : nameOfType(value);
  const words = supported.map((word) => `'${word}'`).join(', ');
  return wrongValue(param, `${given} is not supported. Supported values are: ${words}.`);
}

/** The model is not one of those this server was started with. */
export function modelNotFound(model: string): Refusal {
  return new Refusal(404, {
    message: `The model '${model}' does not exist or you do not have access to it.`,
    code: 'model_not_found',
  });
}

/** A value's JSON type, as a message names it. Says nothing of the value, which may be large or hostile. */
function nameOfType(value: unknown): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'an array';
  if (Number.isInteger(value)) return 'an integer';
  if (typeof value === 'number') return 'a decimal number';
  return typeof value === 'object' ? 'an object' : `a ${typeof value}`;
}
