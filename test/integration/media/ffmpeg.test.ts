import { chmod, writeFile } from 'node:fs/promises';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { convertFile, ffmpegVersion, runFfmpeg, runFfprobe } from '../../../src/media/ffmpeg.ts';
import { probeMedia } from '../../../src/media/probe.ts';
import { golden } from '../../fixtures/golden.ts';
import { scratchDirectory } from '../../fixtures/scratch.ts';

const scratch = scratchDirectory();
afterEach(() => {
  vi.unstubAllEnvs();
});

describe('the ffmpeg of this machine', () => {
  test('is found and new enough', async () => {
    expect(await ffmpegVersion()).toMatchObject({
      ffmpeg: 'ffmpeg',
      ffprobe: 'ffprobe',
      version: expect.stringMatching(/^[nN]?[-\d]/) as string,
    });
  });

  test('when it is missing is asked for with the command that installs it', async () => {
    vi.stubEnv('FFMPEG_PATH', scratch('no-such-ffmpeg'));
    const missing = { code: 'ffmpeg_missing', message: expect.stringContaining('apt-get install -y ffmpeg') as string };
    await expect(ffmpegVersion()).rejects.toMatchObject(missing);
    await expect(probeMedia(golden('clips/av-4s.mp4'))).rejects.toMatchObject(missing);
  });

  test('when it is too old is refused with its own words', async () => {
    await writeFile(
      scratch('old'),
      '#!/bin/sh\necho "ffmpeg version 4.4.2"\necho "libavutil      56. 70.100 / 56. 70.100"\n',
    );
    await chmod(scratch('old'), 0o755);
    vi.stubEnv('FFPROBE_PATH', scratch('old'));
    await expect(ffmpegVersion()).rejects.toThrow(
      expect.objectContaining({ code: 'ffmpeg_missing', message: expect.stringContaining('4.4.2') as string }),
    );
  });

  test('does not name a file in the words that messages take from it', async () => {
    const path = scratch('noise.mp4');
    await writeFile(path, Buffer.from(Array.from({ length: 5000 }, (_, at) => (at * at * 7) % 251)));
    const run = { path, maxPixels: 1e6, timeoutSeconds: 30 };
    const logs = await Promise.all([
      runFfmpeg({ ...run, logLevel: 'error', outputOptions: ['-f', 'null'], onChunk: () => 'more' }),
      runFfprobe({ ...run, options: ['-show_format'], onOutput: () => undefined }),
      convertFile({ ...run, outputOptions: ['-f', 'null'], out: scratch('out') }),
    ]);
    for (const { log } of logs) {
      expect(log.join('\n')).toContain('Invalid data found');
      expect(log.join('\n')).not.toContain(path);
    }
  });
});
