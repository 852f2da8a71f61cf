import * as z from 'zod';
import { sitePattern } from '../journal/keys.ts';

const at = z.number().int().min(0).max(8.64e15);

/** `BreakerNote`, as it lies in `state`. */
export const breakerNoteSchema = z.object({
  site: z.string().regex(sitePattern),
  backend: z.string().max(200),
  model: z.string().max(256),
  state: z.enum(['open', 'closed']),
  since: at,
  until: at,
  cause: z.enum(['backend', 'site']),
  reason: z.string().max(200),
  concurrency: z.int().min(1).max(100_000).optional(),
  doubtedUntil: at.optional(),
  serves: z.object({ aliases: z.array(z.string().max(256)).max(20), at }).optional(),
  at,
});
