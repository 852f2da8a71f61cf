import { createMiddleware } from 'hono/factory';
import type { Endpoint, Role } from '../journal/facts.ts';
import type { SitePresigners } from '../ports/presign.ts';
import { type Principal, roleAllows } from './auth.ts';
import { ApiError } from './errors.ts';
import type { ModelCheck } from './ops-models.ts';

/** What differs between the hosts of the one front door. */
export interface ApiOptions {
  /** Longest request body the host passes on, bytes: about 4.5 MB on Lambda, 210 MB on Functions. */
  bodyBytesMax: number;
  /** Longest response body; a longer file is answered by a redirect to a presigned address. Default: no limit. */
  responseBytesMax?: number;
  /** Absent: no presigned uploads, and every download goes through this process. */
  presign?: SitePresigners;
  /** Origins whose pages may call, `*` for all; none: no CORS headers. */
  cors: { origins: readonly string[] };
  /** Shown by `/ops/v1/health`. */
  version: string;
  /** Asks the own site's backend of an alias for one word; `undefined` where it serves none. Absent: nobody can. */
  checkModel?: (alias: string, endpoint: Endpoint | undefined) => Promise<ModelCheck | undefined>;
}

/** What the middlewares leave for the routes. */
export interface ApiEnv {
  Variables: { requestId: string; principal: Principal };
}

/** Lets only keys through that may do what `role` may. */
export function needs(role: Role) {
  return createMiddleware<ApiEnv>(async (c, next) => {
    const principal = c.get('principal');
    if (!roleAllows(principal.role, role))
      throw new ApiError({
        status: 403,
        code: 'insufficient_role',
        message: `This key has the role ${principal.role}; this request needs ${role}.`,
      });
    await next();
  });
}
