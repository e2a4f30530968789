// A library from its listing to its report, with a captioner without a model.
import { hash } from 'node:crypto';
import { linkSync, readdirSync, readFileSync, renameSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createRequire } from 'node:module';
import { XMLParser } from 'fast-xml-parser';
import SrtParser from 'srt-parser-2';
import { describe, expect, it } from 'vitest';
import { progressText, RateMeter } from '../../../src/batch/progress.ts';
import { sidecarText } from '../../../src/batch/render-sidecar.ts';
import { failureClass, pauseMs, RETRY_POLICY } from '../../../src/batch/retry.ts';
import type { BatchOptions } from '../../../src/batch/run-batch.ts';
import type { ResultLine } from '../../../src/batch/types.ts';
import { Settling } from '../../../src/batch/watch.ts';
import { AvocadoError } from '../../../src/base/errors.ts';
import { batchOptions, libraries, runBatch } from '../../fixtures/batch-run.ts';
import { jsonLines } from '../../fixtures/clip-library.ts';
import { fakeCaptioner, type FakeCaptioner, type FakeOptions } from '../../fixtures/fake-captioner.ts';

/** The parser of the W3C's validator; it brings no types. */
const { WebVTTParser } = createRequire(import.meta.url)('webvtt-parser') as {
  readonly WebVTTParser: new () => {
    parse(
      text: string,
      mode: 'metadata',
    ): {
      readonly cues: readonly { readonly startTime: number; readonly endTime: number; readonly text: string }[];
      readonly errors: readonly unknown[];
    };
  };
};

const libraryOf = libraries();
const POLICY = { ...RETRY_POLICY, firstPauseMs: 1 };

type Run = Partial<BatchOptions> & { readonly captioner?: FakeCaptioner; readonly keepsOthers?: boolean };

async function run(directory: string, { captioner = fakeCaptioner(), keepsOthers = false, ...others }: Run = {}) {
  let opened = 0;
  const ended = await runBatch(
    {
      ...batchOptions(directory),
      openCaptioner: async () => {
        opened += 1;
        return captioner;
      },
      policy: POLICY,
      ...others,
    },
    keepsOthers,
  );
  return { ...ended, opened };
}

function results(directory: string): ResultLine[] {
  return jsonLines(join(directory, 'captions.jsonl'));
}

const byPath = (options: Readonly<Record<string, FakeOptions>>) =>
  fakeCaptioner(({ path }) => Object.entries(options).find(([name]) => path.endsWith(name))?.[1] ?? {});
const failing = (code: 'media_undecodable' | 'engine_error' | 'engine_unavailable'): FakeOptions => ({
  error: { code, message: (path) => `${path} failed.` },
});

