import { readFileSync, writeFileSync } from 'node:fs';
import { setTimeout } from 'node:timers/promises';
import { afterAll, describe, expect, test } from 'vitest';
import { Foreground } from '../../src/base/foreground.ts';
import { captionRequest } from '../../src/captioner/caption-options.ts';
import { captionEvents, type Captioner } from '../../src/captioner/captioner.ts';
import { createCaptioner, loadModel, openCaptioner, openPlanningModel } from '../../src/captioner/open-captioner.ts';
import { partOf } from '../../src/media/part.ts';
import { probeMedia } from '../../src/media/probe.ts';
import type { CaptionEnd, CaptionEvent, SegmentCaption } from '../../src/output/events.ts';
import { segmentRules } from '../../src/segments/choose-cut.ts';
import { scanFile } from '../../src/segments/scan.ts';
import { segmentFile } from '../../src/segments/segment-file.ts';
import { makeClip } from '../fixtures/make-clip.ts';
import { nanoSettings } from '../fixtures/nano.ts';
import { scratchDirectory } from '../fixtures/scratch.ts';

const scratch = scratchDirectory();

/** Shots of 3 s; tones for 2.6 s of every 3, silent from 0.2 s before each change of shots. */
const SHOTS = ['testsrc2', 'mandelbrot', 'smptebars', 'rgbtestsrc', 'yuvtestsrc', 'pal75bars', 'testsrc', 'pal100bars'];
const SOUND = 'aevalsrc=0.3*sin(2500*t)*between(mod(t\\,3)\\,0.2\\,2.8):s=16000:d=24';

test.each([
  ['25 frames a second', '25', [], 'mkv'],
  ['NTSC, a late start', '30000/1001', ['-output_ts_offset', '7'], 'mp4'],
  ['a variable rate', '24', ['-vf', "select='not(mod(n,3))+lt(mod(n,24),9)'", '-fps_mode', 'vfr'], 'mp4'],
] as const)('shots and pauses of a file with %s are told in its own time', async (name, rate, options, ending) => {
  const inputs = SHOTS.flatMap((shot) => ['-f', 'lavfi', '-t', '3', '-i', `${shot}=size=64x48:rate=${rate}`]);
  const joined = `${SHOTS.map((_, index) => `[${index}:v]`).join('')}concat=n=${SHOTS.length}`;
  const filter = options[0] === '-vf' ? `,${options[1]}` : '';
  const path = await makeClip(scratch(`${name.replaceAll(/\W/g, '-')}.${ending}`), [
    ...[...inputs, '-f', 'lavfi', '-i', SOUND, '-filter_complex', `${joined},format=yuv420p${filter}[v]`],
    ...['-map', '[v]', '-map', `${SHOTS.length}:a`, ...(filter === '' ? options : options.slice(2))],
    ...['-c:v', 'libx264', '-preset', 'ultrafast', '-g', '60', '-bf', '2', '-c:a', 'aac'],
  ]);
  const scan = scanFile(await probeMedia(path, { keepsTimes: true }), {
    signal: new AbortController().signal,
    timeoutSeconds: 60,
  });
  const { frameTimes, durationSeconds } = scan.clock;
  const changes = SHOTS.slice(1).map((_, index) => (index + 1) * 3);
  // From a place in the middle, so that a jump into the file shows.
  const shots = await scan.shots(4, 20);
  expect(shots.map(({ time }) => changes.find((change) => Math.abs(change - time) < 0.1))).toEqual([6, 9, 12, 15, 18]);
  for (const { time } of shots) expect(frameTimes).toContain(time);
  const heard = await scan.sounds(4, 20);
  expect(heard?.silences.map(({ from, to }) => Math.round((from + to) / 2))).toEqual([6, 9, 12, 15, 18]);
  for (const { from, to } of heard?.silences ?? []) expect(to - from).toBeGreaterThan(0.2);
  const segments = [];
  for await (const segment of segmentFile(scan, 0, durationSeconds, segmentRules(6))) segments.push(segment);
  const cuts = segments.slice(0, -1);
  expect(cuts.length).toBeGreaterThanOrEqual(2);
  for (const { end, reason } of cuts)
    expect([changes.some((change) => Math.abs(change - end) < 0.1), reason]).toEqual([true, 'shot in silence']);
  expect(segments.at(-1)).toMatchObject({ end: durationSeconds, reason: 'end' });
});

