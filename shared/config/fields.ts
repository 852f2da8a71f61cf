import * as z from 'zod';

/** Environment, as the process was given it; passed in, never read here. */
export type Environment = Readonly<Record<string, string | undefined>>;

/**
 * An object that refuses keys it does not know, and names the one that was probably meant: a mistyped key must never
 * quietly leave the default in force.
 */
export function section<S extends z.ZodRawShape>(shape: S) {
  const known = Object.keys(shape);
  return z.strictObject(shape, {
    error: (issue) => {
      if (issue.code !== 'unrecognized_keys') return undefined;
      return (issue.keys as string[]).map((key) => `unknown key '${key}'${didYouMean(key, known)}`).join('; ');
    },
  });
}

/** ` (did you mean 'x'?)` for the nearest of `known` within two edits; else the list of what there is. */
export function didYouMean(word: string, known: readonly string[]): string {
  const [nearest] = known
    .map((name) => ({ name, edits: editDistance(word.toLowerCase(), name.toLowerCase()) }))
    .sort((a, b) => a.edits - b.edits);
  if (nearest !== undefined && nearest.edits <= Math.min(2, Math.floor(word.length / 2)))
    return ` (did you mean '${nearest.name}'?)`;
  return ` (there is: ${known.join(', ')})`;
}

function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++)
      next.push(Math.min(next[j - 1]! + 1, row[j]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)));
    row = next;
  }
  return row[b.length]!;
}

/** The kinds of text a configuration holds, bound to the environment that `${NAME}` and `…Env: NAME` read. */
export function textFields(env: Environment) {
  /** Text in which `${NAME}` stands for a variable. */
  const text = z.string().transform((value, context) =>
    value.replaceAll(/\$\{([^}]*)\}/g, (_, name: string) => {
      const found = env[name];
      if (found === undefined || found === '')
        context.addIssue({ code: 'custom', message: `names the variable ${name}, which is not set` });
      return found ?? '';
    }),
  );
  /** Name of a variable; resolves to what it holds. The value is never shown. */
  const secret = z
    .string()
    .regex(/^[A-Za-z_][A-Za-z0-9_]*$/, 'must be the name of an environment variable')
    .transform((name, context) => {
      const found = env[name];
      if (found === undefined || found === '')
        context.addIssue({ code: 'custom', message: 'names a variable which is not set' });
      return found ?? '';
    });
  /** An http or https address without user, query or fragment; resolves without its trailing slash. */
  const url = text.pipe(
    z
      .string()
      .refine(isPlainUrl, 'must be an http or https address without user, query or fragment')
      .transform((value) => value.replace(/\/+$/, '')),
  );
  const name = (pattern: RegExp, rule: string) => text.pipe(z.string().regex(pattern, rule));
  return { text, secret, url, name };
}

/** An AWS access key; absent: the SDK's own chain (the role of the function). */
export function accessKeyField(env: Environment) {
  const { secret } = textFields(env);
  return section({
    accessKeyIdEnv: secret,
    secretAccessKeyEnv: secret,
    sessionTokenEnv: secret.optional(),
  }).transform(({ accessKeyIdEnv, secretAccessKeyEnv, sessionTokenEnv }) => ({
    accessKeyId: accessKeyIdEnv,
    secretAccessKey: secretAccessKeyEnv,
    sessionToken: sessionTokenEnv ?? null,
  }));
}

function isPlainUrl(value: string): boolean {
  const url = URL.parse(value);
  if (url === null || (url.protocol !== 'http:' && url.protocol !== 'https:')) return false;
  return url.username === '' && url.password === '' && url.search === '' && url.hash === '';
}