describe('a library', () => {
  it('is captioned once, and a second run does nothing', async () => {
    const directory = libraryOf({
      'a.mp4': '1',
      'in/b.mp4': '2',
      'in/same.mp4': '1',
      'bad$&.mp4': '3',
      'empty.mp4': '',
    });
    const captioner = byPath({ 'bad$&.mp4': failing('media_undecodable'), 'empty.mp4': failing('media_undecodable') });
    const first = await run(directory, { captioner });
    expect(first.outcomes).toEqual({ captioned: 2, duplicate: 1, failed: 2 });
    expect(first.report).toMatchObject({ listed: 5, failures: { media_undecodable: 2 }, tokens: { completion: 12 } });
    const lines = results(directory);
    expect(lines.map(({ path }) => path).sort()).toEqual(['a.mp4', 'in/b.mp4', 'in/same.mp4']);
    expect(lines.filter(({ duplicate_of: of }) => of !== undefined)).toHaveLength(1);
    expect(new Set(lines.map(({ id }) => id)).size).toBe(2);
    expect(readFileSync(join(directory, 'in/same.mp4.txt'), 'utf8')).toBe('A red ball rolls.\nMüße 🎈\n');
    const failures = readFileSync(join(directory, '.avocado', 'failures.jsonl'), 'utf8')
      .trim()
      .split('\n');
    expect(failures.map((line) => (JSON.parse(line) as { message: string }).message).sort()).toEqual([
      'bad$&.mp4 failed.',
      'empty.mp4 failed.',
    ]);
    expect(captioner.seen.filter(({ request }) => request.priority === 'batch').length).toBe(captioner.seen.length);

    const second = await run(directory, { captioner });
    expect([second.outcomes, second.opened]).toEqual([{ unchanged: 3, 'failed-before': 2 }, 0]);
    expect(results(directory)).toHaveLength(3);
    expect((await run(directory, { captioner, retryFailed: 'media_too_short' })).opened).toBe(0);
    expect((await run(directory, { retryFailed: 'media_undecodable' })).outcomes).toEqual({
      captioned: 1,
      failed: 1,
      unchanged: 3,
    });
  });

  it('is done again where files or settings changed, on purpose', async () => {
    const directory = libraryOf({ 'a.mp4': '1', 'b.mp4': '2' });
    await run(directory);
    writeFileSync(join(directory, 'a.mp4'), 'other');
    utimesSync(join(directory, 'b.mp4'), 1, 1);
    const captioner = fakeCaptioner();
    expect((await run(directory, { captioner })).outcomes).toEqual({ captioned: 1, unchanged: 1 });
    expect(captioner.seen).toHaveLength(1);
    renameSync(join(directory, 'b.mp4'), join(directory, 'moved.mp4'));
    expect((await run(directory)).outcomes).toEqual({ duplicate: 1, unchanged: 1 });

    const other = { options: { prompt: 'Why?' } };
    expect((await run(directory, { ...other, keepsOthers: true })).outcomes).toEqual({ 'other-settings': 2 });
    const redone = await run(directory, other);
    expect(redone.outcomes).toEqual({ captioned: 2 });
    expect(redone.report.keptCount).toBe(0);
    expect(results(directory)).toHaveLength(6);
    expect((await run(directory, other)).outcomes).toEqual({ unchanged: 2 });
    const back = fakeCaptioner();
    expect((await run(directory, { captioner: back })).outcomes).toEqual({ duplicate: 2 });
    expect(back.seen).toHaveLength(0);
  });

  it('keeps what a person wrote, and makes again what was deleted', async () => {
    const both = { formats: ['json', 'txt'] } as const;
    const directory = libraryOf({ 'a.mp4': '1', 'b.mp4': '2', 'b.mp4.txt': 'my own words' });
    const first = await run(directory, both);
    expect([first.outcomes, first.report.keptCount]).toEqual([{ captioned: 2 }, 1]);
    writeFileSync(join(directory, 'a.mp4.txt'), 'edited');
    rmSync(join(directory, 'a.mp4.json'));
    const second = await run(directory, both);
    expect([second.outcomes, second.opened, second.report.keptCount]).toEqual([{ written: 1, unchanged: 1 }, 0, 2]);
    expect(readFileSync(join(directory, 'a.mp4.txt'), 'utf8')).toBe('edited');
    expect(readFileSync(join(directory, 'b.mp4.txt'), 'utf8')).toBe('my own words');
    expect(JSON.parse(readFileSync(join(directory, 'a.mp4.json'), 'utf8'))).toMatchObject({ path: 'a.mp4' });
    const third = await run(directory, both);
    expect([third.outcomes, third.report.keptCount]).toEqual([{ unchanged: 2 }, 2]);
    const redone = await run(directory, { ...both, options: { prompt: 'Why?' } });
    expect([redone.outcomes, redone.report.keptCount]).toEqual([{ captioned: 2 }, 2]);
    expect(readFileSync(join(directory, 'a.mp4.txt'), 'utf8')).toBe('edited');
    expect(readdirSync(directory).filter((name) => name.includes('tmp'))).toEqual([]);
  });

  it('leaves no temporary file of a process that was killed when a sidecar had its name, but no line', async () => {
    const library = libraryOf({ 'a.mp4': 'a' });
    await run(library);
    for (const name of ['captions.jsonl', '.avocado']) rmSync(join(library, name), { recursive: true });
    const sidecar = join(library, 'a.mp4.txt');
    linkSync(sidecar, join(library, `.${hash('sha256', sidecar).slice(0, 16)}.avocado-tmp`));
    await run(library);
    expect(readdirSync(library).sort()).toEqual(['.avocado', 'a.mp4', 'a.mp4.txt', 'captions.jsonl']);
  });

  it('tries passing failures again, gives up poison, and lets the death of the engine cost the others nothing', async () => {
    const files = Object.fromEntries(Array.from({ length: 6 }, (_, n) => [`${n}.mp4`, String(n)]));
    const directory = libraryOf({ ...files, 'poison.mp4': 'p', 'flaky.mp4': 'f', 'never.mp4': 'n' });
    const tries = { 'flaky.mp4': 0, 'never.mp4': 0, 'poison.mp4': 0, innocent: 0 };
    const captioner = fakeCaptioner(({ path }) => {
      const name = (Object.keys(tries) as (keyof typeof tries)[]).find((end) => path.endsWith(end)) ?? 'innocent';
      tries[name] += 1;
      if (name === 'never.mp4' || (name === 'flaky.mp4' && tries[name] < 3)) return failing('engine_error');
      if (name === 'poison.mp4') return failing('engine_unavailable');
      return name === 'innocent' && tries.innocent % 5 === 0 ? failing('engine_unavailable') : { wordDelayMs: 1 };
    });
    const { outcomes, report } = await run(directory, { captioner });
    expect(outcomes).toEqual({ captioned: 7, failed: 2 });
    expect(report.failures).toEqual({ engine_error: 2 });
    expect(tries['flaky.mp4']).toBeGreaterThanOrEqual(3);
    const failures = readFileSync(join(directory, '.avocado', 'failures.jsonl'), 'utf8');
    expect(failures).toContain('The engine process died 2 times while it had this file alone.');
    // What may pass is tried again by the next run, poison is not.
    expect((await run(directory)).outcomes).toEqual({ captioned: 1, unchanged: 7, 'failed-before': 1 });
  });

  it('captions a file again that is written to meanwhile', async () => {
    const directory = libraryOf({ 'a.mp4': 'half' });
    const captioner = fakeCaptioner(() => {
      if (captioner.seen.length === 0) writeFileSync(join(directory, 'a.mp4'), 'all of it');
      return {};
    });
    expect((await run(directory, { captioner })).outcomes).toEqual({ captioned: 1 });
    expect(captioner.seen).toHaveLength(2);
    expect(results(directory)[0]?.content).toBe(hash('sha256', 'all of it'));
  });

  it('is left whole by an interruption and by a full disk, and the next run goes on', async () => {
    const files = Object.fromEntries(Array.from({ length: 12 }, (_, n) => [`${n}.mp4`, String(n)]));
    const directory = libraryOf(files);
    const interruption = new AbortController();
    const captioner = fakeCaptioner(() => {
      if (captioner.seen.length > 4) interruption.abort();
      return { wordDelayMs: 1 };
    });
    const first = await run(directory, { captioner, signal: interruption.signal });
    expect(first.outcomes['captioned']).toBeLessThan(12);
    expect(first.outcomes['open']).toBeGreaterThan(0);
    const done = results(directory).length;
    const stopped = await run(directory, {
      captioner: byPath({ '.mp4': { throws: Object.assign(new Error('full'), { code: 'ENOSPC' }) } }),
    });
    expect(stopped.thrown).toMatchObject({ code: 'storage_full' });
    expect((await run(directory)).outcomes).toEqual({ captioned: 12 - done, unchanged: done });
    expect(new Set(results(directory).map(({ path }) => path)).size).toBe(12);
    expect(results(directory)).toHaveLength(12);
  });

  it('is shared by two runs at once: nothing is done twice', async () => {
    const files = Object.fromEntries(Array.from({ length: 16 }, (_, n) => [`${n}.mp4`, String(n % 13)]));
    const directory = libraryOf(files);
    const captioners = [1, 2].map(() => fakeCaptioner({ wordDelayMs: 1 }));
    const runs = await Promise.all(captioners.map((captioner) => run(directory, { captioner })));
    const seen = captioners.flatMap((captioner) => captioner.seen.map(({ bytes }) => bytes.toString()));
    expect(seen.sort()).toEqual([...new Set(seen)].sort());
    expect(seen).toHaveLength(13);
    expect(
      results(directory)
        .map(({ path }) => path)
        .sort(),
    ).toEqual(Object.keys(files).sort());
    for (const { report, outcomes } of runs) {
      expect(report.listed).toBe(16);
      expect(
        Object.keys(outcomes).filter(
          (name) => !['captioned', 'duplicate', 'elsewhere', 'unchanged', 'written'].includes(name),
        ),
      ).toEqual([]);
    }
    expect((await run(directory)).outcomes).toEqual({ unchanged: 16 });
  });
});