const SMALL = 'testsrc2=size=64x48:rate=5:duration=20';
const VIDEO = ['-f', 'lavfi', '-i', SMALL];
const H264 = ['-c:v', 'libx264', '-preset', 'ultrafast', '-g', '10', '-pix_fmt', 'yuv420p'];
const tone = (seconds: number): string[] => ['-f', 'lavfi', '-t', String(seconds), '-i', 'sine=f=440:r=8000'];

/** The duration that a Matroska file states: another number, or no such element. */
function restate(path: string, seconds?: number): void {
  const bytes = readFileSync(path);
  const at = bytes.indexOf(Buffer.from([0x44, 0x89, 0x88]));
  expect(at).toBeGreaterThan(0);
  if (seconds === undefined) bytes.set([0xec, 0x89, 0, 0, 0, 0, 0, 0, 0, 0, 0], at);
  else bytes.writeDoubleBE(seconds * 1000, at + 3);
  writeFileSync(path, bytes);
}

function joinWithItself(path: string): void {
  const bytes = readFileSync(path);
  writeFileSync(path, Buffer.concat([bytes, bytes]));
}

test.each([
  [
    'a stated duration that is too long',
    'mkv',
    VIDEO,
    (path: string) => {
      restate(path, 300);
    },
    20,
  ],
  [
    'a stated duration that is too short',
    'mkv',
    VIDEO,
    (path: string) => {
      restate(path, 2);
    },
    20,
  ],
  [
    'no stated duration',
    'mkv',
    VIDEO,
    (path: string) => {
      restate(path, undefined);
    },
    20,
  ],
  ['a gap of minutes', 'mkv', [...VIDEO, '-vf', "setpts='PTS+if(gte(N,50),180/TB,0)'"], undefined, 200],
  ['times that jump back', 'ts', [...VIDEO, ...tone(20), '-c:a', 'aac'], joinWithItself, 40],
  ['sound that ends early', 'mp4', [...VIDEO, ...tone(4), '-c:a', 'aac'], undefined, 20],
  ['pictures that end early', 'mp4', [...VIDEO, ...tone(40), '-c:a', 'aac'], undefined, 40],
] as const)(
  'a file with %s has segments up to its end, each with something in it',
  async (name, ending, make, spoil, seconds) => {
    const path = await makeClip(scratch(`${name.replaceAll(/\W/g, '-')}.${ending}`), [...make, ...H264]);
    spoil?.(path);
    const probe = await probeMedia(path, { keepsTimes: true });
    const scan = scanFile(probe, { signal: new AbortController().signal, timeoutSeconds: 60 });
    const { durationSeconds } = scan.clock;
    expect(Math.abs(durationSeconds - seconds)).toBeLessThan(0.5);
    const segments = [];
    for await (const segment of segmentFile(scan, 0, durationSeconds, segmentRules(6))) segments.push(segment);
    expect(segments.length).toBeGreaterThanOrEqual(2);
    expect(segments.map(({ start }) => start)).toEqual([0, ...segments.map(({ end }) => end).slice(0, -1)]);
    expect(segments.at(-1)?.end).toBe(durationSeconds);
    for (const { start, end } of segments) {
      const isLast = end === durationSeconds;
      const part = partOf(probe, { rule: 'time', start, end: isLast ? undefined : end });
      expect((part.video?.totalFrames ?? 0) > 1 || part.audio !== undefined).toBe(true);
    }
  },
);

test('a file is not looked into while that is held', async () => {
  const path = await makeClip(scratch('held.mp4'), [
    ...['-f', 'lavfi', '-i', 'testsrc2=size=64x48:rate=25:d=4', '-f', 'lavfi', '-i', 'sine=d=4', ...H264],
  ]);
  const hold = new Foreground();
  const { signal } = new AbortController();
  const scan = scanFile(await probeMedia(path, { keepsTimes: true }), { signal, timeoutSeconds: 60, hold });
  const leave = hold.enter();
  let isDone = false;
  const looks = Promise.all([scan.shots(0, 4), scan.sounds(0, 4)]).finally(() => {
    isDone = true;
  });
  await setTimeout(1500);
  expect(isDone).toBe(false);
  leave();
  const [, heard] = await looks;
  expect(heard).toBeDefined();
});

