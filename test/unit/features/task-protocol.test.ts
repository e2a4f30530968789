import { describe, expect, it, vi } from 'vitest';
import { AvocadoError } from '../../../src/base/errors.ts';
import { ffmpegVersion } from '../../../src/media/ffmpeg.ts';
import { beginTask, cancelTask, createCancelFlag, replyOf, valueOf } from '../../../src/features/task-protocol.ts';

describe('a task reply', () => {
  it("brings an error home with its class, code, field and the other thread's stack", async () => {
    const reply = await replyOf(() => {
      throw new AvocadoError('media_undecodable', 'Broken.', { param: 'video', cause: new Error('deep reason') });
    });
    const crossed = structuredClone(reply);
    let thrown: unknown;
    try {
      valueOf(crossed);
    } catch (error) {
      thrown = error;
    }
    expect(thrown).toBeInstanceOf(AvocadoError);
    expect(thrown).toMatchObject({ code: 'media_undecodable', message: 'Broken.', param: 'video' });
    expect(((thrown as AvocadoError).cause as Error).stack).toContain('deep reason');
  });

  it('turns what nobody expected into an internal error', async () => {
    const reply = await replyOf(() => {
      throw new TypeError('x is not a function');
    });
    expect(() => valueOf(reply)).toThrow(/x is not a function.*bug/);
  });

  it('brings a value home as it is', async () => {
    expect(valueOf(await replyOf(() => Promise.resolve(5)))).toBe(5);
  });
});

describe('a cancel flag', () => {
  it('says that its task is not running yet, and stops the task when it starts', () => {
    const flag = createCancelFlag();
    expect(cancelTask(flag)).toBe(false);
    const { signal, stop } = beginTask({ flag, ffmpeg: undefined });
    stop();
    expect(signal.aborted).toBe(true);
  });

  it('reaches a running task within its poll', async () => {
    const flag = createCancelFlag();
    const { signal, stop } = beginTask({ flag, ffmpeg: undefined });
    const aborted = new Promise((resolve) => {
      signal.addEventListener('abort', resolve);
    });
    expect(signal.aborted).toBe(false);
    expect(cancelTask(flag)).toBe(true);
    await aborted;
    stop();
  });
});

it('a task brings the ffmpeg that was found: its thread starts no program to look for it', async () => {
  const found = { ffmpeg: '/nowhere/ffmpeg', ffprobe: '/nowhere/ffprobe', version: '9.9', soxr: true };
  vi.stubEnv('FFMPEG_PATH', found.ffmpeg);
  vi.stubEnv('FFPROBE_PATH', found.ffprobe);
  try {
    await expect(ffmpegVersion()).rejects.toMatchObject({ code: 'ffmpeg_missing' });
    beginTask({ flag: createCancelFlag(), ffmpeg: found }).stop();
    expect(await ffmpegVersion()).toEqual(found);
  } finally {
    vi.unstubAllEnvs();
  }
});
