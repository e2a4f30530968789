import { createHash } from 'node:crypto';
import { setTimeout } from 'node:timers/promises';
import sharp from 'sharp';
import { afterEach, beforeAll, describe, expect, test } from 'vitest';
import { decodeFrames } from '../../../src/media/decode-frames.ts';
import { planMedia } from '../../../src/media/plan.ts';
import { resolveProfile, type ProfileOverrides } from '../../../src/media/profile.ts';
import type { MediaPlan } from '../../../src/media/types.ts';
import { decoderProcesses } from '../../fixtures/child-processes.ts';
import { golden } from '../../fixtures/golden.ts';
import { goldenInputs, overridesOf, PUBLISHED_PATCHES } from '../../fixtures/media-cases.ts';
import { probeFixture } from '../../fixtures/media-plan.ts';
import { scratchDirectory } from '../../fixtures/scratch.ts';
import { makeClip } from '../../fixtures/make-clip.ts';

async function planOf(path: string, overrides: ProfileOverrides = {}): Promise<MediaPlan> {
  return planMedia(await probeFixture(path), resolveProfile('reference-cli', overrides), {
    ...PUBLISHED_PATCHES,
    useAudio: true,
  });
}

const scratch = scratchDirectory();
afterEach(() => {
  expect(decoderProcesses()).toEqual([]);
});

describe('decoded frames', () => {
  const all = goldenInputs().filter(({ mode }) => mode === 'av' || mode === 'video');
  // Inputs that differ in their sizes only have the same frames of the source.
  const inputs = [...new Map(all.map((input) => [input.frames_sha256, input])).values()];

  test.each(inputs.map((input) => [input.id, input] as const))(
    "of %s are the reference's byte for byte",
    async (_id, input) => {
      const plan = await planOf(
        golden(`clips/${input.clip}`),
        overridesOf(input.stage_a, input.stage_b, input.processor_fps),
      );
      const hash = createHash('sha256');
      const positions: number[] = [];
      const decoded = await decodeFrames(plan, (frame, position) => {
        hash.update(frame);
        positions.push(position);
      });
      expect(hash.digest('hex')).toBe(input.frames_sha256);
      expect(positions).toEqual(Array.from(input.frame_indices.keys()));
      expect(decoded.plan).toEqual(plan.video);
      expect(decoded.warnings).toEqual([]);
    },
  );

  test('of a picture are its pixels, once', async () => {
    const path = golden('clips/still.png');
    const frames: Buffer[] = [];
    await decodeFrames(await planOf(path), (frame) => {
      frames.push(Buffer.from(frame));
    });
    expect(frames).toEqual([await sharp(path).removeAlpha().raw().toBuffer()]);
  });

  test('come back twice where a frame is picked twice', async () => {
    const plan = await planOf(golden('clips/two-frames.mp4'));
    if (plan.video === undefined) throw new Error('two-frames.mp4 has a video');
    const seen: string[] = [];
    await decodeFrames({ ...plan, video: { ...plan.video, frameIndices: [0, 0, 1, 1] } }, (frame, position) => {
      seen[position] = createHash('md5').update(frame).digest('hex');
    });
    expect(seen[0]).toBe(seen[1]);
    expect(seen[2]).toBe(seen[3]);
    expect(seen[0]).not.toBe(seen[2]);
  });

  test('wait for a slow reader, and no frame changes while it is read', async () => {
    const plan = await planOf(golden('clips/wide-12s.mp4'), { nframes: 12 });
    let changed = 0;
    await decodeFrames(plan, async (frame) => {
      const before = createHash('md5').update(frame).digest('hex');
      await setTimeout(15);
      if (createHash('md5').update(frame).digest('hex') !== before) changed++;
    });
    expect(changed).toBe(0);
  });
});

describe('frames of other kinds of video', () => {
  let tenBit: string, odd: string, resized: string;
  beforeAll(async () => {
    tenBit = await makeClip(scratch('ten-bit.mkv'), [
      '-f',
      'lavfi',
      '-i',
      'testsrc2=s=160x120:r=10:d=2',
      '-pix_fmt',
      'yuv420p10le',
      '-c:v',
      'ffv1',
    ]);
    odd = await makeClip(scratch('odd.mkv'), [
      '-f',
      'lavfi',
      '-i',
      'testsrc2=s=161x121:r=10:d=2',
      '-pix_fmt',
      'yuv444p',
      '-c:v',
      'ffv1',
    ]);
    const halves = await Promise.all(
      ['160x120', '320x240'].map((size) =>
        makeClip(scratch(`${size}.ts`), ['-f', 'lavfi', '-i', `testsrc2=s=${size}:r=10:d=1`, '-c:v', 'mpeg2video']),
      ),
    );
    resized = scratch('resized.ts');
    const { readFile, writeFile } = await import('node:fs/promises');
    await writeFile(resized, Buffer.concat(await Promise.all(halves.map((half) => readFile(half)))));
  });

  test('10-bit, odd sizes and a size that changes on the way all give whole frames of the probed size', async () => {
    for (const path of [tenBit, odd, resized]) {
      const plan = await planOf(path);
      const sizes = new Set<number>();
      const decoded = await decodeFrames(plan, (frame) => {
        sizes.add(frame.length);
      });
      const { width = 0, height = 0 } = plan.probe.video ?? {};
      expect([...sizes]).toEqual([width * height * 3]);
      expect(decoded.plan.frameIndices.length).toBeGreaterThanOrEqual(2);
    }
  });
});

describe('decoding that is stopped', () => {
  test('by its signal rejects as aborted, with ffmpeg gone, also while the reader holds a frame', async () => {
    const plan = await planOf(golden('clips/wide-12s.mp4'));
    const stop = new AbortController();
    const decoding = decodeFrames(
      plan,
      async () => {
        stop.abort();
        await setTimeout(50);
      },
      { signal: stop.signal },
    );
    await expect(decoding).rejects.toMatchObject({ code: 'aborted' });
    expect(decoderProcesses()).toEqual([]);
  });

  test('before it starts never starts', async () => {
    const plan = await planOf(golden('clips/av-4s.mp4'));
    await expect(decodeFrames(plan, () => undefined, { signal: AbortSignal.abort() })).rejects.toMatchObject({
      code: 'aborted',
    });
  });

  test('by an error of the reader rejects with that error', async () => {
    const plan = await planOf(golden('clips/wide-12s.mp4'));
    await expect(
      decodeFrames(plan, () => {
        throw new Error('disk full');
      }),
    ).rejects.toThrow('disk full');
    expect(decoderProcesses()).toEqual([]);
  });

  test('by its deadline rejects as media_timeout even though ffmpeg hangs on a full pipe', async () => {
    const plan = await planOf(golden('clips/wide-12s.mp4'));
    const never = new Promise<void>(() => undefined);
    await expect(decodeFrames(plan, () => never, { limits: { decodeTimeoutSeconds: 1 } })).rejects.toMatchObject({
      code: 'media_timeout',
    });
    expect(decoderProcesses()).toEqual([]);
  });
});
