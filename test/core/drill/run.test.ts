import { describe, expect, test } from '@jest/globals';
import { execute } from '../../../shared/control/execute.ts';
import { learnControl } from '../../../shared/control/log.ts';
import { readOpenBatches } from '../../../shared/control/open-batches.ts';
import { controlPolicy } from '../../../shared/control/policy.ts';
import { statusPage } from '../../../shared/control/status.ts';
import type { DrillEntry, DrillPhase } from '../../../shared/drill/facts.ts';
import { readReport, viewDrill } from '../../../shared/drill/read.ts';
import { startDrill, stopDrill, tendDrills } from '../../../shared/drill/start.ts';
import { drillTenant } from '../../../shared/drill/tenant.ts';
import { learnTurns } from '../../../shared/drill/turns.ts';
import { SiteUnavailableError } from '../../../shared/errors.ts';
import { readObservations } from '../../../shared/health/observation.ts';
import { backlogOf, nextSample, openBatch } from '../../../shared/health/progress.ts';
import { viewBatch } from '../../../shared/journal/batch.ts';
import { factBytes } from '../../../shared/journal/facts.ts';
import { sha256 } from '../../../shared/journal/json.ts';
import { controlKey, drillPrefix, drillReportKey, recentPrefix, resultsPrefix } from '../../../shared/journal/keys.ts';
import { listAll } from '../../../shared/ports/object-store.ts';
import type { Stores } from '../../../shared/ports/site.ts';
import { action, type Cloud, DrillWorld, drill, outageSource, shadowSource } from './support.ts';

const sitesOf = async (drills: DrillWorld, self: Cloud = 'azure') => {
  const { sites, moves } = await learnControl(drills.cores[self]);
  return {
    states: Object.fromEntries(Object.entries(sites).map(([id, { state, weight }]) => [id, `${state} ${weight}`])),
    moves: moves.length,
  };
};
const command = async (drills: DrillWorld, wanted: Parameters<typeof execute>[1]) =>
  execute(drills.cores.aws, wanted, {
    operationId: drills.cores.aws.ids.uuid(),
    actor: 'operator:anna',
    reason: 'we investigate',
    observations: await readObservations(drills.cores.aws),
  });
const asBefore = { states: { aws: 'active 50', azure: 'active 50' }, moves: 0 };

