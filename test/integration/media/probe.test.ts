import { describe, expect, test } from 'vitest';
import { probeMedia } from '../../../src/media/probe.ts';
import { golden, goldenJson } from '../../fixtures/golden.ts';
import { goldenClips, goldenInputs, type GoldenVideoProbe } from '../../fixtures/media-cases.ts';
import { probeFixture } from '../../fixtures/media-plan.ts';

interface GoldenMedia {
  readonly probe: {
    readonly video?: GoldenVideoProbe;
    readonly audio?: { readonly sample_rate: number; readonly channels: number; readonly codec: string };
  };
}

describe('the probe', () => {
  test.each(goldenClips().filter((clip) => clip !== 'still.png'))('of %s agrees with the reference', async (clip) => {
    const probe = await probeFixture(golden(`clips/${clip}`));
    const { video, audio } = goldenJson<GoldenMedia>(`media/${clip}.json`).probe;
    const seen = probe.video && {
      total_frames: probe.video.totalFrames,
      avg_fps: probe.video.averageFps,
      stored_width: probe.video.storedWidth,
      stored_height: probe.video.storedHeight,
      rotation_tag: probe.video.rotation,
      upright_width: probe.video.width,
      upright_height: probe.video.height,
      codec: probe.video.codec,
      pix_fmt: probe.video.pixelFormat,
    };
    if (video === undefined) expect(seen).toBeUndefined();
    else expect(video).toMatchObject(seen ?? {});
    expect(seen === undefined).toBe(video === undefined);
    expect(
      probe.audio && { sample_rate: probe.audio.sampleRate, channels: probe.audio.channels, codec: probe.audio.codec },
    ).toEqual(audio);
    expect(probe.video?.still ?? false).toBe(false);
    expect(probe.warnings).toBeUndefined();
  });

  test('of a picture sees one still frame', async () => {
    const input = goldenInputs().find(({ id }) => id === 'still') as unknown as {
      source_height: number;
      source_width: number;
    };
    const probe = await probeMedia(golden('clips/still.png'));
    expect(probe.video).toMatchObject({
      still: true,
      totalFrames: 1,
      width: input.source_width,
      height: input.source_height,
      codec: 'png',
    });
    expect(probe.audio).toBeUndefined();
  });
});
