// Broken files beyond those of hostile-media.ts: each must give its own error code and leave no process behind.
import { execFileSync } from 'node:child_process';
import { mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import type { ErrorCode } from '../../../src/base/errors.ts';
import { decodeFrames } from '../../../src/media/decode-frames.ts';
import { planMedia } from '../../../src/media/plan.ts';
import { probeMedia, type ProbeOptions } from '../../../src/media/probe.ts';
import { resolveProfile } from '../../../src/media/profile.ts';
import { decoderProcesses } from '../../fixtures/child-processes.ts';
import { golden } from '../../fixtures/golden.ts';
import { writeNoisy, writeTruncated } from '../../fixtures/hostile-media.ts';
import { makeClip } from '../../fixtures/make-clip.ts';
import { PUBLISHED_PATCHES } from '../../fixtures/media-cases.ts';
import { scratchDirectory } from '../../fixtures/scratch.ts';

const scratch = scratchDirectory();
const CLIP = golden('clips/av-4s.mp4');
const X264 = ['-c:v', 'libx264', '-preset', 'ultrafast', '-pix_fmt', 'yuv420p'];

afterEach(() => {
  expect(decoderProcesses()).toEqual([]);
});

async function refused(path: string, code: ErrorCode, options?: ProbeOptions): Promise<void> {
  await expect(probeMedia(path, options)).rejects.toMatchObject({
    name: 'AvocadoError',
    code,
    message: expect.stringMatching(/^[A-Z/].*[.?]$/) as string,
  });
}

async function written(name: string, content: string | Uint8Array): Promise<string> {
  await writeFile(scratch(name), content);
  return scratch(name);
}

describe('what is no media file', () => {
  test('a path through a file, a dangling link and a nul byte are media_not_found', async () => {
    await symlink(scratch('nowhere'), scratch('dangling.mp4'));
    await refused(scratch('dangling.mp4'), 'media_not_found');
    await refused(`${CLIP}/inside.mp4`, 'media_not_found');
    await refused('clip\0.mp4', 'media_not_found');
  });

  test('a directory, a pipe and a device are media_not_a_file, without waiting for the pipe', async () => {
    await mkdir(scratch('folder.mp4'));
    execFileSync('mkfifo', [scratch('pipe.mp4')]);
    await refused(scratch('folder.mp4'), 'media_not_a_file');
    await refused(scratch('pipe.mp4'), 'media_not_a_file');
    await refused('/dev/zero', 'media_not_a_file');
  });

  test('zeros are media_unsupported', async () =>
    refused(await written('zeros.mp4', new Uint8Array(50_000)), 'media_unsupported'));
  test('an SVG is media_unsupported: it could name other files', async () => {
    await refused(
      await written('picture.svg', '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>'),
      'media_unsupported',
    );
  });
  test('a size over the limit is media_too_large', () =>
    refused(CLIP, 'media_too_large', { limits: { maxSizeBytes: 1000 } }));
});

describe('a playlist posing as .mp4', () => {
  test('never opens the file or the address it names', async () => {
    let calls = 0;
    const server = createServer((_request, response) => {
      calls++;
      response.end();
    });
    await new Promise<void>((resolve) => {
      server.listen(0, '127.0.0.1', resolve);
    });
    const address = `http://127.0.0.1:${(server.address() as AddressInfo).port}/a.ts`;
    const secret = await makeClip(scratch('secret.ts'), ['-i', CLIP, '-c', 'copy', '-t', '1']);
    const body = (url: string): string => `#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n${url}\n#EXT-X-ENDLIST\n`;
    for (const [name, content] of Object.entries({
      'file.mp4': body(`file://${secret}`),
      'bare.mp4': body(secret),
      'http.mp4': body(address),
      'concat.mp4': `ffconcat version 1.0\nfile '${secret}'\n`,
      'dash.mp4':
        '<?xml version="1.0"?><MPD><Period><AdaptationSet><Representation>' +
        `<BaseURL>${address}</BaseURL></Representation></AdaptationSet></Period></MPD>`,
    }))
      await refused(await written(name, content), 'media_unsupported');
    // Bytes in front hide a playlist from our own look; ffmpeg's allow-list is the second line.
    await refused(await written('hidden.mp4', `\0\0\0\x01\n${body(`file://${secret}`)}`), 'media_unsupported');
    await new Promise((resolve) => server.close(resolve));
    expect(calls).toBe(0);
  });
});

describe('damaged files', () => {
  test('a picture cut short is media_undecodable', async () => {
    const bytes = await readFile(golden('clips/still.png'));
    await refused(await written('cut.png', bytes.subarray(0, 20)), 'media_undecodable');
    const half = await written('half.png', bytes.subarray(0, bytes.length >> 1));
    const plan = planMedia(await probeMedia(half), resolveProfile('paper'), { ...PUBLISHED_PATCHES, useAudio: true });
    await expect(decodeFrames(plan, () => undefined)).rejects.toMatchObject({ code: 'media_undecodable' });
  });

  test('a video cut at its end gives what is there and says so', async () => {
    const path = scratch('whole.mp4');
    await writeTruncated(path);
    const probe = await probeMedia(path);
    expect(probe.video?.totalFrames).toBe(60);
    expect(probe.warnings).toEqual(['The file is cut short: 60 of 120 frames are there.']);
    const plan = planMedia(probe, resolveProfile('paper'), { ...PUBLISHED_PATCHES, useAudio: true });
    let frames = 0;
    await decodeFrames(plan, () => {
      frames++;
    });
    expect(frames).toBe(plan.video?.frameIndices.length);
  });

  test('a container that promises more frames than it holds has its plan spread over those', async () => {
    const probe = await probeMedia(CLIP);
    if (probe.video === undefined) throw new Error('av-4s.mp4 has a video');
    const lying = { ...probe, video: { ...probe.video, totalFrames: 300 } };
    const plan = planMedia(lying, resolveProfile('paper'), { ...PUBLISHED_PATCHES, useAudio: true });
    const decoded = await decodeFrames(plan, () => undefined);
    expect(decoded.plan).toMatchObject({ gridThw: plan.video?.gridThw, tokens: plan.video?.tokens });
    expect(decoded.plan.frameIndices).toHaveLength(20);
    expect([decoded.plan.frameIndices[0], decoded.plan.frameIndices.at(-1)]).toEqual([0, 119]);
    expect(decoded.warnings).toEqual([]);
  });

  test('noise in the middle decodes with a warning', async () => {
    await writeNoisy(scratch('noisy.mp4'));
    const probe = await probeMedia(scratch('noisy.mp4'));
    const decoded = await decodeFrames(
      planMedia(probe, resolveProfile('paper'), { ...PUBLISHED_PATCHES, useAudio: true }),
      () => undefined,
    );
    expect(decoded.warnings.length).toBe(1);
    expect(decoded.decoderLog.length).toBeGreaterThan(0);
  });

  test('an encrypted mp4 is media_undecodable, and called encrypted', async () => {
    const key = ['-encryption_key', '76a6c65c5ea762046bd749a2e632ccbb', '-encryption_kid', '0'.repeat(32)];
    const encrypt = ['-i', CLIP, '-t', '1', '-c', 'copy', '-encryption_scheme', 'cenc-aes-ctr', ...key];
    for (const [name, tracks] of Object.entries({ both: [], pictures: ['-an'], sound: ['-vn'] })) {
      const path = await makeClip(scratch(`encrypted-${name}.mp4`), [...encrypt, ...tracks]);
      await expect(probeMedia(path)).rejects.toMatchObject({
        code: 'media_undecodable',
        message: expect.stringContaining('is encrypted') as string,
      });
    }
  });

  test('encrypted pictures do not hide clear sound', async () => {
    const bytes = await readFile(CLIP);
    bytes.write('drmi', bytes.lastIndexOf('avc1'), 'latin1'); // Apple's name, in the table of samples
    const { video, audio, warnings } = await probeMedia(await written('apple.mp4', bytes));
    expect([video, audio?.codec]).toEqual([undefined, 'aac']);
    expect(warnings).toEqual(['A video track (drmi) is encrypted (DRM); only the sound is captioned.']);
  });

  test('frames that an edit list hides are not counted', async () => {
    const path = await makeClip(scratch('trimmed.mp4'), ['-ss', '1.3', '-i', CLIP, '-c', 'copy']);
    const plan = planMedia(await probeMedia(path), resolveProfile('paper'), { ...PUBLISHED_PATCHES, useAudio: true });
    const decoded = await decodeFrames(plan, () => undefined);
    expect(decoded.warnings).toEqual([]);
    expect(decoded.plan).toEqual(plan.video);
  });
});

describe('files beyond the limits', () => {
  test('a video of more pixels than the limit is media_too_large', async () => {
    const path = await makeClip(scratch('large.mp4'), ['-f', 'lavfi', '-i', 'color=black:s=640x480:r=5:d=1', ...X264]);
    await refused(path, 'media_too_large', { limits: { maxPixels: 300_000 } });
  });

  test('more pixels than may be decoded in all frames together are media_too_large, in a file of any size', async () => {
    const path = await makeClip(scratch('canvas.gif'), ['-f', 'lavfi', '-i', 'color=black:s=640x480:r=5:d=2']);
    await refused(path, 'media_too_large', { limits: { maxTotalPixels: 640 * 480 * 10 - 1 } });
    expect((await probeMedia(path, { limits: { maxTotalPixels: 640 * 480 * 10 } })).video?.totalFrames).toBe(10);
  });

  test('a one-frame gif is a picture', async () => {
    const path = await makeClip(scratch('one.gif'), [
      '-f',
      'lavfi',
      '-i',
      'color=red:s=64x64:r=5:d=1',
      '-frames:v',
      '1',
    ]);
    expect((await probeMedia(path)).video).toMatchObject({ still: true, width: 64 });
  });

  test('sound with a cover picture is sound alone', async () => {
    const path = await makeClip(scratch('cover.mp3'), [
      '-i',
      golden('clips/tones-44k1.wav'),
      '-i',
      golden('clips/still.png'),
      '-map',
      '0:a',
      '-map',
      '1:v',
      '-c:v',
      'mjpeg',
      '-disposition:v',
      'attached_pic',
    ]);
    const probe = await probeMedia(path);
    expect(probe.video).toBeUndefined();
    expect(probe.audio).toMatchObject({ codec: 'mp3', sampleRate: 44_100 });
  });

  test('a probe that takes too long is media_timeout, a cancelled one is aborted', async () => {
    await refused(CLIP, 'media_timeout', { limits: { probeTimeoutSeconds: 0.001 } });
    await refused(CLIP, 'aborted', { signal: AbortSignal.abort() });
    const stop = new AbortController();
    setTimeout(() => {
      stop.abort();
    }, 10);
    await refused(CLIP, 'aborted', { signal: stop.signal });
  });
});