describe('a drill that runs to its end', () => {
  test('shadow: its own batches go through a real failover and come back, and every set is whole', async () => {
    const drills = await DrillWorld.start();
    const report = await drills.run(shadowSource());
    expect(report.verdict).toMatchObject({
      outcome: 'passed',
      reasons: [],
      accepted: 24,
      lost: [],
      publishedTwice: [],
      computedTwice: { lines: 0, tokens: 0 },
      rpoMs: 0,
    });
    expect(report.verdict.recovery.firstResult).toBeLessThan(60_000);
    expect(report.control.entries.map(({ changes }) => changes[0])).toEqual([
      expect.stringMatching(/^moved, batch .*: aws → azure$/),
      expect.stringMatching(/^moved, batch .*: aws → azure$/),
      expect.stringMatching(/^no longer moved/),
      expect.stringMatching(/^no longer moved/),
    ]);
    expect(await sitesOf(drills)).toEqual(asBefore);
    // The hidden half: whoever looks in the journal finds the same report, and hashes that hold.
    const [turn] = await learnTurns(drills.cores.aws);
    const view = await viewDrill(drills.cores.aws, turn!.turn);
    expect(await readReport(drills.cores.aws, 'drill-1', view.report!)).toEqual(report);
    const bytes = await drills.world.aws.journal.get(drillReportKey('drill-1', view.report!));
    expect(sha256(bytes!.bytes)).toBe(view.report);
    const entry = await drills.world.azure.journal.get(controlKey(report.control.last.epoch));
    expect(sha256(entry!.bytes)).toBe(report.control.last.sha256);
    expect(sha256(turn!.bytes)).toBe(report.turnSha256);
  });

  test('switchover: a site is drained, fenced and brought back with the weights it had; nothing is computed twice', async () => {
    const drills = await DrillWorld.start();
    const source = shadowSource({
      kind: 'switchover',
      'blast-radius': { scope: 'all' },
      objectives: { 'computed-twice': 0 },
    });
    source.method = [
      action('work', { func: 'submit', arguments: { batches: 2, lines: 12, home: 'aws' } }),
      action('hand over', {
        func: 'failover',
        arguments: { from: 'aws', to: 'azure', mode: 'graceful', scope: 'all' },
      }),
      {
        type: 'probe',
        name: 'aws',
        tolerance: 'fenced',
        provider: { type: 'holdfast', func: 'state', arguments: { site: 'aws' } },
      },
    ];
    const report = await drills.run(source);
    expect(report.verdict.reasons).toEqual([]);
    expect(report.verdict.outcome).toBe('passed');
    const changes = report.control.entries.flatMap((one) => one.changes).filter((one) => one.startsWith('aws'));
    expect(changes.join('; ')).toMatch(
      /active → cordoned.*cordoned → fenced.*fenced → recovering.*recovering → active.*weight 100 → 50/,
    );
    expect(await sitesOf(drills)).toEqual(asBefore);
  });

  test('tabletop: plans, rules and probes, and not one control entry, batch or fault', async () => {
    const drills = await DrillWorld.start();
    const report = await drills.run({ ...outageSource(), holdfast: { ...outageSource().holdfast, kind: 'tabletop' } });
    expect(report.verdict).toMatchObject({ outcome: 'failed', accepted: 0 });
    // Nothing fenced AWS, of course; the plans themselves met no objection.
    expect(report.verdict.reasons).toEqual(['in the method: fenced was active, and not fenced']);
    expect((await learnControl(drills.cores.aws)).epoch).toBe(1);
    expect(report.batches).toEqual([]);
  });

  test('tabletop: whether the survivor could do it is told item by item; a vote that nobody takes is a failure', async () => {
    const drills = await DrillWorld.start();
    const source = { ...outageSource(), holdfast: { ...outageSource().holdfast, kind: 'tabletop' as const } };
    source.method = source.method.slice(1, 2);
    const { verdict, checks } = await drills.run(source);
    expect(verdict.outcome).toBe('passed');
    const told = Object.fromEntries(checks.map(({ name, value }) => [name.replace('dark: ', ''), value]));
    expect(told).toMatchObject({
      objections: 'none',
      'capacity of azure': 'ok: nothing is open at aws or azure',
      'room in the queue of azure': expect.stringMatching(/^ok: it holds 0 messages/),
      'functions of azure write their store': expect.stringMatching(/^unknown: its observer has not looked/),
      'this runner may vote in aws': expect.stringMatching(/^ok/),
      'this runner may vote in witness': expect.stringMatching(/^ok/),
      'this runner may write the journal of azure': expect.stringMatching(/^ok: turn 1/),
    });
    for (const store of [drills.world.aws, drills.world.azure])
      expect(await Array.fromAsync(listAll(store.state, 'observations/probe/'))).toEqual([]);
    const { witness } = drills.cores.azure;
    witness!.state.putIfAbsent = () => Promise.reject(new Error('403'));
    witness!.state.putIfMatch = () => Promise.reject(new Error('403'));
    const failed = await drills.run(source, { id: 'second' });
    expect(failed.verdict.reasons).toEqual([
      expect.stringMatching(/dark: this runner may vote in witness was failed: .*403, and not ok or unknown$/),
    ]);
  });

  const shareSource = (aws: number, share: number) => {
    const source = shadowSource({ kind: 'switchover', 'blast-radius': { scope: 'share', share }, objectives: {} });
    source.method = [action('shift', { func: 'weights', arguments: { weights: { aws, azure: 100 - aws } } })];
    return source;
  };

  test('a share of new batches: no more than the blast radius goes elsewhere, and then it goes where it went', async () => {
    const drills = await DrillWorld.start();
    const report = await drills.run(shareSource(40, 10));
    expect(report.verdict.outcome).toBe('passed');
    expect(report.control.entries.map(({ changes }) => changes.join(', '))).toEqual([
      'aws: weight 50 → 40, azure: weight 50 → 60',
      'aws: weight 40 → 50, azure: weight 60 → 50',
    ]);
    const wider = await drills.run(shareSource(20, 10), { id: 'wider' });
    expect(wider.verdict.reasons[0]).toBe(
      'refused: shift: blast-radius: it moves 30 % of new batches, and 10 % is the most',
    );
    expect(wider.control.entries).toEqual([]);
  });

  test('restore: a store that comes back from a backup is named, learns what was decided, votes, and holds all again', async () => {
    const drills = await DrillWorld.start();
    const probe = (name: string, provider: object) =>
      ({ type: 'probe', name, tolerance: true, within: '2m', provider: { type: 'holdfast', ...provider } }) as never;
    const source = shadowSource({ kind: 'outage', site: 'azure', 'blast-radius': { scope: 'all' }, objectives: {} });
    const replace = action('named', { func: 'replace-store', arguments: { store: 'azure' } });
    source.method = [
      action('work', { func: 'submit', arguments: { lines: 12, home: 'aws' } }),
      probe('all ended', { func: 'batches-ended' }),
      action('old backup', { func: 'restore-backup', arguments: { site: 'azure' } }),
      replace,
      probe('votes', { func: 'votes', arguments: { store: 'azure' } }),
      probe('equal again', { func: 'journals-equal' }),
      action('more work', { func: 'submit', arguments: { lines: 12, home: 'azure' } }),
      probe('ended, too', { func: 'batches-ended' }),
    ];
    const report = await drills.run(source);
    expect(report.entries.find(({ text }) => text.startsWith('old backup'))!.text).toMatch(/[1-9]\d* objects .* azure/);
    expect(report.verdict).toMatchObject({ outcome: 'passed', reasons: [], lost: [], accepted: 24 });
    expect(report.control.entries.flatMap(({ changes }) => changes)).toEqual([
      'store of azure: replaced, and does not vote until it holds every register',
      'store of azure: holds every register, and votes',
    ]);
    const { voters } = await learnControl(drills.cores.aws);
    const { incarnation } = voters.find(({ store }) => store === 'azure')!;
    expect(incarnation).toMatch(/^azure-[0-9a-f]{32}$/);
    // What it holds under its new name is what the others hold, this drill's own turn among it.
    const names = async (store: 'aws' | 'azure', of: string) =>
      (await Array.fromAsync(listAll(drills.world[store].state, `registers/${of}/`))).map(({ key }) =>
        key.slice(`registers/${of}/`.length),
      );
    const [aws, azure] = [await names('aws', 'aws-1'), await names('azure', incarnation)];
    expect(aws.filter((name) => !azure.includes(name))).toEqual([]);
    expect(azure).toContain('drill/00000001');
  });

  test('a store that is named takes a vote from everybody for a while: only an outage of all may do that', () => {
    const source = shadowSource();
    source.method.push(action('named', { func: 'replace-store', arguments: { store: 'azure' } }));
    expect(() => drill(source)).toThrow(/a shadow drill does none of that/);
    const narrow = { ...source.holdfast, kind: 'outage' as const, site: 'azure' };
    expect(() => drill({ ...source, holdfast: narrow })).toThrow(/takes a vote from every decision/);
  });
});

