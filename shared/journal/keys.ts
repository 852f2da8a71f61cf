import type { QueuePart } from '../ports/queue.ts';
import type { SiteId } from '../ports/site.ts';
import type { EpochMs } from '../units.ts';

/**
 * Every key of the journal and of `state`, in one place (DESIGN.md section 4). Numbers are zero-padded so that byte
 * order is number order. A key with more than one possible writer is content-addressed, unique to the attempt, or a
 * pure function of decided facts.
 */

export const tenantPattern = /^[a-z0-9][a-z0-9_-]{0,62}$/;
export const sitePattern = /^[a-z0-9]{1,16}$/;
export const fileIdPattern = /^file-[0-9a-f]{27}$/;
export const batchIdPattern = /^batch_[0-9a-f]{32}$/;
export const uuidPattern = /^[0-9a-f]{32}$/;

const pad = (value: number, width: number): string => String(value).padStart(width, '0');
/** 11 hex digits that fall as time rises, so that LIST shows the newest first. Holds until the year 2527. */
export function invertedTime(at: EpochMs): string {
  return (0xfff_ffff_ffff - Math.floor(at)).toString(16).padStart(11, '0');
}
/** The moment in an inverted time. */
export function timeOfInverted(hex: string): EpochMs {
  return 0xfff_ffff_ffff - Number.parseInt(hex, 16);
}

/** `file-` + inverted time + the first 16 hex digits of `nonce`. */
export function newFileId(at: EpochMs, nonce: string): string {
  return `file-${invertedTime(at)}${nonce.slice(0, 16)}`;
}

export const filesPrefix = (tenant: string): string => `t/${tenant}/files/`;
export const filePrefix = (tenant: string, fileId: string): string => `t/${tenant}/files/${fileId}/`;
export const fileContentKey = (tenant: string, fileId: string): string => `${filePrefix(tenant, fileId)}content`;
export const fileMetaKey = (tenant: string, fileId: string): string => `${filePrefix(tenant, fileId)}meta.json`;
export const fileDeletedKey = (tenant: string, fileId: string): string => `${filePrefix(tenant, fileId)}deleted.json`;

export const outputKey = (tenant: string, hash: string): string => `t/${tenant}/outputs/${hash}`;

export const batchesPrefix = (tenant: string): string => `t/${tenant}/batches/`;
export const batchPrefix = (tenant: string, batch: string): string => `t/${tenant}/batches/${batch}/`;
export const manifestKey = (tenant: string, batch: string): string => `${batchPrefix(tenant, batch)}manifest.json`;
export const acceptancesPrefix = (tenant: string, batch: string): string => `${batchPrefix(tenant, batch)}acceptances/`;
export const acceptanceKey = (tenant: string, batch: string, id: WriteId): string =>
  `${acceptancesPrefix(tenant, batch)}${writeName(id)}.json`;
export const plansPrefix = (tenant: string, batch: string): string => `${batchPrefix(tenant, batch)}plans/`;
export const planKey = (tenant: string, batch: string, hash: string): string =>
  `${plansPrefix(tenant, batch)}${hash}.json`;
export const dispatchesPrefix = (tenant: string, batch: string): string => `${batchPrefix(tenant, batch)}dispatches/`;
export const dispatchKey = (tenant: string, batch: string, id: WriteId): string =>
  `${dispatchesPrefix(tenant, batch)}${writeName(id)}.json`;
export const resultsPrefix = (tenant: string, batch: string): string => `${batchPrefix(tenant, batch)}results/`;
export const resultKey = (tenant: string, batch: string, name: ResultName): string =>
  `${resultsPrefix(tenant, batch)}${pad(name.firstLine, 8)}-${pad(name.lines, 6)}/${writeName(name)}-${pad(name.answered, 6)}.jsonl`;
export const cancelsPrefix = (tenant: string, batch: string): string => `${batchPrefix(tenant, batch)}cancels/`;
export const cancelKey = (tenant: string, batch: string, uuid: string): string =>
  `${cancelsPrefix(tenant, batch)}${uuid}.json`;
export const publicationKey = (tenant: string, batch: string): string =>
  `${batchPrefix(tenant, batch)}publication.json`;
