import { ServiceBusAdministrationClient } from '@azure/service-bus';

type PipelinePolicy = Parameters<ServiceBusAdministrationClient['pipeline']['addPolicy']>[0];

/**
 * A pipeline policy that sends requests for a loopback address over plain HTTP. The administration client of
 * `@azure/service-bus` 7.9 builds `https://` addresses and nothing else, emulator or not. Requests for any other host
 * are left alone. Add it after the phase that signs: `client.pipeline.addPolicy(httpAdminPolicy(), { afterPhase: 'Sign' })`.
 */
export function httpAdminPolicy(): PipelinePolicy {
  return {
    name: 'httpAdminPolicy',
    sendRequest(request, next) {
      const url = new URL(request.url);
      if (url.protocol === 'https:' && isLoopback(url.hostname)) {
        url.protocol = 'http:';
        request.url = url.href;
        request.allowInsecureConnection = true;
      }
      return next(request);
    },
  };
}

/**
 * The SDK's own administration client, for an emulator. `adminUrl` names the administration endpoint where it is not the
 * one in the connection string (`adminConnectionString` of the emulator needs none).
 */
export function createAdminClient(connectionString: string, adminUrl?: string): ServiceBusAdministrationClient {
  const atAdmin = adminUrl
    ? connectionString.replace(/Endpoint=[^;]*/i, `Endpoint=sb://${new URL(adminUrl).host}`)
    : connectionString;
  const client = new ServiceBusAdministrationClient(atAdmin);
  client.pipeline.addPolicy(httpAdminPolicy(), { afterPhase: 'Sign' });
  return client;
}

const isLoopback = (hostname: string): boolean =>
  hostname === 'localhost' || hostname === '[::1]' || /^127(?:\.\d{1,3}){3}$/.test(hostname);