describe('a drill against a planted bug fails with the right reason', () => {
  test('results are never mirrored: they are in one cloud alone', async () => {
    const drills = await DrillWorld.start();
    // No result of one site ever reaches the other, whoever copies it.
    for (const site of ['aws', 'azure'] as const) {
      const { journal } = drills.world[site].site;
      const put = journal.putIfAbsent.bind(journal);
      journal.putIfAbsent = async (key, body, options) =>
        key.includes('/results/') && !key.includes(`-${site}-`)
          ? { status: 'created', etag: '"none"' }
          : put(key, body, options);
    }
    const report = await drills.run(shadowSource());
    expect(report.verdict.outcome).toBe('failed');
    expect(report.verdict.reasons.join('\n')).toMatch(/facts in one cloud alone: \d+, .*results\/.* is in azure alone/);
  });

  test('redrive skips a chunk: its lines are lost', async () => {
    const drills = await DrillWorld.start();
    const { work } = drills.world.azure.site;
    const send = work.send.bind(work);
    work.send = (messages, options) =>
      send(
        messages.filter(({ body }) => JSON.parse(body).firstLine !== 5),
        options,
      );
    const report = await drills.run(shadowSource());
    expect(report.verdict.outcome).toBe('failed');
    expect(report.verdict.lost).toHaveLength(24);
    expect(report.verdict.reasons.join('\n')).toMatch(/lost: 24, and ≤ 0 was the objective: drill-1-1-0 of batch_/);
    expect(report.verdict.reasons.join('\n')).toMatch(/in the method: all ended was false/);
  });
});

