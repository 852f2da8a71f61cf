import { app } from '@azure/functions';
import { serviceBusQueues } from '../shared/config/queues.ts';

// What `package.json` names as `main`: the host loads it, and it registers the functions. Each handler, and what it
// needs, is loaded when it is first called, so that registering costs next to nothing.

app.setup({ enableHttpStream: true });

// One invocation a message, so that each is settled on its own; up to `maxConcurrentCalls` of them run at once.
app.serviceBusQueue('workerIntake', {
  connection: 'HOLDFAST_SERVICEBUS',
  queueName: serviceBusQueues.intake,
  cardinality: 'one',
  handler: async (message, context) => (await import('./handlers/worker.ts')).workerIntake(message, context),
});
app.serviceBusQueue('workerWork', {
  connection: 'HOLDFAST_SERVICEBUS',
  queueName: serviceBusQueues.work,
  cardinality: 'one',
  handler: async (message, context) => (await import('./handlers/worker.ts')).workerWork(message, context),
});

app.http('api', {
  // The front door asks for a bearer key itself, and answers every method and path in its own words.
  authLevel: 'anonymous',
  methods: ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'],
  route: '{*path}',
  handler: async (request, context) => (await import('./handlers/api.ts')).api(request, context),
});

app.timer('drills', {
  // Each minute, half a minute after the other cloud looks.
  schedule: '30 * * * * *',
  handler: async (timer, context) => (await import('./handlers/drills.ts')).drills(timer, context),
});

app.timer('monitor', {
  // Second, minute, hour, day, month, day of week: every ten seconds.
  schedule: '*/10 * * * * *',
  handler: async (timer, context) => (await import('./handlers/monitor.ts')).monitor(timer, context),
});
