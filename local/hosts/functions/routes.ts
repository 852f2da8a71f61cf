import type { RegisteredFunction } from './core-module.ts';
import { triggerBinding } from './invocation.ts';

/** A function that HTTP reaches. */
export interface HttpRoute {
  readonly registered: RegisteredFunction;
  /** The values of the route's parameters, decoded, where path and method are this function's. */
  match(method: string, path: string): Record<string, string> | undefined;
}

/**
 * A function's route: literal segments, `{name}`, and last `{*name}` for the rest of the path. Constraints
 * (`{id:int}`), optional parameters and keys (`authLevel`) are not emulated.
 * @source https://learn.microsoft.com/azure/azure-functions/functions-bindings-http-webhook-trigger#customize-the-http-endpoint 2026-11
 */
export function createRoute(registered: RegisteredFunction, prefix: string): HttpRoute {
  const { options } = triggerBinding(registered);
  const methods = (options.methods as string[] | undefined)?.map((method) => method.toUpperCase());
  const template = segmentsOf(`${prefix}/${options.route ?? registered.metadata.name}`);
  return {
    registered,
    match(method, path) {
      if (methods && !methods.includes(method)) return undefined;
      const segments = segmentsOf(path);
      const parameters: Record<string, string> = {};
      for (const [i, part] of template.entries()) {
        const rest = /^\{\*(\w+)\}$/.exec(part);
        if (rest) {
          parameters[rest[1]!] = decode(segments.slice(i).join('/'));
          return parameters;
        }
        const segment = segments[i];
        if (segment === undefined) return undefined;
        const name = /^\{(\w+)\}$/.exec(part);
        if (name) parameters[name[1]!] = decode(segment);
        else if (decode(segment).toLowerCase() !== part.toLowerCase()) return undefined;
      }
      return segments.length === template.length ? parameters : undefined;
    },
  };
}

function segmentsOf(path: string): string[] {
  return path.split('/').filter((segment) => segment !== '');
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