describe('F48: drills and real incidents, dead runners, two at once', () => {
  test('F48: the real outage starts while a drill runs: the drill ends at once and is undone', async () => {
    const drills = await DrillWorld.start();
    const injector = drills.injector();
    let struck = false;
    const report = await drills.run(outageSource(), {
      deps: { faults: injector },
      each: (entries) => {
        if (struck || !entries.some(({ kind, text }) => kind === 'action' && text.includes('aws refuse'))) return;
        struck = true;
        drills.since = drills.now;
        drills.says.azure = ['down', ['store-down']];
      },
    });
    expect(report.verdict.outcome).toBe('aborted');
    expect(report.verdict.reasons[0]).toMatch(/^no-drill-in-incident: a real incident: azure is down \(store-down\)/);
    expect(drills.activeFaults()).toBe(0);
  });

  test.each([
    ['ends a drill that breaks nothing', shadowSource(), 'aborted'],
    ['goes with a drill that breaks the other one, whose load it takes', outageSource({ settle: '10s' }), 'failed'],
  ] as const)('a site that degrades while a drill runs %s', async (_, source, outcome) => {
    const drills = await DrillWorld.start();
    const report = await drills.run(source, {
      deps: { faults: drills.injector() },
      each: (entries) => {
        if (entries.some(({ kind }) => kind === 'action')) drills.says.azure = ['degraded', ['model-throttled']];
      },
    });
    expect(report.verdict.outcome).toBe(outcome);
    const why = 'no-drill-in-incident: a real incident: azure is degraded (model-throttled)';
    expect(report.verdict.reasons[0]!.startsWith(why)).toBe(outcome === 'aborted');
  });

  test('for how long the steady state did not hold is told, and an objective where the file says so', async () => {
    const run = async (unsteady: string) => {
      const drills = await DrillWorld.start();
      return drills.run(outageSource({ settle: '10s', objectives: { unsteady } }), {
        deps: { faults: drills.injector() },
        each: (entries) => {
          if (!entries.some(({ kind, text }) => kind === 'action' && text.includes('aws refuse'))) return;
          drills.says.aws = ['down', ['site-dark']];
        },
      });
    };
    const [long, short] = [await run('10m'), await run('30s')];
    const told = (report: typeof long) =>
      report.verdict.objectives.find(({ name }) => name.startsWith('steady state during'));
    expect(told(long)).toMatchObject({ wanted: '≤ 10 min', isMet: true });
    // The method waits two minutes for a fence that never comes.
    expect(told(short)).toMatchObject({
      wanted: '≤ 30 s',
      isMet: false,
      measured: expect.stringMatching(/^(11\d|2) (s|min)/),
    });
  });

  test('F48: a site of the drill itself that is down is no real incident', async () => {
    const drills = await DrillWorld.start();
    const report = await drills.run(outageSource({ settle: '10s' }), {
      deps: { faults: drills.injector() },
      each: (entries) => {
        if (!entries.some(({ kind, text }) => kind === 'action' && text.includes('aws refuse'))) return;
        drills.says.aws = ['down', ['site-dark']];
      },
    });
    expect(report.verdict.outcome).toBe('failed');
    expect(report.verdict.reasons.join()).not.toContain('no-drill-in-incident');
  });

  const phasesOfDeath: DrillPhase[] = ['before', 'method', 'undo', 'after'];
  test.each(phasesOfDeath)('F48: the runner dies in phase %s: another one undoes it after its lease', async (phase) => {
    const drills = await DrillWorld.start();
    const source = shadowSource({
      kind: 'switchover',
      'blast-radius': { scope: 'all' },
      lease: '60s',
      objectives: {},
    });
    source.method = [
      action('work', { func: 'submit', arguments: { lines: 12, home: 'aws' } }),
      action('hand over', {
        func: 'failover',
        arguments: { from: 'aws', to: 'azure', mode: 'graceful', scope: 'all' },
      }),
    ];
    const started = await startDrill(drills.cores.azure, drills.deps('dead'), drills.order(source));
    if (started.status !== 'started') throw new Error(started.status);
    const { run } = started;
    const isThere = () => run.state.phase === phase && (phase !== 'method' || run.state.faultAt !== null);
    const running = run.run({
      stop: () => {
        if (isThere()) throw new Error('killed');
        return undefined;
      },
    });
    await expect(drills.until(running)).rejects.toThrow('killed');
    // Within the lease it is nobody else's.
    expect(await drills.until(tendDrills(drills.cores.aws, drills.deps('aws'), [], drills.now + 1_000))).toEqual({
      status: 'running',
      drill: 'drill-1',
    });
    for (let s = 0; s < 62; s++) {
      await drills.tick();
      await drills.world.clock.advance(1_000);
    }
    const tended = await drills.until(tendDrills(drills.cores.aws, drills.deps('aws'), [], Number.POSITIVE_INFINITY));
    if (tended.status !== 'run' || tended.end.status !== 'ended') throw new Error(JSON.stringify(tended));
    const { verdict, entries } = tended.end.report;
    expect(verdict.outcome).toBe(phase === 'before' || phase === 'method' ? 'aborted' : 'passed');
    expect(entries.map(({ text }) => text).join('\n')).toContain('lease-expired');
    expect(await sitesOf(drills)).toEqual(asBefore);
  });

  test('while control is frozen a drill waits with what it has to undo: few looks, and two or three pages a lease', async () => {
    const drills = await DrillWorld.start();
    const looks = drills.world.aws.journal.calls;
    const before = { ...looks };
    const frozenMs = 10 * 60_000;
    const from = drills.now;
    let state: 'running' | 'frozen' | 'thawed' = 'running';
    const each = async (entries: DrillEntry[]) => {
      if (state === 'running' && entries.some(({ text }) => text === 'take over')) {
        state = 'frozen';
        await command(drills, { kind: 'freeze' });
      } else if (state === 'frozen' && drills.now - from > frozenMs) {
        state = 'thawed';
        await command(drills, { kind: 'unfreeze' });
      }
    };
    const source = shadowSource({ lease: '2m' });
    const report = await drills.run(source, { each });
    expect(report.verdict.outcome).toBe('aborted');
    expect(await sitesOf(drills)).toEqual(asBefore);
    const pages = await Array.fromAsync(listAll(drills.world.aws.journal, `${drillPrefix('drill-1')}pages/`));
    expect(pages.length).toBeGreaterThan(frozenMs / 120_000);
    expect(pages.length).toBeLessThan(30);
    // Each look lists the drill's pages and the control log.
    expect(looks.list - before.list).toBeLessThan((2 * (frozenMs + 120_000)) / 5_000);
  });

  test('F48: a runner that was frozen for longer than its lease does nothing more', async () => {
    const drills = await DrillWorld.start();
    let frozenMs = 0;
    const core = { ...drills.cores.azure };
    core.clock = { ...core.clock, now: () => drills.now + frozenMs, sleep: (ms) => drills.cores.azure.clock.sleep(ms) };
    const started = await startDrill(core, drills.deps('frozen'), drills.order(shadowSource({ lease: '60s' })));
    if (started.status !== 'started') throw new Error(started.status);
    const { run } = started;
    const end = await drills.until(
      run.run({
        stop: () => {
          // Between its look and what it would do next: to move the batches.
          if (run.state.batches.length > 0) frozenMs = 61_000;
          return undefined;
        },
      }),
    );
    expect(end).toEqual({ status: 'lost-lease' });
    expect((await learnControl(drills.cores.aws)).epoch).toBe(1);
  });

  test('F48: a function whose clock is early takes a drill from a runner that lives: one of them acts, and one report stands', async () => {
    const drills = await DrillWorld.start();
    const source = shadowSource({ kind: 'switchover', 'blast-radius': { scope: 'all' }, objectives: {}, lease: '60s' });
    source.method = [
      action('hand over', {
        func: 'failover',
        arguments: { from: 'azure', to: 'aws', mode: 'graceful', scope: 'all' },
      }),
      { ...action('again', { func: 'submit', arguments: { home: 'aws' } }), pauses: { before: '2m' } } as never,
    ];
    const early = { ...drills.cores.aws };
    early.clock = { ...early.clock, now: () => drills.now + 90_000, sleep: (ms) => drills.cores.aws.clock.sleep(ms) };
    const told: DrillEntry[] = [];
    const first = (async () => {
      const deps = drills.deps('first', { onEntry: (entry) => void told.push(entry) });
      const started = await startDrill(drills.cores.azure, deps, drills.order(source));
      if (started.status !== 'started') throw new Error(started.status);
      return started.run.run();
    })();
    let second: Promise<unknown> = Promise.resolve('not yet');
    const both = (async () => {
      const end = await first;
      return [end, await second];
    })();
    const [end, tended] = await drills.until(both, () => {
      // While it has cordoned, and waits for the work to be done.
      if (told.some(({ text }) => text.includes('cordoned')) && told.length < 1_000) {
        told.length = 1_000;
        second = tendDrills(early, drills.deps('aws'), [], Number.POSITIVE_INFINITY);
      }
    });
    expect(end).toEqual({ status: 'lost-lease' });
    expect(tended).toMatchObject({
      status: 'run',
      end: { status: 'ended', report: { verdict: { outcome: 'aborted' } } },
    });
    const reports = await Array.fromAsync(listAll(drills.world.aws.journal, 'drills/drill-1/reports/'));
    expect(reports).toHaveLength(1);
    expect(await sitesOf(drills)).toEqual(asBefore);
  });

  test('F48: the control log cannot be listed while it is undone: it waits, and does not take what it knew before for what is', async () => {
    const drills = await DrillWorld.start();
    const source = shadowSource({ kind: 'switchover', 'blast-radius': { scope: 'all' }, objectives: {} });
    source.method = [
      action('hand over', {
        func: 'failover',
        arguments: { from: 'aws', to: 'azure', mode: 'graceful', scope: 'all' },
      }),
    ];
    // The runner's own view of the log is older than the drill.
    const { azure } = drills.cores;
    const first = await learnControl(azure);
    let silent = 0;
    const deaf = <S extends Stores>(site: S): S => ({
      ...site,
      journal: new Proxy(site.journal, {
        get: (target, name) => {
          const member = Reflect.get(target, name);
          if (name !== 'list') return typeof member === 'function' ? member.bind(target) : member;
          return (prefix: string, options: object) => {
            if (!prefix.startsWith('control/') || !isSilent()) return target.list(prefix, options);
            silent += 1;
            return Promise.reject(new SiteUnavailableError('refused', 'silent', site.id));
          };
        },
      }),
    });
    const told: DrillEntry[] = [];
    // From when it begins to undo, for half a minute.
    const isSilent = () => {
      const undoing = told.find(({ kind, text }) => kind === 'phase' && text.startsWith('undo'));
      return undoing !== undefined && drills.now - undoing.at < 30_000;
    };
    const core = {
      ...azure,
      control: { current: async () => first },
      sites: new Map([...azure.sites].map(([id, site]) => [id, deaf(site)])),
      witness: deaf(azure.witness!),
    };
    const deps = drills.deps('runner-1', { onEntry: (entry) => void told.push(entry) });
    const task = (async () => {
      const started = await startDrill(core, deps, drills.order(source));
      if (started.status !== 'started') throw new Error(started.status);
      return started.run.run();
    })();
    const end = await drills.until(task);
    if (end.status !== 'ended') throw new Error(end.status);
    expect(silent).toBeGreaterThan(0);
    expect(told.map(({ text }) => text)).toContain('waits: the control log cannot be read now');
    expect(end.report.verdict.reasons).toEqual([]);
    expect(await sitesOf(drills)).toEqual(asBefore);
  });

  test('F48: two drills start in the same second on two clouds: one runs, the other is told whose turn it is', async () => {
    const drills = await DrillWorld.start();
    const start = (self: Cloud, id: string) =>
      startDrill(drills.cores[self], drills.deps(self), drills.order(shadowSource(), id));
    const both = await drills.until(Promise.all([start('aws', 'one'), start('azure', 'two')]));
    expect(both.map(({ status }) => status).sort()).toEqual(['refused', 'started']);
    const refused = both.find(({ status }) => status === 'refused')!;
    expect('objections' in refused && refused.objections[0]).toMatchObject({ rule: 'one-drill-at-a-time' });
    expect(await learnTurns(drills.cores.aws)).toHaveLength(1);
  });

  test('a scheduled drill starts once, whichever cloud looks first, and again at its next moment', async () => {
    const drills = await DrillWorld.start();
    const file = shadowSource({ schedule: { every: 'day', at: '00:00' } });
    const known = [{ drill: drill(file), file }];
    const tend = (self: Cloud) => tendDrills(drills.cores[self], drills.deps(self), known, Number.POSITIVE_INFINITY);
    const both = await drills.until(Promise.all([tend('aws'), tend('azure')]));
    expect(both.filter((one) => one.status === 'run')).toHaveLength(1);
    expect(await drills.until(tend('aws'))).toEqual({ status: 'nothing' });
    await drills.world.clock.advance(86_400_000);
    await drills.tick();
    expect(await drills.until(tend('azure'))).toMatchObject({ status: 'run', end: { status: 'ended' } });
    expect(await learnTurns(drills.cores.aws)).toHaveLength(2);
  });

  test.each(['aws', 'azure'] as const)(
    '%s starts what is due alone, where the function of the other never runs',
    async (self) => {
      const drills = await DrillWorld.start();
      const file = shadowSource({ schedule: { every: 'day', at: '00:00' } });
      const known = [{ drill: drill(file), file }];
      const tended = await drills.until(
        tendDrills(drills.cores[self], drills.deps(self), known, Number.POSITIVE_INFINITY),
      );
      expect(tended).toMatchObject({ status: 'run', end: { status: 'ended' } });
    },
  );

  test('each report names the hash of the one before', async () => {
    const drills = await DrillWorld.start();
    const first = await drills.run(shadowSource(), { id: 'one' });
    const second = await drills.run(shadowSource(), { id: 'two' });
    expect(first.previous).toBeNull();
    const [turn] = await learnTurns(drills.cores.aws);
    expect(second.previous).toBe((await viewDrill(drills.cores.aws, turn!.turn)).report);
  });
});

