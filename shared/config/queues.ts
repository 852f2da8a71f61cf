/** Names of the two queues of a Service Bus namespace: triggers name them before any configuration is read. */
export const serviceBusQueues = { intake: 'holdfast-intake', work: 'holdfast-work' } as const;