/** As decided by one store alone, under a solo control entry. In key order the first one stands. */
export const publicationSolosPrefix = (tenant: string, batch: string): string =>
  `${batchPrefix(tenant, batch)}publication.solo-`;
export const publicationSoloKey = (tenant: string, batch: string, by: { epoch: number; site: SiteId }): string =>
  `${publicationSolosPrefix(tenant, batch)}${pad(by.epoch, 8)}-${by.site}.json`;

export const idempotencyPrefix = (tenant: string, keyHash: string): string => `t/${tenant}/idempotency/${keyHash}/`;
export const idempotencyKey = (tenant: string, keyHash: string, batch: string): string =>
  `${idempotencyPrefix(tenant, keyHash)}${batch}`;
export const recentPrefix = (tenant: string): string => `t/${tenant}/recent/`;
export const recentKey = (tenant: string, createdAt: EpochMs, batch: string): string =>
  `${recentPrefix(tenant)}${invertedTime(createdAt)}-${batch}`;

export const controlPrefix = 'control/';
export const controlKey = (epoch: number): string => `control/${pad(epoch, 8)}.json`;
/** Decided by one store alone, by hand (`shared/control/solo.ts`). */
export const controlSoloKey = (epoch: number, site: SiteId): string => `control/${pad(epoch, 8)}.solo-${site}.json`;
const controlSoloPattern = /^control\/(\d{8})\.solo-([a-z0-9]{1,16})\.json$/;
/** Reads the key of a solo entry; `undefined` for any other. */
export function parseControlSoloKey(key: string): { key: string; epoch: number; site: SiteId } | undefined {
  const m = controlSoloPattern.exec(key);
  return m === null ? undefined : { key, epoch: Number(m[1]), site: m[2]! };
}
export const apiKeyKey = (keyId: string): string => `keys/${keyId}.json`;
export const apiKeyRevokedKey = (keyId: string): string => `keys/${keyId}/revoked.json`;
export const keysPrefix = 'keys/';

/** Names of drills: what is rehearsed, and when. */
export const drillIdPattern = /^[a-z0-9][a-z0-9-]{0,79}$/;
export const drillTurnsPrefix = 'drills/turns/';
/** Who runs drills, one after the other: byte for byte the decided value of the register of that turn. */
export const drillTurnKey = (turn: number): string => `${drillTurnsPrefix}${pad(turn, 8)}.json`;
export const drillPrefix = (drill: string): string => `drills/${drill}/`;
/** `runner` makes it unique: two that believe they run the same drill never write the same key. */
export const drillPageKey = (drill: string, page: number, runner: string): string =>
  `${drillPrefix(drill)}pages/${pad(page, 8)}-${runner}.json`;
/** Reads the key of a page; `undefined` for any other. */
export function parseDrillPageKey(key: string): { page: number; runner: string } | undefined {
  const m = /^drills\/[a-z0-9-]+\/pages\/(\d{8})-(.+)\.json$/.exec(key);
  return m === null ? undefined : { page: Number(m[1]), runner: m[2]! };
}
export const drillStopKey = (drill: string, uuid: string): string => `${drillPrefix(drill)}stops/${uuid}.json`;
export const drillReportKey = (drill: string, hash: string): string => `${drillPrefix(drill)}reports/${hash}.json`;

/** `state` container. */
export const registerKey = (incarnation: string, name: string): string => `registers/${incarnation}/${name}`;
export const publicationRegister = (batch: string): string => `publication/${batch}`;
export const controlRegister = (epoch: number): string => `control/${pad(epoch, 8)}`;
export const drillRegister = (turn: number): string => `drill/${pad(turn, 8)}`;
export const openPrefix = 'open/';
export const openKey = (tenant: string, batch: string): string => `open/${tenant}/${batch}`;
/** Its tenant was told that the batch ended; goes when it is closed. */
export const notifiedKey = (batch: string): string => `notified/${batch}`;
/** Who is about to send out the chunks of a new batch (`shared/worker/claim.ts`). */
export const planningKey = (batch: string): string => `planning/${batch}`;
export const unreadPrefix = (part: QueuePart): string => `unread/${part}/`;
/** A message that no worker of the site could read, in one hour (`shared/worker/unread.ts`). */
export const unreadKey = (part: QueuePart, hour: number, hash: string): string =>
  `${unreadPrefix(part)}${pad(hour, 8)}-${hash}`;