test('a page is parsed once by a process, and anew when other bytes lie under its key', async () => {
  const drills = await DrillWorld.start();
  await drills.run(shadowSource());
  const [turn] = await learnTurns(drills.cores.aws);
  const look = async () => (await viewDrill(drills.cores.aws, turn!.turn)).pages;
  const [first, ...others] = await look();
  expect((await look())[0]).toBe(first);
  const { journal } = drills.world.aws;
  const { key } = (await journal.list(`${drillPrefix('drill-1')}pages/`)).entries[0]!;
  const forged = { ...first!, runner: 'another' };
  await journal.delete(key);
  await journal.putIfAbsent(key, factBytes(forged));
  expect(await look()).toEqual([forged, ...others]);
});

describe('F49: nobody sees a drill who did not start it', () => {
  test('F49: its batches are in no list of a tenant, no backlog, no status page', async () => {
    const drills = await DrillWorld.start();
    const report = await drills.run(shadowSource());
    const [{ batch } = { batch: '' }] = report.batches;
    for (const site of ['aws', 'azure'] as const) {
      const keys = await Array.fromAsync(listAll(drills.world[site].journal, 't/'));
      expect(new Set(keys.map(({ key }) => key.split('/')[1]))).toEqual(new Set([drillTenant]));
      expect((await Array.fromAsync(listAll(drills.world[site].journal, recentPrefix('acme')))).length).toBe(0);
    }
    const view = await viewBatch(drills.cores.aws, drillTenant, batch);
    const open = openBatch({ ...view!, publication: undefined }, 'aws')!;
    const sample = nextSample(undefined, [{ ...open, answered: 0 }], drills.now);
    expect(backlogOf(undefined, sample)).toEqual([]);
    const { isDrill: _, ...production } = open;
    expect(backlogOf(undefined, { ...sample, open: [production] })).toHaveLength(1);
  });

  test('F49: while it runs the status page shows no open batch and no backlog', async () => {
    const drills = await DrillWorld.start();
    let looked = 0;
    await drills.run(shadowSource(), {
      each: async () => {
        const core = drills.cores.aws;
        const control = await learnControl(core);
        const open = await readOpenBatches(core, control);
        const page = statusPage({
          control,
          observations: await readObservations(core),
          open,
          policy: controlPolicy(core),
          now: drills.now,
        });
        expect(page.batches).toEqual([]);
        expect(page.sites.map(({ openLines }) => openLines)).toEqual([0, 0]);
        const hints = await Array.fromAsync(listAll(drills.world.aws.state, 'open/'));
        looked += hints.length;
      },
    });
    expect(looked).toBeGreaterThan(0);
  });
});

