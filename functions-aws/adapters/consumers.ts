import {
  type EventSourceMappingConfiguration,
  LambdaClient,
  paginateListEventSourceMappings,
  UpdateEventSourceMappingCommand,
} from '@aws-sdk/client-lambda';
import type { Consumers } from '../../shared/control/consumers.ts';
import { TransientError } from '../../shared/errors.ts';
import type { CallOptions } from '../../shared/ports/object-store.ts';
import type { SiteId } from '../../shared/ports/site.ts';
import { awsCodeOf, awsError } from './errors.ts';
import { attempt, clientDefaults, defaultTimeouts } from './http.ts';
import type { AwsConnection } from './site.ts';

export interface LambdaConsumersConfig extends AwsConnection {
  id: SiteId;
  /** Queues whose event-source mappings are switched: intake and work. */
  queueUrls: readonly string[];
}

/**
 * The event-source mappings of the site's queues, whatever functions they feed. Lambda switches in its own time: a
 * mapping is `Disabling` for some seconds, and refuses another change meanwhile.
 * @source https://docs.aws.amazon.com/lambda/latest/api/API_UpdateEventSourceMapping.html (2026-11-20): 409
 *   `ResourceInUseException` while a mapping is created, updated or deleted
 */
export function lambdaConsumers(config: LambdaConsumersConfig): Consumers & { close(): void } {
  const { region, endpoint, credentials, queueUrls, timeouts = defaultTimeouts } = config;
  const name = `${config.id}/consumers`;
  const client = new LambdaClient({ ...clientDefaults(timeouts), region, endpoint, credentials });
  const translate = (error: unknown) =>
    awsCodeOf(error) === 'ResourceInUseException'
      ? new TransientError('conflict', `${name}: a change is under way`, { cause: error })
      : awsError(error, name, 'repeatable');
  const call = <T>(options: CallOptions, run: (abortSignal: AbortSignal) => Promise<T>) =>
    attempt(timeouts, options, { translate }, run);

  const mappings = (options: CallOptions) =>
    call(options, async (abortSignal) => {
      const found: EventSourceMappingConfiguration[] = [];
      for (const url of queueUrls) {
        const EventSourceArn = queueArn(region, url);
        const pages = paginateListEventSourceMappings({ client }, { EventSourceArn }, { abortSignal });
        for await (const { EventSourceMappings = [] } of pages) found.push(...EventSourceMappings);
      }
      return found;
    });
  const switchAll = async (enabled: boolean, options: CallOptions) => {
    const wrong = (await mappings(options)).filter((mapping) => isOff(mapping) === enabled);
    await Promise.all(
      wrong.map(({ UUID }) =>
        call(options, (abortSignal) =>
          client.send(new UpdateEventSourceMappingCommand({ UUID, Enabled: enabled }), { abortSignal }),
        ),
      ),
    );
  };
  return {
    name,
    isPaused: async (options = {}) => (await mappings(options)).every(isOff),
    pause: (options = {}) => switchAll(false, options),
    resume: (options = {}) => switchAll(true, options),
    close: () => client.destroy(),
  };
}

/**
 * A queue's ARN, from its URL: `https://<host>/<account>/<name>`.
 * @source https://docs.aws.amazon.com/IAM/latest/UserGuide/reference-arns.html (2026-11-25): partitions `aws-cn`, `aws-us-gov`
 */
export function queueArn(region: string, url: string): string {
  const [account, name] = new URL(url).pathname.split('/').filter(Boolean);
  const partition = region.startsWith('cn-') ? 'aws-cn' : region.startsWith('us-gov-') ? 'aws-us-gov' : 'aws';
  return `arn:${partition}:sqs:${region}:${account}:${name}`;
}

/** @source https://docs.aws.amazon.com/lambda/latest/api/API_EventSourceMappingConfiguration.html (2026-11-20) */
const isOff = ({ State }: EventSourceMappingConfiguration): boolean => State === 'Disabled' || State === 'Disabling';
