// The page in a real browser: what a person sees, and that nothing is refused by its own policy.
import { createHash } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium, type Browser, type Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { defaultModelDirectory } from '../../src/base/package-files.ts';
import type { Captioner } from '../../src/captioner/captioner.ts';
import type { ServerSettings } from '../../src/settings/server-settings.ts';
import { BROWSER, warnWithoutBrowser } from '../fixtures/browser.ts';
import { EXAMPLES, exampleOf, examplePath, WIDE } from '../fixtures/examples.ts';
import { fakeCaptioner, type FakeCaptioner } from '../fixtures/fake-captioner.ts';
import { serveApp, type ServedApp } from '../fixtures/served-app.ts';

warnWithoutBrowser('page.test.ts is skipped');

/** Making an embedded database takes seconds, and many on a busy machine. */
const DATABASE_MS = 120_000;
const WORDS = Array.from({ length: 20 }, (_, index) => `word${index} `);

describe.skipIf(BROWSER === undefined)('the page', () => {
  let browser: Browser;
  let app: ServedApp | undefined;
  const complaints: string[] = [];

  beforeAll(async () => {
    browser = await chromium.launch({
      executablePath: BROWSER,
      args: ['--no-sandbox'],
      ignoreDefaultArgs: ['--disable-back-forward-cache'], // people have one
    });
  });
  afterAll(async () => {
    await browser.close();
  });
  afterEach(async () => {
    await Promise.all(browser.contexts().map((context) => context.close()));
    await app?.close();
    app = undefined;
    expect(complaints.splice(0)).toEqual([]);
  });

  function captioner(options?: Parameters<typeof fakeCaptioner>[0]): FakeCaptioner {
    const fake = fakeCaptioner(options);
    return Object.assign(fake, { model: { ...fake.model, directory: defaultModelDirectory() } });
  }

  async function open(
    served: Captioner,
    settings?: ServerSettings,
    viewport = { width: 1200, height: 800 },
  ): Promise<Page> {
    app = await serveApp(served, settings);
    const context = await browser.newContext({
      viewport,
      acceptDownloads: true,
      permissions: ['clipboard-read', 'clipboard-write'],
    });
    const page = await context.newPage();
    page.on('pageerror', (error) => complaints.push(error.message));
    page.on('console', (message) => {
      // Chromium reports every answer of 4xx as an error of its own.
      if (message.type() === 'error' && !message.text().startsWith('Failed to load resource'))
        complaints.push(message.text());
    });
    await page.goto(app.url);
    return page;
  }

  /** Which captions it at once. */
  async function takeSample(page: Page, name: string = WIDE): Promise<void> {
    await page.getByRole('button', { name }).click();
    await page.locator('#video').waitFor({ state: 'visible' });
  }

  it('captions a sample on one click: stages, words as they arrive, the caption beside the playing video, then the reference', async () => {
    const fake = captioner({ words: WORDS, wordDelayMs: 40 });
    const page = await open(fake);
    await takeSample(page);
    await expect.poll(() => page.locator('#caption').textContent(), { timeout: 20_000 }).toContain('word3');
    expect(await page.locator('#caption').textContent()).not.toContain('word19');
    expect(await page.getByRole('button', { name: 'Cancel' }).isVisible()).toBe(true);
    expect(await page.locator('#truth').isVisible()).toBe(false);
    await expect.poll(() => page.locator('#caption').textContent(), { timeout: 20_000 }).toBe(WORDS.join(''));
    const stages = await page.locator('#stages li').allTextContents();
    expect(stages.join()).toMatch(/Sending.*Looking at the file.*Writing/);
    expect(await page.locator('#facts').textContent()).toMatch(
      /8 frames of 84×56, 4\.0 s of sound, 150 prompt tokens[\s\S]*21 tokens written/,
    );
    expect(fake.seen[0]?.request).toMatchObject({ useAudio: true, prompt: undefined });
    expect(fake.seen[0]?.bytes.equals(await readFile(examplePath(WIDE)))).toBe(true);
    await page.locator('#keep').waitFor({ state: 'visible' });
    const truth = await page.getByRole('region', { name: 'What is in the clip' }).textContent();
    expect(truth?.replaceAll(/\s+/g, ' ').trim()).toBe(`What is in the clip ${exampleOf(WIDE).caption}`);
  });

  it('shows segments as a timeline beside the player, which jumps to them and shows them as subtitles', async () => {
    const segments = [
      { start: 0, end: 2.5 },
      { start: 2.5, end: 6 },
    ];
    const page = await open(captioner({ words: ['A <red> ', 'ball.'], wordDelayMs: 300, segments }));
    await takeSample(page);
    await page.locator('#timeline li[aria-current]', { hasText: '00:00:02.500 – 00:00:06.000' }).waitFor();
    await page.locator('#keep').waitFor({ state: 'visible' });
    expect(await page.locator('#timeline li[aria-current]').count()).toBe(0);
    expect(await page.locator('#timeline p').allTextContents()).toEqual(['A <red> ball.', 'A <red> ball.']);
    await page.getByRole('button', { name: '00:00:02.500 –' }).click();
    expect(await page.evaluate("document.querySelector('#video').currentTime")).toBeGreaterThanOrEqual(2.5);
    await page.getByLabel('subtitles in the player').check();
    const tracks = "document.querySelector('#video').textTracks";
    const track = `${tracks}[0]`;
    await expect
      .poll(() => page.evaluate(`[${track}.mode, ${track}.cues.length, ${track}.activeCues[0]?.startTime]`))
      .toEqual(['showing', 2, 2.5]);
    const download = page.waitForEvent('download');
    await page.getByRole('button', { name: 'Download subtitles' }).click();
    const path = await (await download).path();
    expect(await readFile(path, 'utf8')).toMatch(/^WEBVTT\n\n00:00:00\.000 --> 00:00:02\.500\nA &lt;red&gt; ball\.\n/);
    await page.getByRole('button', { name: 'Caption', exact: true }).click();
    await page.locator('#timeline li[aria-current]').waitFor();
    expect(await page.evaluate(`[${tracks}.length, ${track}.mode]`)).toEqual([1, 'disabled']);
    await page.getByRole('button', { name: 'Cancel' }).click();
    expect(await page.locator('#timeline li[aria-current]').count()).toBe(0);
  });

  it('offers every sample with its kind, in their order', async () => {
    const page = await open(captioner());
    await page.locator('#samples').waitFor({ state: 'visible' });
    const offered = await page.locator('#samples button').allTextContents();
    expect(offered).toEqual(Object.entries(EXAMPLES).map(([name, { kind }]) => `${name} ${kind}`));
    expect(offered[0]).toContain(WIDE);
  });

  it('changes to another sample during a caption, and shows no reference for an unknown file', async () => {
    const fake = captioner({ words: WORDS, wordDelayMs: 40 });
    const page = await open(fake);
    await takeSample(page);
    await expect.poll(() => page.locator('#caption').textContent(), { timeout: 20_000 }).toContain('word1');
    await takeSample(page, 'long-10s.mp4');
    await expect
      .poll(() => page.locator('#reference').textContent(), { timeout: 20_000 })
      .toBe(exampleOf('long-10s.mp4').caption);
    await vi.waitFor(
      () => {
        expect(fake.endings).toEqual(['caption-aborted', 'caption-end']);
      },
      { timeout: 10_000 },
    );
    await page.locator('#keep').waitFor({ state: 'visible' }); // until then the button does nothing
    await page.locator('#file').setInputFiles(examplePath(WIDE));
    await page.getByRole('button', { name: 'Caption', exact: true }).click();
    await expect.poll(() => fake.endings.length, { timeout: 20_000 }).toBe(3);
    await page.locator('#keep').waitFor({ state: 'visible' });
    expect(await page.locator('#truth').isVisible()).toBe(false);
  });

  it('sends the prompt and switches the sound off', async () => {
    const fake = captioner();
    const page = await open(fake);
    await page.locator('#file').setInputFiles(examplePath(WIDE));
    await page.getByLabel('Prompt').fill('Only the colours.');
    await page.getByLabel('Listen to the sound').uncheck();
    await page.keyboard.press('Tab');
    await page.keyboard.press('Enter');
    await page.locator('#keep').waitFor({ state: 'visible' });
    expect(fake.seen[0]?.request).toMatchObject({ useAudio: false, prompt: 'Only the colours.' });
  });

  it('lets the caption be copied and downloaded as text and JSON', async () => {
    const page = await open(captioner());
    await takeSample(page);
    await page.locator('#keep').waitFor({ state: 'visible' });
    await page.getByRole('button', { name: 'Copy' }).click();
    await expect.poll(() => page.locator('#status').textContent()).toBe('Copied.');
    expect(await page.evaluate('navigator.clipboard.readText()')).toBe('A red ball rolls.\nMüße 🎈');
    const directory = await mkdtemp(join(tmpdir(), 'avocado-page-'));
    for (const [button, name] of [
      ['Download text', 'wide-6s.txt'],
      ['Download JSON', 'wide-6s.json'],
    ] as const) {
      const [download] = await Promise.all([
        page.waitForEvent('download'),
        page.getByRole('button', { name: button }).click(),
      ]);
      expect(download.suggestedFilename()).toBe(name);
      await download.saveAs(join(directory, name));
    }
    expect(await readFile(join(directory, 'wide-6s.txt'), 'utf8')).toBe('A red ball rolls.\nMüße 🎈\n');
    expect(JSON.parse(await readFile(join(directory, 'wide-6s.json'), 'utf8'))).toMatchObject({
      caption: 'A red ball rolls.\nMüße 🎈',
      finish_reason: 'stop',
      media: { kind: 'video' },
    });
    await rm(directory, { recursive: true });
  });

  it('says errors as sentences, before, during and after the upload', async () => {
    const page = await open(
      captioner({ error: { code: 'media_undecodable', message: () => 'The clip is damaged. Re-encode it.' } }),
      { maxUploadBytes: 80_000 },
    );
    await page.getByRole('button', { name: 'Caption', exact: true }).click();
    await expect.poll(() => page.locator('#error').textContent()).toContain('Choose a file first');
    await takeSample(page);
    await expect.poll(() => page.locator('#error').textContent()).toBe('The clip is damaged. Re-encode it.');
    await takeSample(page, 'long-10s.mp4');
    await expect.poll(() => page.locator('#error').textContent()).toContain('larger than the 80000 bytes');
  });

  it('cancels: the server’s caption is aborted', async () => {
    const fake = captioner({ words: WORDS, wordDelayMs: 100 });
    const page = await open(fake);
    await takeSample(page);
    await expect.poll(() => page.locator('#caption').textContent(), { timeout: 20_000 }).toContain('word1');
    await page.getByRole('button', { name: 'Cancel' }).click();
    await vi.waitFor(
      () => {
        expect(fake.endings).toEqual(['caption-aborted']);
      },
      { timeout: 10_000 },
    );
    expect(await page.locator('#status').textContent()).toBe('Cancelled.');
    expect(await page.evaluate('document.activeElement.id')).toBe('go');
  });

  it('takes a dropped file', async () => {
    const fake = captioner();
    const page = await open(fake);
    const transfer = await page.evaluateHandle(
      "(() => { const data = new DataTransfer(); data.items.add(new File(['abc'], 'drop.mp4', { type: 'video/mp4' })); return data; })()",
    );
    await page.dispatchEvent('#drop', 'dragover', { dataTransfer: transfer });
    await page.dispatchEvent('#drop', 'drop', { dataTransfer: transfer });
    await page.getByRole('button', { name: 'Caption', exact: true }).click();
    await page.locator('#keep').waitFor({ state: 'visible' });
    expect(fake.seen[0]?.bytes.toString()).toBe('abc');
  });

  it('asks for a key where the server wants one', async () => {
    const page = await open(captioner(), {
      apiKeys: [{ name: 'team', sha256: createHash('sha256').update('secret-key-0123456789').digest('hex') }],
    });
    expect(await page.getByLabel('Key of this server').isVisible()).toBe(false);
    await takeSample(page);
    await expect.poll(() => page.locator('#error').textContent()).toContain('key');
    await page.getByLabel('Key of this server').fill('••••••••'); // copied from where it is hidden
    await page.getByRole('button', { name: 'Caption', exact: true }).click();
    await page.getByText('Jobs', { exact: true }).click();
    for (const place of ['#error', '#jobs-error'])
      await expect.poll(() => page.locator(place).textContent()).toContain('The key is not one of this server’s');
    await page.getByLabel('Key of this server').fill('secret-key-0123456789');
    await page.getByRole('button', { name: 'Caption', exact: true }).click();
    await page.locator('#keep').waitFor({ state: 'visible' });
  });

  it('fits a phone, and everything on it has a name', async () => {
    const page = await open(captioner(), {}, { width: 360, height: 640 });
    await takeSample(page);
    expect(await page.evaluate('document.documentElement.scrollWidth <= innerWidth')).toBe(true);
    const nameless = await page.evaluate(`[...document.querySelectorAll('button, input, textarea, video')]
      .filter((node) => !(node.labels?.length || node.textContent.trim() || node.ariaLabel)).map((node) => node.outerHTML)`);
    expect(nameless).toEqual([]);
  });

  it('shows jobs: made here, watched, their failures tried again, stopped, downloaded and removed', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'avocado-page-jobs-'));
    for (const name of ['a', 'slow']) await writeFile(join(directory, `${name}.mp4`), name);
    const fake = captioner(({ prompt }) => (prompt === 'slow' ? { wordDelayMs: 60_000 } : {}));
    const page = await open(fake, { jobsDirectory: join(directory, 'jobs'), mediaRoots: [`m=${directory}`] });
    await page.getByText('Jobs', { exact: true }).click();
    const told = page.locator('#jobs-status, #jobs-error');
    await expect.poll(() => told.allTextContents(), { timeout: DATABASE_MS }).toEqual(['There are no jobs.', '']);
    await page.getByLabel('Files of this server').fill('media://m/a.mp4\n\n media://m/<late>.mp4 ');
    await page.getByRole('button', { name: 'Start a job' }).click();
    await expect.poll(() => told.allTextContents(), { timeout: DATABASE_MS }).toEqual([expect.any(String), '']);
    const first = page.locator('#job-list > li').last();
    await expect
      .poll(() => first.locator('p').textContent(), { timeout: DATABASE_MS })
      .toBe('completed, 1 of 2 captioned, 1 failed');
    await first.getByText('Failures').click();
    await expect
      .poll(() => first.locator('li').allTextContents())
      .toEqual(['media://m/<late>.mp4: There is no file media://m/<late>.mp4. media_not_found']);
    await writeFile(join(directory, '<late>.mp4'), 'late');
    await first.getByRole('button', { name: 'Retry failed' }).click();
    await expect
      .poll(() => first.locator('p').textContent(), { timeout: DATABASE_MS })
      .toBe('completed, 2 of 2 captioned');
    const [download] = await Promise.all([
      page.waitForEvent('download'),
      first.getByRole('button', { name: 'Download results' }).click(),
    ]);
    expect(download.suggestedFilename()).toMatch(/^job-\w+\.jsonl$/);
    const lines = (await readFile(await download.path(), 'utf8')).trim().split('\n');
    expect(lines.map((line) => (JSON.parse(line) as { status: string }).status)).toEqual(['completed', 'completed']);

    await page.getByLabel('Prompt').fill('slow');
    await page.getByLabel('Files of this server').fill('media://m/slow.mp4');
    await page.getByRole('button', { name: 'Start a job' }).click();
    await expect.poll(() => page.locator('#job-list > li').count(), { timeout: DATABASE_MS }).toBe(2);
    const second = page.locator('#job-list > li').first();
    await second.getByRole('button', { name: 'Pause' }).click();
    await expect
      .poll(() => second.locator('p').textContent(), { timeout: DATABASE_MS })
      .toBe('paused, 0 of 1 captioned');
    await second.getByRole('button', { name: 'Resume' }).click();
    await second.getByRole('button', { name: 'Cancel' }).click();
    await expect
      .poll(() => second.locator('p').textContent(), { timeout: DATABASE_MS })
      .toBe('cancelled, 0 of 1 captioned, 1 cancelled');
    const nameless = await page.evaluate(`[...document.querySelectorAll('#jobs :is(button, textarea, progress)')]
      .filter((node) => !(node.labels?.length || node.textContent.trim() || node.getAttribute('aria-labelledby'))).length`);
    expect(nameless).toBe(0);
    await second.getByRole('button', { name: 'Remove' }).click();
    await expect.poll(() => page.locator('#job-list > li').count(), { timeout: DATABASE_MS }).toBe(1);
    await app?.close();
    app = undefined;
    await rm(directory, { recursive: true });
  });

  it('goes on with jobs after another page, and says in plain words that the server is away', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'avocado-page-jobs-'));
    const page = await open(captioner(), {
      ...{ jobsDirectory: join(directory, 'jobs'), mediaRoots: [`m=${directory}`], jobSlots: 0 },
    });
    await page.getByText('Jobs', { exact: true }).click();
    await page.getByLabel('Files of this server').fill('media://m/a.mp4');
    await page.getByRole('button', { name: 'Start a job' }).click();
    const counts = page.locator('#job-list > li > p');
    await expect
      .poll(() => counts.allTextContents(), { timeout: DATABASE_MS })
      .toEqual(['in progress, 0 of 1 captioned']);
    await page.goto(`${app?.url ?? ''}/docs`);
    await Promise.all([
      page.waitForRequest(/\/v1\/jobs\?limit/, { timeout: 20_000 }),
      page.evaluate('setTimeout(() => history.back(), 100)'),
    ]);
    await app?.close();
    app = undefined;
    await expect.poll(() => page.locator('#jobs-error').textContent(), { timeout: 20_000 }).toContain('Check that the');
    await page.getByRole('button', { name: WIDE }).click();
    await expect.poll(() => page.locator('#error').textContent()).toContain('The connection broke. Check that the');
    await rm(directory, { recursive: true });
  });

  it('says how jobs are turned on where the server has none', async () => {
    const page = await open(captioner());
    await page.getByText('Jobs', { exact: true }).click();
    await expect.poll(() => page.locator('#jobs-error').textContent()).toContain('--jobs-dir');
  });

  it('gives no file that is not a sample', async () => {
    const page = await open(captioner());
    for (const name of ['captions.json', '..%2fconfig.json', 'nothing.mp4']) {
      expect((await page.request.get(`${app?.url ?? ''}/page/samples/${name}`)).status()).toBe(404);
    }
  });
});
