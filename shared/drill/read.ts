import { FactMemo } from '../journal/fact-memo.ts';
import { parseFact } from '../journal/facts.ts';
import { utf8 } from '../journal/json.ts';
import { drillPrefix, drillReportKey, parseDrillPageKey } from '../journal/keys.ts';
import { listEverywhere, readFact, takeAnywhere } from '../journal/replicas.ts';
import { type DrillPage, type DrillStop, type DrillTurn, drillPageSchema, drillStopSchema } from './facts.ts';
import { type DrillReport, drillReportSchema } from './report.ts';
import type { TurnCore } from './turns.ts';

/** Larger than any other fact: samples of a long drill. */
const reportBytesMax = 64 * 1024 * 1024;

/** What stands of one drill. */
export interface DrillView {
  turn: DrillTurn;
  /** In order. Where two runners wrote, after the first one's lease, both are there. */
  pages: readonly DrillPage[];
  /** Until this moment it is its runner's. */
  until: number;
  /** SHA-256 of its report; `undefined` while it has not ended. */
  report: string | undefined;
}

/** While a drill runs both clouds read all of its pages each minute. */
const drillPages = new FactMemo(drillPageSchema, reportBytesMax);

export async function viewDrill(core: TurnCore, turn: DrillTurn): Promise<DrillView> {
  const { keys } = await listEverywhere(core, `${drillPrefix(turn.drill)}pages/`);
  const pages: DrillPage[] = [];
  for (const { key } of keys) {
    const found = await takeAnywhere(core, key, (bytes) => drillPages.parse(bytes));
    if (found !== undefined && 'fact' in found) pages.push(found.fact);
  }
  pages.sort((a, b) => a.page - b.page || a.at - b.at);
  const until = Math.max(turn.until, ...pages.map((page) => page.until));
  return { turn, pages, until, report: pages.find(({ report }) => report !== null)?.report ?? undefined };
}

/** What lies on the desk of a drill: what on-call asked for, and who wrote pages. */
export interface DrillDesk {
  stops: DrillStop[];
  pages: readonly { page: number; runner: string }[];
}

/** One LIST a store; empty where none can be made. */
export async function readDesk(core: TurnCore, drill: string): Promise<DrillDesk> {
  const { keys } = await listEverywhere(core, drillPrefix(drill)).catch(() => ({ keys: [] }));
  const stops: DrillStop[] = [];
  for (const { key } of keys) {
    if (!key.startsWith(`${drillPrefix(drill)}stops/`)) continue;
    const found = await readFact(core, drillStopSchema, key).catch(() => undefined);
    if (found !== undefined && 'fact' in found) stops.push(found.fact);
  }
  return { stops: stops.sort((a, b) => a.at - b.at), pages: keys.flatMap(({ key }) => parseDrillPageKey(key) ?? []) };
}

/** The report of a drill, and whether its bytes are what its name says. */
export async function readReport(core: TurnCore, drill: string, hash: string): Promise<DrillReport | undefined> {
  const found = await readFact(core, drillReportSchema, drillReportKey(drill, hash), reportBytesMax);
  return found !== undefined && 'fact' in found ? found.fact : undefined;
}

/** A report that was read from a file. */
export function parseReport(bytes: Uint8Array): DrillReport | { fault: string } {
  const parsed = parseFact(drillReportSchema, bytes, reportBytesMax);
  return 'fact' in parsed ? parsed.fact : { fault: `${parsed.detail} (${utf8(bytes).slice(0, 40)})` };
}
