import { SQSClient } from '@aws-sdk/client-sqs';
import { clientDefaults } from './http.ts';
import type { AwsConnection } from './site.ts';

export function sqsClient({
  region,
  endpoint,
  credentials,
  timeouts,
}: Required<Pick<AwsConnection, 'timeouts'>> & AwsConnection): SQSClient {
  return new SQSClient({ ...clientDefaults(timeouts), region, endpoint, credentials });
}
