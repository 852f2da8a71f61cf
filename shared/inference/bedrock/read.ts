import type { Json, JsonObject } from '../../journal/json.ts';
import { CannotMap } from '../refusal.ts';

/** Where a value stands in a request, in OpenAI's notation: `messages[0].content`. */
export type Path = string;

/** True unless a member is absent or `null`, which OpenAI takes for the same. */
export function given(value: Json | undefined): value is Exclude<Json, null> {
  return value !== undefined && value !== null;
}

/** @throws CannotMap */
export function text(value: Json | undefined, path: Path): string {
  if (typeof value === 'string') return value;
  throw new CannotMap('invalid_value', path, `${path} must be a text.`);
}

/** @throws CannotMap */
export function number(value: Json | undefined, path: Path): number {
  if (typeof value === 'number') return value;
  throw new CannotMap('invalid_value', path, `${path} must be a number.`);
}

/** @throws CannotMap */
export function flag(value: Json | undefined, path: Path): boolean {
  if (typeof value === 'boolean') return value;
  throw new CannotMap('invalid_value', path, `${path} must be true or false.`);
}

/** That nothing stands in an object but what is carried over. @throws CannotMap for the first that would be lost */
export function absent(object: JsonObject, carried: readonly string[], path: Path): void {
  for (const [name, value] of Object.entries(object))
    if (!carried.includes(name) && given(value))
      throw unsupported(`${path}.${name}`, value, 'Bedrock Converse has nothing like it.');
}

/** What cannot be carried over, named with its value and the rule. */
export function unsupported(path: Path, value: Json, rule: string): CannotMap {
  const isSimple = typeof value !== 'object' || value === null;
  const shown = isSimple ? JSON.stringify(value).slice(0, 60) : 'this value';
  return new CannotMap(
    isSimple ? 'unsupported_value' : 'unsupported_parameter',
    path,
    `Unsupported: '${path}' = ${shown}. ${rule}`,
  );
}
