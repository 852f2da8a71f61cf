/** Calls `make` the first time it is asked; a failure is forgotten, so that the next call tries again. */
export function once<T>(make: () => Promise<T>): () => Promise<T> {
  let made: Promise<T> | undefined;
  return () => {
    made ??= make().catch((error: unknown) => {
      made = undefined;
      throw error;
    });
    return made;
  };
}

/** A port whose every method is asynchronous, but for a name. */
type AsyncPort<T> = {
  [K in keyof T]: T[K] extends (...args: never[]) => infer R ? (R extends Promise<unknown> ? T[K] : never) : T[K];
};

/**
 * Stands for a port that is made when a method is first called. `known` is what it answers without being made (its
 * name). `close` of what was never made does nothing.
 */
export function lazyPort<T extends object>(known: Partial<T>, make: () => Promise<AsyncPort<T>>): T {
  let used = false;
  const made = once(make);
  const call =
    (method: PropertyKey) =>
    async (...args: unknown[]) => {
      if (method === 'close' && !used) return;
      used = true;
      const port = (await made()) as Record<PropertyKey, (...args: unknown[]) => Promise<unknown>>;
      return port[method]!(...args);
    };
  const methods = new Map<PropertyKey, unknown>(Object.entries(known));
  return new Proxy({} as T, {
    get(_, property) {
      // Not a promise: somebody may await the port itself.
      if (property === 'then' || typeof property === 'symbol') return undefined;
      if (!methods.has(property)) methods.set(property, call(property));
      return methods.get(property);
    },
  });
}
