/** Components by name: `<site>.<service>[.<operation>]`. What is not known here is kept and reported, never refused. */

export const targetPattern = /^[a-z][a-z0-9]*(\.[A-Za-z0-9_-]{1,60}){0,4}$/;
export const targetRule = "must be '<site>.<service>[.<operation>]' in letters, digits, '_' and '-'";

/** Services of a cloud, and those operations of each that a scenario may name; of the others any. */
const services: Record<string, readonly string[] | 'any'> = {
  store: ['get', 'put', 'list', 'private', 'private_bulk'],
  queue: ['send', 'receive', 'settle'],
  functions: ['invoke', 'poller', 'scaleout'],
  credentials: ['mint', 'exchange', 'validate'],
  model: 'any',
  api: [],
  timer: [],
  control: 'any',
  keys: 'any',
  metrics: [],
  alarms: [],
  console: [],
  statuspage: [],
  zone: 'any',
  dns: [],
};

/** Why a component is not known, as a sentence; `undefined` for one that is. */
export function whyUnknown(target: string): string | undefined {
  const [site, service, ...operation] = target.split('.');
  switch (site) {
    case 'aws':
    case 'azure':
    case 'witness':
    case 'provider':
      return service === undefined ? undefined : unknownService(service, operation);
    case 'link':
      return /^(aws|azure|witness)-to-(aws|azure|witness)$/.test(service ?? '') && operation.length === 0
        ? undefined
        : "a link is written 'link.<site>-to-<site>'";
    case 'operator':
    case 'ci':
    case 'net':
      return undefined;
    default:
      return `there is no site '${site}'; there is: aws, azure, witness, provider, link, operator, ci, net`;
  }
}

function unknownService(service: string, operation: readonly string[]): string | undefined {
  const known = Object.hasOwn(services, service) ? services[service] : undefined;
  if (known === undefined) return `there is no service '${service}'; there is: ${Object.keys(services).join(', ')}`;
  if (known === 'any' || operation.length === 0) return undefined;
  if (known.includes(operation.join('.'))) return undefined;
  return known.length === 0
    ? `${service} has no operations of its own`
    : `${service} has no operation '${operation.join('.')}'; it has: ${known.join(', ')}`;
}