describe('a caption in segments', () => {
  let captioner: Captioner | undefined;
  let film: Promise<string> | undefined;
  let first: ReturnType<typeof captioned> | undefined;
  afterAll(() => captioner?.close());

  /** Without options, once for all tests. */
  const plain = (): ReturnType<typeof captioned> => (first ??= captioned({}));

  async function captioned(
    options: object,
    finished?: readonly SegmentCaption[],
  ): Promise<{
    readonly events: readonly CaptionEvent[];
    readonly end: CaptionEnd;
    readonly segments: readonly SegmentCaption[];
  }> {
    captioner ??= await openCaptioner(nanoSettings());
    film ??= makeClip(scratch('film.mp4'), [...VIDEO, ...tone(20), ...H264, '-c:a', 'aac']);
    const request = { ...captionRequest(await film, { segments: 5, max_tokens: 24, ...options }), finished };
    const events: CaptionEvent[] = [];
    for await (const event of captionEvents(captioner, request)) events.push(event);
    const end = events.at(-1);
    if (end?.type !== 'caption-end') throw new Error(JSON.stringify(end));
    return { events, end, segments: end.segments ?? [] };
  }

  test('takes over those that are finished, which are told and counted as if they had been captioned now', async () => {
    const { end, segments } = await plain();
    expect(segments.length).toBeGreaterThanOrEqual(3);
    const kept = segments.slice(0, 2).map((segment) => ({ ...segment, caption: 'Kept.' }));
    const resumed = await captioned({}, kept);
    expect(resumed.segments).toEqual([...kept, ...segments.slice(2)]);
    expect(resumed.end).toMatchObject({ usage: end.usage, media: end.media, profile: end.profile });
    const told = resumed.events.flatMap((event) => (event.type.startsWith('segment-') ? [event.type] : []));
    expect(told).toEqual(segments.flatMap(() => ['segment-start', 'segment-end']));
    const all = await captioned({}, segments);
    expect([all.segments, all.end.caption]).toEqual([segments, end.caption]);
    // Those of another plan, or that do not follow each other, are made anew.
    const other = { ...kept[0]!, start: 0.5 };
    expect((await captioned({}, [other, ...kept.slice(1)])).segments).toEqual(segments);
    expect((await captioned({}, [kept[0]!, segments[2]!])).segments).toEqual([kept[0], ...segments.slice(1)]);
  });

  test('ends in what failed a segment, also while the next cut is looked for', async () => {
    film ??= makeClip(scratch('film.mp4'), [...VIDEO, ...tone(20), ...H264, '-c:a', 'aac']);
    const settings = nanoSettings();
    const model = await openPlanningModel(settings);
    const loaded = await loadModel(settings, model);
    // After the first token, which is the prompt's.
    loaded.thinker.decoder.decode = () => Promise.reject(new Error('The device has a defect'));
    const failing = createCaptioner(settings, model, loaded);
    const request = captionRequest(await film, { segments: 5, max_tokens: 24 });
    const events: CaptionEvent[] = [];
    for await (const event of captionEvents(failing, request)) events.push(event);
    await failing.close();
    expect(events.at(-1)).toMatchObject({ type: 'caption-error', code: 'engine_error' });
  });

  test('tells each segment the caption of the one before with carry, also of one that was taken over', async () => {
    const text = ({ usage }: SegmentCaption): number => usage!.promptTokensByModality.text;
    const { segments } = await plain();
    const carried = await captioned({ carry: true });
    expect(carried.segments.map(({ start, end }) => [start, end])).toEqual(
      segments.map(({ start, end }) => [start, end]),
    );
    expect(carried.segments[0]).toEqual(segments[0]);
    for (const [index, segment] of carried.segments.slice(1).entries())
      expect(text(segment)).toBeGreaterThan(text(segments[index + 1]!) + 10);
    const short = { ...segments[0]!, caption: 'A.' };
    const [, second] = (await captioned({ carry: true }, [short])).segments;
    expect(text(second!)).toBeGreaterThan(text(segments[1]!));
    expect(text(second!)).toBeLessThan(text(carried.segments[1]!));
  });
});
