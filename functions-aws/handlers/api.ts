import { handle, type LambdaEvent } from 'hono/aws-lambda';
import { once } from '../../runtime/lazy.ts';
import { wireApi } from '../wire.ts';

/** The front door behind a function URL: payload 2.0, bodies in base64 where they are not text, 6 MB either way. */
export function functionUrlApi(wire: typeof wireApi) {
  const front = once(async () => handle(await wire()));
  return async (event: LambdaEvent) => (await front())(event);
}

export const handler = functionUrlApi(wireApi);