describe('retries', () => {
  it('are for failures that may pass', () => {
    const classOf = (code: ConstructorParameters<typeof AvocadoError>[0], cause?: unknown): string =>
      failureClass(new AvocadoError(code, 'x', cause === undefined ? {} : { cause }));
    expect(
      ['bad_request', 'media_undecodable', 'media_timeout', 'context_length_exceeded'].map((code) =>
        classOf(code as 'bad_request'),
      ),
    ).toEqual(Array(4).fill('never'));
    expect([classOf('engine_error'), classOf('queue_full')]).toEqual(['passing', 'passing']);
    expect([classOf('engine_unavailable'), classOf('ffmpeg_missing'), classOf('checkpoint_invalid')]).toEqual([
      'engine',
      'stop',
      'stop',
    ]);
    expect(classOf('media_unreachable', new Error('reset'))).toBe('passing');
    expect(classOf('media_unreachable', new AvocadoError('media_unreachable', 'status 404'))).toBe('never');
    const pauses = [1, 2, 3, 10].map((attempts) => pauseMs(attempts, RETRY_POLICY, () => 1));
    expect(pauses).toEqual([1000, 2000, 4000, 60_000]);
  });
});

describe('progress', () => {
  it('tells when it will be done, with an interval that narrows', () => {
    const meter = new RateMeter();
    meter.begin(0);
    expect(meter.remaining(10)).toBeUndefined();
    const widths: number[] = [];
    for (let n = 1; n <= 100; n++) {
      meter.ended(n * 1000 + (n % 2) * 500);
      const left = meter.remaining(100);
      if (n % 50 === 0) widths.push(left!.most - left!.least);
    }
    const { seconds, least, most } = meter.remaining(100)!;
    expect([Math.round(seconds), least < 100, most > 100]).toEqual([100, true, true]);
    expect(widths[1]).toBeLessThan(widths[0]!);
    const facts = {
      ended: 3,
      total: 10,
      mediaSeconds: 7200,
      wallSeconds: 3600,
      failures: new Map([['media_empty', 2]] as const),
    };
    expect(progressText({ ...facts, remaining: { seconds: 60, least: 30, most: 600 } })).toBe(
      '3 of 10 · 2.0 h of media, 2.0 h/h · 60 s left (30 s to 10 min) · 2 failed: media_empty 2',
    );
  });

  it('of a watched folder begins when a file has rested', () => {
    let nowMs = 0;
    const settling = new Settling(100, () => nowMs);
    const rested = (seen: string, changedMs = nowMs): boolean => settling.hasRested('a', seen, changedMs);
    expect(settling.hasRested('old', 'x', -1000)).toBe(true);
    expect(rested('1')).toBe(false);
    settling.turn();
    nowMs = 60;
    expect(rested('2')).toBe(false); // it grew
    settling.turn();
    nowMs = 150;
    expect(rested('2', 150)).toBe(false);
    settling.turn();
    nowMs = 160;
    expect(rested('2', 160)).toBe(true); // unchanged for 100 ms, though the clock of its disk is ahead
  });
});

