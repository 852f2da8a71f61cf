/** A configuration with every section, and the environment it needs. */
export const environment = {
  HOLDFAST_SITE: 'aws',
  WORK_URL: 'https://sqs.us-east-1.amazonaws.com/1/holdfast-work',
  BLOB: 'UseDevelopmentStorage=true',
  BUS: 'Endpoint=sb://127.0.0.1',
  WITNESS_ID: 'id',
  WITNESS_SECRET: 'witness-secret',
  WITNESS_CONTENT_KEY: 'AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=',
  MODEL_KEY: 'model-key',
  HOOK: 'whsec_aGVsbG8gaGVsbG8=',
};

// biome-ignore lint/suspicious/noExplicitAny: what YAML gives
export function source(): any {
  return {
    sites: {
      aws: {
        cloud: 'aws',
        region: 'us-east-1',
        queues: {
          intake: 'https://sqs.us-east-1.amazonaws.com/1/holdfast-intake',
          // biome-ignore lint/suspicious/noTemplateCurlyInString: replaced by the variable
          work: '${WORK_URL}',
          intakeDeadLetters: 'https://sqs.us-east-1.amazonaws.com/1/holdfast-intake-dlq',
          workDeadLetters: 'https://sqs.us-east-1.amazonaws.com/1/holdfast-work-dlq',
        },
      },
      azure: {
        cloud: 'azure',
        region: 'eastus',
        blobEndpoint: 'https://holdfast.blob.core.windows.net/',
        namespace: 'holdfast.servicebus.windows.net',
        credentials: { storageConnectionEnv: 'BLOB', serviceBusConnectionEnv: 'BUS' },
      },
    },
    witness: {
      endpoint: 'https://witness.example',
      credentials: { accessKeyIdEnv: 'WITNESS_ID', secretAccessKeyEnv: 'WITNESS_SECRET' },
      contentKeyEnv: 'WITNESS_CONTENT_KEY',
    },
    settings: { tickMs: 2000, chunks: { text: { linesMax: 25 } } },
    models: {
      small: {
        policy: 'equivalent',
        aws: { url: 'https://models.example/v1/', model: 'small-8b', apiKeyEnv: 'MODEL_KEY' },
        azure: { name: 'vllm', url: 'http://10.0.0.7:8000/v1' },
      },
    },
    cors: { origins: ['https://console.example'] },
    webhooks: { acme: { url: 'https://acme.example/hook', secretEnv: 'HOOK' } },
    network: { allowPrivate: ['10.0.0.0/8', 'localhost', '::1'] },
  };
}
