import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from '@jest/globals';
import { chromium, type Page } from 'playwright-core';
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

  const executablePath = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find(existsSync);
  describe.each([
    ['without JavaScript', false],
    ['with it', true],
  ])('in Chromium, %s', (_, javaScriptEnabled) => {
    const inBrowser = executablePath === undefined ? test.skip : test;

    /** The page as a file, as whoever gets it by mail opens it. */
    async function open<T>(html: string, width: number, look: (page: Page) => Promise<T>): Promise<T> {
      const folder = mkdtempSync(join(tmpdir(), 'holdfast-page-'));
      const browser = await chromium.launch({ executablePath: executablePath!, args: ['--no-sandbox'] });
      try {
        const file = join(folder, 'report.html');
        writeFileSync(file, html);
        const context = await browser.newContext({ javaScriptEnabled, viewport: { width, height: 1000 } });
        const page = await context.newPage();
        const wrong: string[] = [];
        page.on('console', (message) => void wrong.push(message.text()));
        page.on('requestfailed', (request) => void wrong.push(request.url()));
        page.on('request', (request) => {
          if (!request.url().startsWith('file:')) wrong.push(request.url());
        });
        await page.goto(`file://${file}`);
        const seen = await look(page);
        expect(wrong).toEqual([]);
        return seen;
      } finally {
        await browser.close();
        rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
      }
    }

    const boxesOf = async (page: Page, selector: string) =>
      Promise.all((await page.locator(selector).all()).map((one) => one.boundingBox()));

    inBrowser.each([1100, 420])(
      'verdict, timeline and plots are there and legible, %i pixels wide',
      async (width) => {
        await open(drillHtml(report, hash), width, async (page) => {
          const verdict = page.locator('.verdict');
          expect(await verdict.textContent()).toBe('passed');
          expect((await verdict.boundingBox())!.y).toBeLessThan(200);
          for (const title of ['Objectives', 'Timeline', 'Backlog and throughput', 'What happened', 'Evidence'])
            expect(await page.getByRole('heading', { name: title, exact: true }).isVisible()).toBe(true);
          const figures = await boxesOf(page, 'figure svg');
          expect(figures).toHaveLength(3);
          for (const box of figures) {
            expect(box!.width).toBeGreaterThan(Math.min(600, 0.7 * width));
            expect(box!.height).toBeGreaterThan(80);
          }
          // What was done lies inside the timeline, a span for each, and both plots have a line with an extent.
          const [timeline] = figures;
          const spans = await boxesOf(page, 'rect.span');
          expect(spans.length).toBeGreaterThan(5);
          for (const box of spans) {
            expect(box!.width).toBeGreaterThan(0);
            expect(box!.y).toBeGreaterThanOrEqual(timeline!.y);
            expect(box!.y + box!.height).toBeLessThanOrEqual(timeline!.y + timeline!.height + 1);
          }
          const lines = await boxesOf(page, 'path.line');
          expect(lines.filter((box) => box!.width > 0.3 * width).length).toBeGreaterThanOrEqual(3);
          for (const text of await page.locator('h1, .tile b, .tile span').all()) {
            const box = await text.boundingBox();
            expect(box!.height).toBeGreaterThan(9);
          }
          // Nothing sticks out sideways: tables and figures scroll in themselves.
          for (const selector of ['body', '.tiles', 'h1', 'figure', '.scroll'])
            for (const box of await boxesOf(page, selector)) expect(box!.x + box!.width).toBeLessThanOrEqual(width);
        });
      },
      120_000,
    );

    inBrowser(
      'a title that is markup is read as text',
      async () => {
        const title = '<img src=x onerror="document.title=1"><b>bold</b>';
        await open(drillHtml({ ...report, title }, hash), 1100, async (page) => {
          expect(await page.locator('h1').textContent()).toBe(title);
          expect(await page.locator('h1 *').count()).toBe(0);
        });
      },
      120_000,
    );
  });
});