/** Reads the key of such a note; `undefined` for any other. */
export function parseUnreadKey(key: string): { hour: number; hash: string } | undefined {
  const m = /^unread\/[a-z]+\/(\d{8})-([0-9a-f]{64})$/.exec(key);
  return m === null ? undefined : { hour: Number(m[1]), hash: m[2]! };
}
/** Names the one batch that may be accepted under an `Idempotency-Key`; who creates it first, wins the race. */
export const idempotencyClaimKey = (tenant: string, keyHash: string): string => `idempotency/${tenant}/${keyHash}`;
export const observationKey = (observer: string): string => `observations/${observer}.json`;
/** Names of observers: a site id, or that of a third place. */
export const observerPattern = /^[a-z0-9][a-z0-9-]{0,62}$/;
export const observationsPrefix = 'observations/';
/** What an observer writes, reads and deletes to see whether it can. */
export const probeKey = (observer: string): string => `observations/probe/${observer}.json`;
/** Which canary is under way at a site, and how the last one went; also its lock. */
export const canarySlotKey = (site: SiteId): string => `observations/canary/${site}.json`;
/** What the workers of a site found of its backends, and tell each other. */
export const breakersKey = (site: SiteId): string => `observations/breakers/${site}.json`;
/** What the workers of a site say of the messages that they hold. */
export const heldKey = (site: SiteId): string => `observations/held/${site}.json`;
/** Reports on what one store decided alone and a majority decided otherwise (`shared/control/superseded.ts`). */
export const supersededPrefix = 'superseded/';
export const supersededKey = (hash: string): string => `${supersededPrefix}${hash}.json`;
export const quarantineKey = (uuid: string): string => `quarantine/${uuid}.json`;
/** Where a client puts a large file itself; a hash-checked copy takes it from there. Never read as a fact. */
export const stagingKey = (tenant: string, uploadId: string): string => `staging/${tenant}/${uploadId}`;

/** What makes a write of one attempt unique, in the order in which candidates are chosen. */
export interface WriteId {
  epoch: number;
  site: SiteId;
  uuid: string;
}
const writeName = (id: WriteId): string => `${pad(id.epoch, 8)}-${id.site}-${id.uuid}`;

/** A result object, as its key tells: which lines, by whom, and how many of them are terminal. */
export interface ResultName extends WriteId {
  /** 0-based. */
  firstLine: number;
  lines: number;
  answered: number;
}

const writePattern = /(\d{8})-([a-z0-9]{1,16})-([0-9a-f]{32})/;
const resultPattern = new RegExp(`/results/(\\d{8})-(\\d{6})/${writePattern.source}-(\\d{6})\\.jsonl$`);
const factPattern = new RegExp(`/(?:acceptances|dispatches)/${writePattern.source}\\.json$`);

/** Reads a result key; `undefined` for a foreign object. */
export function parseResultKey(key: string): ResultName | undefined {
  const m = resultPattern.exec(key);
  if (m === null) return undefined;
  return {
    firstLine: Number(m[1]),
    lines: Number(m[2]),
    epoch: Number(m[3]),
    site: m[4]!,
    uuid: m[5]!,
    answered: Number(m[6]),
  };
}

/** Reads the write id in an acceptance or dispatch key; `undefined` for a foreign object. */
export function parseWriteKey(key: string): WriteId | undefined {
  const m = factPattern.exec(key);
  return m === null ? undefined : { epoch: Number(m[1]), site: m[2]!, uuid: m[3]! };
}

/** Order in which candidates are chosen: epoch, then site, then uuid. */
export function compareWrites(a: WriteId, b: WriteId): number {
  return a.epoch - b.epoch || compareText(a.site, b.site) || compareText(a.uuid, b.uuid);
}

/** Byte order of ASCII text. */
export function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** Tenant and batch of any key below a batch, or of an `open/` hint. */
export function batchOfKey(key: string): { tenant: string; batch: string } | undefined {
  const m = /^(?:t\/([^/]+)\/batches|open\/([^/]+))\/(batch_[0-9a-f]{32})(?:\/|$)/.exec(key);
  return m === null ? undefined : { tenant: (m[1] ?? m[2])!, batch: m[3]! };
}