describe('sidecars', () => {
  it('hold the caption in each format, whatever is in it', () => {
    const line: ResultLine = {
      ...{ key: 'a.mp4', path: 'in/a.mp4', id: 'x', content: 'c', settings: 's', captioned_at: '' },
      caption: 'A <b> & "c" --> d\n\nnext\u0001 line ]]>\ud800',
      media: { duration_seconds: 62.5 },
    };
    expect(JSON.parse(sidecarText('json', line))).toMatchObject({ path: 'in/a.mp4' });
    expect(sidecarText('md', line)).toContain('# a.mp4\n\nA <b>');
    expect(sidecarText('vtt', line)).toContain('00:00:00.000 --> 00:01:02.500\nA &lt;b&gt; &amp; "c" --&gt; d\nnext');
    expect(sidecarText('srt', line)).toContain('00:00:00,000 --> 00:01:02,500\n');
    const part = { ...line, media: { duration_seconds: 2.5, part: { start: 60, end: 62.5 } } };
    expect(sidecarText('vtt', part)).toContain('00:01:00.000 --> 00:01:02.500\n');
    const xmp = sidecarText('xmp', line);
    expect(xmp).toContain('<rdf:li xml:lang="x-default">A &lt;b&gt; &amp; "c" --&gt; d\n\nnext� line ]]&gt;�</rdf:li>');
    const parts = [
      { start: 0, end: 30, caption: 'one' },
      { start: 30, end: 62.5, caption: 'two' },
    ];
    expect(sidecarText('vtt', { ...line, segments: parts }).match(/-->/g)).toHaveLength(2);
  });

  it('are read by independent parsers of WebVTT, SubRip and XML, without an error and with the same text', () => {
    const parts = [
      { start: 0, end: 30.25, caption: 'A <b>red</b> circle & a "star".\n\nIt says "a --> b".' },
      { start: 30.25, end: 3661.5, caption: '  Müße 🎈 is heard.\r\n' },
    ];
    const line: ResultLine = {
      ...{ key: 'a.mp4', path: 'a.mp4', id: 'x', content: 'c', settings: 's', captioned_at: '' },
      caption: 'One <two> & ]]> three\nfour',
      segments: parts,
    };
    const vtt = new WebVTTParser().parse(sidecarText('vtt', line), 'metadata');
    expect(vtt.errors).toEqual([]);
    const times = [
      [0, 30.25],
      [30.25, 3661.5],
    ];
    expect(vtt.cues.map(({ startTime, endTime }) => [startTime, endTime])).toEqual(times);
    expect(vtt.cues[1]!.text).toBe('Müße 🎈 is heard.');
    const srt = new SrtParser().fromSrt(sidecarText('srt', line));
    expect(srt.map(({ startSeconds, endSeconds }) => [startSeconds, endSeconds])).toEqual(times);
    expect(srt[0]!.text).toBe('A <b>red</b> circle & a "star".\nIt says "a → b".');
    const xmp = sidecarText('xmp', line);
    const tree = JSON.stringify(new XMLParser({ ignoreAttributes: false }).parse(xmp));
    expect(tree).toContain('{"#text":"One <two> & ]]> three\\nfour","@_xml:lang":"x-default"}');
  });
});