describe('what keeps a drill from starting, and ends it', () => {
  const refusals = async (drills: DrillWorld, source = shadowSource()) => {
    const started = await startDrill(drills.cores.azure, drills.deps('r'), drills.order(source));
    return started.status === 'refused' ? started.objections.map(({ rule }) => rule) : started.status;
  };

  test('an incident, a freeze, a blocked window, a blocked date, no injector: each is refused by name', async () => {
    const drills = await DrillWorld.start();
    expect(await refusals(drills, outageSource())).toEqual(['faults-at-hand']);
    const date = new Date(drills.now).toISOString().slice(0, 10);
    expect(await refusals(drills, shadowSource({ 'blocked-dates': [date] }))).toEqual(['blocked-date']);
    expect(await refusals(drills, shadowSource({ 'blocked-windows': [{ from: '00:00', until: '23:59' }] }))).toEqual([
      'blocked-window',
    ]);
    drills.says.aws = ['degraded', ['model-throttled']];
    await drills.world.clock.advance(1_000);
    await drills.observe();
    expect(await refusals(drills)).toEqual(['no-drill-in-incident']);
    drills.says.aws = ['healthy', []];
    await drills.world.clock.advance(1_000);
    await drills.observe();
    await command(drills, { kind: 'freeze' });
    expect(await refusals(drills)).toEqual(['not-frozen']);
    expect(await learnTurns(drills.cores.aws)).toEqual([]);
  });

  test('a site on its way back: a drill would take its weight for the one to be left, and is refused', async () => {
    const drills = await DrillWorld.start();
    const send = async (wanted: Parameters<typeof execute>[1]) => {
      await execute(drills.cores.aws, wanted, {
        operationId: drills.cores.aws.ids.uuid(),
        actor: 'operator:anna',
        reason: 'a test',
        force: ['minimum-interval', 'no-solo-flip'],
        observations: await readObservations(drills.cores.aws),
      });
      await drills.world.clock.advance(1_000);
      await drills.observe();
    };
    await send({ kind: 'failover', from: 'azure', to: 'aws', scope: { kind: 'all' }, mode: 'forced' });
    await send({ kind: 'failback', site: 'azure', step: 'start' });
    await send({ kind: 'failback', site: 'azure', step: 5 });
    expect((await sitesOf(drills)).states).toEqual({ aws: 'active 100', azure: 'active 5' });
    expect(await refusals(drills)).toEqual(['no-drill-in-incident']);
    await send({ kind: 'failback', site: 'azure', step: 100 });
    expect(await refusals(drills)).toBe('started');
  });

  test('on-call stops it: what it moved comes back, and the report names who stopped it', async () => {
    const drills = await DrillWorld.start();
    let asked = false;
    const report = await drills.run(shadowSource(), {
      each: async (entries) => {
        if (asked || !entries.some(({ text }) => text === 'take over')) return;
        asked = true;
        await stopDrill(drills.cores.aws, 'drill-1', { actor: 'operator:anna', reason: 'a customer calls' });
      },
    });
    expect(report.verdict.reasons[0]).toBe('stopped: operator:anna stopped it: a customer calls');
    expect(await sitesOf(drills)).toEqual(asBefore);
  });

  test('a person who acts in the control log takes over: the drill ends, and leaves what that person did', async () => {
    const drills = await DrillWorld.start();
    let acted = false;
    const report = await drills.run(shadowSource(), {
      each: async (entries) => {
        if (acted || !entries.some(({ text }) => text === 'take over')) return;
        acted = true;
        await command(drills, { kind: 'weights', weights: { aws: 80, azure: 20 } });
      },
    });
    expect(report.verdict.reasons[0]).toMatch(/^operator-acted: operator:anna acted \(epoch 4\)/);
    expect(await sitesOf(drills)).toEqual({ states: { aws: 'active 80', azure: 'active 20' }, moves: 0 });
  });

  test('the steady state does not hold: nothing is done at all', async () => {
    const drills = await DrillWorld.start();
    const source = shadowSource();
    source['steady-state-hypothesis'].probes[0]!.tolerance = 3;
    const report = await drills.run(source);
    expect(report.verdict.reasons[0]).toBe('steady-state: healthy sites is 2, and not 3');
    expect(report.batches).toEqual([]);
    expect((await learnControl(drills.cores.aws)).epoch).toBe(1);
  });
});

test('results of a drill lie in both clouds when it has ended', async () => {
  const drills = await DrillWorld.start();
  const report = await drills.run(shadowSource());
  for (const { batch } of report.batches)
    for (const site of ['aws', 'azure'] as const)
      expect(
        (await Array.fromAsync(listAll(drills.world[site].journal, resultsPrefix(drillTenant, batch)))).length,
      ).toBeGreaterThan(0);
});
