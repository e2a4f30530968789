import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { probeMedia } from '../../src/media/probe.ts';
import { captionScript } from '../../src/lab/synthetic/script.ts';
import { hardTruth, type HardTruth } from '../../src/lab/synthetic/hard/sample-hard-clip.ts';
import type { ClipTruth } from '../../src/lab/synthetic/sample-clip.ts';
import { filmTruth, type FilmShot } from '../../src/lab/synthetic/sample-film.ts';
import { WORLD } from '../../src/lab/synthetic/vocabulary.ts';
import { openVoices, recordedLines } from '../../src/lab/synthetic/voices.ts';
import { runCli } from '../fixtures/cli-run.ts';
import { scratchDirectory } from '../fixtures/scratch.ts';

const scratch = scratchDirectory();
const truthOf = (name: string): ClipTruth => JSON.parse(readFileSync(scratch(`${name}.json`), 'utf8')) as ClipTruth;
const sample = (name: string, ...flags: string[]) => runCli(['sample', scratch(`${name}.mp4`), ...flags]);

describe('avocado sample', () => {
  it('writes a clip as asked, and its truth beside it', async () => {
    const { exitCode, stdout, stderr } = await sample(
      'clip',
      '--seed',
      '11',
      '--seconds',
      '5.5',
      '--size',
      '9:16',
      '--objects',
      '3',
    );
    expect([exitCode, stderr]).toEqual([0, '']);
    const truth = truthOf('clip');
    expect(stdout.split('\n')[1]).toBe(truth.caption);
    expect(stdout).toContain(`npx avocado caption ${scratch('clip.mp4')}`);
    expect(truth.caption).toBe(captionScript(truth.script, true));
    expect(truth.script).toMatchObject({ seed: 11, duration: 5.5, size: [180, 320] });
    expect(truth.script.objects.length).toBe(3);
    const { video, audio, durationSeconds } = await probeMedia(scratch('clip.mp4'));
    expect(video).toMatchObject({ codec: 'h264', width: 180, height: 320 });
    expect(audio).toMatchObject({ codec: 'aac', sampleRate: 16_000, channels: 1 });
    expect(durationSeconds).toBeCloseTo(5.5, 1);
    expect(readdirSync(scratch('')).filter((file) => file.endsWith('.part'))).toEqual([]);
  });

  it('offers every size of the world', async () => {
    expect((await runCli(['sample', '--help'])).stdout.replaceAll(/\s+/g, ' ')).toContain(
      `choices: ${Object.keys(WORLD.sizes)
        .map((size) => `"${size}"`)
        .join(', ')}`,
    );
  });

  it('gives the same truth for the same seed and options, and a random seed when none is given', async () => {
    await sample('one', '--seed', '5', '--seconds', '3');
    await sample('two', '--seed', '5', '--seconds', '3');
    expect(truthOf('two')).toEqual(truthOf('one'));
    const { stdout } = await sample('free', '--seconds', '3');
    await sample('again', '--seconds', '3', '--seed', /^seed (\d+):/.exec(stdout)?.[1] ?? '');
    expect(truthOf('again')).toEqual(truthOf('free'));
  });

  it('writes a film of clips, each at a frame, with the truth about each', async () => {
    const { exitCode, stdout } = await sample('film', '--film', '0.12', '--seconds', '3', '--seed', '3');
    expect([exitCode, stdout]).toEqual([0, expect.stringContaining('3 clips, 9 s') as string]);
    const { shots } = JSON.parse(readFileSync(scratch('film.json'), 'utf8')) as { shots: readonly FilmShot[] };
    expect(shots.map(({ start, end }) => [start, end])).toEqual([0, 3, 6].map((start) => [start, start + 3]));
    for (const { script, caption } of shots) expect(captionScript(script, true)).toBe(caption);
    const { durationSeconds, video } = await probeMedia(scratch('film.mp4'));
    expect([Math.round(durationSeconds), video?.totalFrames]).toEqual([9, 225]);
    // drawn lengths are whole frames
    for (const { start, end, script } of filmTruth({ seed: 3, minutes: 1, clipSeconds: [4, 6] })) {
      expect(end - start).toBeCloseTo(script.duration, 9);
      expect(Math.abs(end * 25 - Math.round(end * 25))).toBeLessThan(1e-6);
      expect([end - start >= 3.96, end - start <= 6.04]).toEqual([true, true]);
    }
  });

  it('has no sound track and no mention of sound with --no-sound', async () => {
    await sample('heard', '--seed', '11', '--seconds', '4');
    await sample('mute', '--seed', '11', '--seconds', '4', '--no-sound');
    expect((await probeMedia(scratch('heard.mp4'))).audio).toBeDefined();
    expect((await probeMedia(scratch('mute.mp4'))).audio).toBeUndefined();
    const truth = truthOf('mute');
    expect(truth.script).toEqual(truthOf('heard').script);
    expect(truth.dialogue).toEqual([]);
    expect(truth.caption).not.toMatch(/heard|says| while |sound/);
    expect(truth.keypoints.map(({ category }) => category)).not.toContain('auditory');
  });

  it('writes a clip of the hard level, with every shot in its picture and its sound', async () => {
    const { exitCode, stdout, stderr } = await sample('hard', '--level', 'hard', '--seed', '4', '--size', '16:9');
    expect([exitCode, stderr]).toEqual([0, '']);
    const truth = JSON.parse(readFileSync(scratch('hard.json'), 'utf8')) as HardTruth;
    expect(stdout.split('\n')[1]).toBe(truth.caption);
    expect(truth).toEqual(hardTruth({ seed: 4, size: '16:9', sound: true }));
    const { video, audio, durationSeconds } = await probeMedia(scratch('hard.mp4'));
    expect([video?.width, video?.height, audio?.channels]).toEqual([320, 180, 1]);
    expect(durationSeconds).toBeCloseTo(truth.script.duration, 1);
    await sample('hard-mute', '--level', 'hard', '--seed', '4', '--size', '16:9', '--no-sound');
    expect((await probeMedia(scratch('hard-mute.mp4'))).audio).toBeUndefined();
  });

  it.each([
    [['--level', 'hard', '--seconds', '5'], '--seconds cannot be combined with --level hard'],
    [['--level', 'hard', '--film', '1'], '--film cannot be combined with --level hard'],
    [['--film', '1', '--no-sound'], '--no-sound cannot be combined with --film'],
    [['--level', 'harder'], 'easy, hard'],
    [['--seconds', '2.9'], 'from 3 to 16'],
    [['--seconds', '17'], 'from 3 to 16'],
    [['--size', '4:3'], '16:9, 1:1, 9:16'],
    [['--objects', '4'], 'from 1 to 3'],
    [['--seed', '-1'], 'at least 0'],
    [['--seed', '1.5'], 'whole number'],
  ])('refuses %j', async (flags, words) => {
    const { exitCode, stdout, stderr } = await sample('bad', ...flags);
    expect([exitCode, stdout]).toEqual([2, '']);
    expect(stderr).toMatch(/^error \[bad_request\]: [^\n]+\n$/);
    expect(stderr).toContain(words);
  });

  it('requires a name that ends in .mp4, in a directory that exists', async () => {
    expect(await runCli(['sample', scratch('clip.avi')])).toMatchObject({ exitCode: 2, stdout: '' });
    const nowhere = await runCli(['sample', scratch('no/clip.mp4')]);
    expect([nowhere.exitCode, nowhere.stdout]).toEqual([2, '']);
    expect(nowhere.stderr).toContain(`${scratch('no/clip.mp4')} cannot be written (ENOENT). Name a file`);
    await mkdir(scratch('folder.mp4'));
    expect(await runCli(['sample', scratch('folder.mp4'), '--seed', '1'])).toMatchObject({
      exitCode: 2,
      stderr: expect.stringContaining('is a directory') as string,
    });
  });

  it('keeps existing files when it is interrupted', async () => {
    writeFileSync(scratch('old.mp4'), 'old');
    expect(
      (await runCli(['sample', scratch('old.mp4'), '--seed', '1'], { signal: AbortSignal.abort() })).exitCode,
    ).toBe(130);
    expect(readFileSync(scratch('old.mp4'), 'utf8')).toBe('old');
    expect(readdirSync(scratch('')).filter((file) => file.endsWith('.part'))).toEqual([]);
  });
});

describe('the recorded voices of the model', () => {
  it('both say every line, in words of the world', async () => {
    const recording = await openVoices(new AbortController().signal);
    const lines = recordedLines();
    expect(lines.length).toBe(60);
    const accents = await openVoices(new AbortController().signal, 'accents');
    for (const line of lines) {
      for (const [speaker, said] of [
        ['man', recording],
        ['woman', recording],
        ['man', accents],
        ['woman', accents],
      ] as const) {
        const wave = said(speaker, line);
        const loud = wave.reduce((most, level) => Math.max(most, Math.abs(level)), 0);
        expect(wave.length > 2000 && wave.length < 40_000 && loud > 0.5, `${speaker}: ${line}`).toBe(true);
      }
    }
  });
});
