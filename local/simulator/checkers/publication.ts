import { canaryTenant } from '../../../shared/health/canary-batch.ts';
import { type Publication, publicationSchema } from '../../../shared/journal/facts.ts';
import { sha256 } from '../../../shared/journal/json.ts';
import { outputKey } from '../../../shared/journal/keys.ts';
import { type Cloud, clouds, type World } from '../world.ts';
import { acceptedIds, anywhere, factOf, idsOf } from './journal.ts';
import type { Judge } from './judge.ts';

const filesOf = ({ output, errorFile, choice }: Publication) =>
  [output, errorFile, choice].filter((one) => one !== null);

function readPublication(key: string, bytes: Uint8Array): Publication | undefined {
  if (!key.endsWith('/publication.json')) return undefined;
  const parsed = factOf(publicationSchema, bytes);
  return 'fact' in parsed && parsed.fact.tenant !== canaryTenant ? parsed.fact : undefined;
}

/**
 * I1, as far as it can be seen at one moment: what a decided publication names lies in two stores when it becomes
 * readable, and at every site where it is readable.
 */
export function publishedIsHeld({ record, stores }: World): Judge {
  return {
    watcher: {
      created({ site, container }, key, bytes) {
        const publication = container === 'journal' ? readPublication(key, bytes) : undefined;
        if (publication === undefined) return;
        for (const file of filesOf(publication)) {
          const name = outputKey(publication.tenant, file.sha256);
          const holders = clouds.filter((one) => stores[one].journal.peek(name)?.byteLength === file.bytes);
          const isSealed = stores.witness.journal.peek(`${name}.sealed`) !== undefined;
          if (isSealed) record.reach('output sealed at the witness');
          if (!holders.includes(site as Cloud))
            record.violated('I1', `${publication.batch} is readable at ${site}, which lacks ${name}`);
          if (publication.boundTo === null && holders.length + Number(isSealed) < 2)
            record.violated('I1', `${publication.batch} is readable, and ${name} lies in one store`);
        }
      },
    },
  };
}

/** I2: a publication has exactly one line for each accepted `custom_id`, and none besides. */
export function oneResultEach(world: World): Judge {
  const { record } = world;
  return {
    watcher: {
      created({ container }, key, bytes) {
        const publication = container === 'journal' ? readPublication(key, bytes) : undefined;
        if (publication === undefined) return;
        const { batch, tenant, status, output, errorFile, errors } = publication;
        record.reach(`published ${status}`);
        if (status === 'failed') {
          if (errors.length === 0) record.violated('I2', `${batch} failed without an error`);
          return;
        }
        const accepted = acceptedIds(world, { tenant, batch });
        if (accepted === undefined) return;
        const lines = [output, errorFile].flatMap((file) => {
          if (file === null) return [];
          const content = anywhere(world, outputKey(tenant, file.sha256));
          if (content === undefined || sha256(content) !== file.sha256) return [];
          return idsOf(content);
        });
        if (lines.toSorted().join('\n') !== accepted.toSorted().join('\n'))
          record.violated('I2', `${batch} (${status}) publishes ${lines.length} lines for ${accepted.length} accepted`);
      },
    },
  };
}

/** I3: at most one publication of a batch is ever readable anywhere, and two reads never differ. */
export function publishedOnce({ record }: World): Judge {
  const seen = new Map<string, string>();
  return {
    watcher: {
      created({ container, site }, key, bytes) {
        const publication = container === 'journal' ? readPublication(key, bytes) : undefined;
        if (publication === undefined) return;
        const hash = sha256(bytes);
        const known = seen.get(publication.batch);
        seen.set(publication.batch, known ?? hash);
        if (known !== undefined && known !== hash)
          record.violated('I3', `${publication.batch} is published a second time, differently, at ${site}`);
      },
    },
    atEnd() {
      const first = new Map<string, string>();
      for (const { batch, gist, by } of record.ends) {
        const known = first.get(batch);
        first.set(batch, known ?? gist);
        if (known !== undefined && known !== gist)
          record.violated('I3', `two reads of ${batch} differ, one of them at ${by}`);
      }
      for (const [batch, bodies] of record.callbacks)
        if (bodies.size > 1) record.violated('I3', `${batch} was called back with ${bodies.size} different bodies`);
    },
  };
}
