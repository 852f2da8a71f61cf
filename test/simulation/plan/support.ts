import { seededRandom } from '../../../local/model-server/random.ts';
import { type PlanLimits, parseLimits, parseTrace, planOutage } from '../../../local/simulator/plan/index.ts';
import { parseScenarios, type Scenario } from '../../../local/simulator/scenario/index.ts';

/** Arrivals in the form of Azure's trace. */
export function traceText(perMinute = 90, minutes = 45): string {
  const random = seededRandom(7);
  const rows = Array.from({ length: perMinute * minutes }, (_, i) => {
    const at = new Date(Date.UTC(2026, 0, 5) + (i * 60_000) / perMinute + random() * 400);
    const time = at.toISOString().replace('T', ' ').replace('Z', '0000');
    return `${time},${200 + Math.floor(random() * 1_600)},${20 + Math.floor(random() * 300)}`;
  });
  return `TIMESTAMP,ContextTokens,GeneratedTokens\r\n${rows.join('\r\n')}\r\n`;
}

export const trace = parseTrace(traceText(), 'trace.csv');

/** Clouds that are kept busy, so that there is something to lose at any moment. */
export const limitsWith = (more = '', azureTokens = 105_000): PlanLimits =>
  parseLimits(
    `clouds: {aws: {tokensPerMinute: 45000}, azure: {tokensPerMinute: ${azureTokens}}}\nbatch: {lines: 60}\noutageAt: "0:15"\n${more}`,
    'limits.yaml',
  );

export function scenario(events: string): Scenario {
  return parseScenarios(`- id: outage\n  cloud: aws\n  events:\n${events.replace(/^/gm, '    ')}\n`, 'outage.yaml')
    .scenarios[0]!;
}

export const awsDark = scenario('- {at: "0:00", until: "0:20", set: {aws: "error(5xx,1.0)"}}');

export const plan = (outage: Scenario, more = '', azureTokens?: number) =>
  planOutage(outage, trace, limitsWith(more, azureTokens));
