/**
 * Whose batches drills submit. Its own tenant, so that they are in nobody's list, and in no count of production:
 * backlog, progress, status and alarms leave it out, as they leave out canaries (F49).
 */
export const drillTenant = 'holdfast-drill';
export const isDrillTenant = (tenant: string): boolean => tenant === drillTenant;

/** `drill/<id>`: who acts in the control log while a drill runs. */
export const drillActor = (drill: string): string => `drill/${drill}`;
export const isDrillActor = (actor: string): boolean => actor.startsWith('drill/');
