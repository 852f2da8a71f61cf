import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from '@jest/globals';
import { type DrillReport, junitOf } from '../../../shared/drill/report.ts';
import { drillHtml, historyHtml } from '../../../shared/report/drill.ts';
import { DrillWorld, shadowSource } from './support.ts';

let report: DrillReport;
beforeAll(async () => {
  report = await (await DrillWorld.start()).run(shadowSource());
});
const hash = 'a'.repeat(64);

describe('JUnit', () => {
  test('a test for each objective and check; a missed one is a failure with what was measured', () => {
    const objectives = report.verdict.objectives.map((one) =>
      one.name === 'lost' ? { ...one, isMet: false, measured: '2', evidence: ['a & <b>'] } : one,
    );
    const failed = junitOf({ ...report, verdict: { ...report.verdict, outcome: 'failed', objectives } });
    const total = report.verdict.objectives.length + report.checks.length;
    expect(junitOf(report)).toContain(`tests="${total}" failures="0"`);
    expect(failed).toContain(`tests="${total}" failures="1"`);
    expect(failed).toContain('name="objective lost"><failure message="measured 2, wanted ≤ 0: a &amp; &lt;b&gt;"/>');
  });
});

describe('the page', () => {
  test('holds no script and nothing that is loaded, and what a drill was called cannot become markup', () => {
    const page = drillHtml({ ...report, title: '<script>alert(1)</script>' }, hash);
    expect(page).not.toMatch(/<script|<link|<img|https?:\/\/(?!www\.w3)/);
    expect(page).toContain('&lt;script&gt;alert(1)&lt;/script&gt;');
    expect(page).toContain("default-src 'none'");
  });

  test('history draws RTO and RPO over time', () => {
    const later = { ...report, startedAt: report.startedAt + 86_400_000 };
    const page = historyHtml([report, later]);
    expect(page).toContain('RTO and RPO');
    expect(page.match(/class="line /g)).toHaveLength(2);
  });

  // The page itself holds no script (above): what is drawn without one is what people see.
  const chromium = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find(existsSync);
  (chromium === undefined ? test.skip : test)(
    'in Chromium: verdict, timeline and plots are there, and have a size',
    async () => {
      const folder = mkdtempSync(join(tmpdir(), 'holdfast-page-'));
      // The one script is the test's own; it measures, and the page's policy is lifted for it alone.
      const measure = `<script>addEventListener('load', () => {
      const box = (s) => [...document.querySelectorAll(s)].map((e) => e.getBoundingClientRect()).map((r) => [r.width, r.height]);
      document.title = JSON.stringify({ verdict: document.querySelector('.verdict').textContent, figures: box('figure svg'),
        lines: box('path.line'), spans: box('rect.span'), wide: document.documentElement.scrollWidth - innerWidth });
    });</script>`;
      const page = drillHtml(report, hash)
        .replace(/<meta http-equiv[^>]*>/, '')
        .replace('</body>', `${measure}</body>`);
      try {
        const file = join(folder, 'report.html');
        writeFileSync(file, page);
        const flags = ['--headless=new', '--no-sandbox', '--disable-gpu', `--user-data-dir=${join(folder, 'profile')}`];
        const child = spawn(chromium!, [...flags, '--window-size=1100,1600', '--dump-dom', `file://${file}`]);
        let dom = '';
        child.stdout.on('data', (piece) => (dom += piece));
        await new Promise((resolve) => child.once('close', resolve));
        const title = /<title>(.*?)<\/title>/.exec(dom)![1]!.replaceAll('&quot;', '"');
        const { verdict, figures, lines, spans, wide } = JSON.parse(title);
        expect(verdict).toBe('passed');
        expect(figures).toHaveLength(3);
        for (const [width, height] of figures) {
          expect(width).toBeGreaterThan(600);
          expect(height).toBeGreaterThan(80);
        }
        expect(lines.length).toBeGreaterThanOrEqual(3);
        expect(spans.length).toBeGreaterThan(5);
        expect(wide).toBeLessThanOrEqual(0);
      } finally {
        rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
      }
    },
    120_000,
  );
});
