/**
 * What a campaign has to have met before its silence means anything: each is a moment at which naive designs break. A
 * run of many seeds that never came to one of these has tested less than it says. Expiry, which takes a day, is met in
 * scenarios; solo decisions are not drawn, since they may break what is judged here.
 */
export const mustReach = [
  'cancel came too late',
  'cancel taken',
  'chunk given back',
  'clock jumped',
  'control proposal lost',
  'dispatched for lost',
  'dispatched for plan',
  'dispatched for redrive',
  'dispatched for spillover',
  'dispatched for split',
  'fact quarantined',
  'failback began',
  'failback completed',
  'failback step rolled back',
  'failed over by machine',
  'failed over by person',
  'file deleted',
  'frozen process woke up',
  'later version kept',
  'lease expired',
  'lease lost early',
  'line computed twice',
  'message handed out twice',
  'model or batch moved',
  'order replayed',
  'order refused',
  'order undecided',
  'output sealed at the witness',
  'own value decided',
  'peer did not answer intake',
  'poison line refused',
  'process crashed',
  'published cancelled',
  'published completed',
  'queue lost its messages',
  'ran without the witness',
  'redrive resumed after a crash',
  'refusals doubted',
  'reply lost',
  'reply lost, write had succeeded',
  'same key gave the same batch',
  'settled too late',
  'single receipt',
  'single receipt mirrored later',
  'site judged down',
  'site returned',
  'stale publisher',
  'value of another adopted',
  'vote missed',
] as const;

/** Points that were not reached, in order. */
export function unreached(reached: Readonly<Record<string, number>>): string[] {
  return mustReach.filter((point) => (reached[point] ?? 0) === 0);
}
