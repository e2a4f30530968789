import { expect, test } from 'vitest';
import { probeMedia } from '../../src/media/probe.ts';
import { segmentRules } from '../../src/segments/choose-cut.ts';
import { scanFile } from '../../src/segments/scan.ts';
import { segmentFile } from '../../src/segments/segment-file.ts';
import { makeClip } from '../fixtures/make-clip.ts';
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
  expect(segments.map(({ end, reason }) => [Math.round(end), reason])).toEqual([
    [6, 'shot in silence'],
    [12, 'shot in silence'],
    [18, 'shot in silence'],
    [24, 'end'],
  ]);
});
