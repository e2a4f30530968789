import { describe, expect, it } from 'vitest';
import { encodeMp4 } from '../../../src/media/encode-mp4.ts';
import { ffmpegVersion } from '../../../src/media/ffmpeg.ts';
import { probeMedia } from '../../../src/media/probe.ts';
import { scratchDirectory } from '../../fixtures/scratch.ts';

const scratch = scratchDirectory();
const never = new AbortController().signal;
const size = [64, 48] as const;

function* grey(count: number): Generator<Uint8Array> {
  for (let index = 0; index < count; index++) yield new Uint8Array(64 * 48 * 3).fill(100 + index);
}

describe('encodeMp4', () => {
  it('writes pictures and sound of the given length', async () => {
    const sound = { wave: new Float32Array(16_000).fill(0.1), sampleRate: 16_000 };
    await encodeMp4({ size, fps: 25, frames: grey(25), sound }, scratch('both.mp4'), never);
    const { video, audio } = await probeMedia(scratch('both.mp4'));
    expect([video?.width, video?.height, video?.codec, audio?.codec, audio?.channels]).toEqual([
      64,
      48,
      'h264',
      'aac',
      1,
    ]);
  });

  it('writes a silent file without a sound track', async () => {
    await encodeMp4({ size, fps: 25, frames: grey(25), sound: undefined }, scratch('silent.mp4'), never);
    expect((await probeMedia(scratch('silent.mp4'))).audio).toBeUndefined();
  });

  it('tells what ffmpeg could not do', async () => {
    await expect(
      encodeMp4({ size: [63, 47], fps: 25, frames: grey(2), sound: undefined }, scratch('odd.mp4'), never),
    ).rejects.toMatchObject({ code: 'ffmpeg_missing' });
    await expect(
      encodeMp4({ size, fps: 25, frames: grey(2), sound: undefined }, scratch('no/where.mp4'), never),
    ).rejects.toMatchObject({ code: 'ffmpeg_missing' });
  });

  it('stops when it is told to, or when a frame cannot be made', async () => {
    await ffmpegVersion();
    const controller = new AbortController();
    const endless = function* (): Generator<Uint8Array> {
      for (let index = 0; ; index++) {
        if (index === 20) controller.abort();
        yield new Uint8Array(64 * 48 * 3);
      }
    };
    await expect(
      encodeMp4({ size, fps: 25, frames: endless(), sound: undefined }, scratch('a.mp4'), controller.signal),
    ).rejects.toMatchObject({ code: 'aborted' });
    const broken = function* (): Generator<Uint8Array> {
      yield* grey(3);
      throw new RangeError('no paint left');
    };
    await expect(
      encodeMp4({ size, fps: 25, frames: broken(), sound: undefined }, scratch('b.mp4'), never),
    ).rejects.toThrow('no paint left');
  });
});
