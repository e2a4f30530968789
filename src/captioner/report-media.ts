import type { MediaFacts } from '../encoder/encoded-media.ts';
import type { Prompt } from '../prompt/types.ts';
import type { MediaReport } from '../output/events.ts';

type VideoReport = NonNullable<MediaReport['video']>;

function videoReport(media: MediaFacts, prompt: Prompt): VideoReport | undefined {
  const { probe, video } = media.plan;
  if (probe.video === undefined || video === undefined) return undefined;
  return {
    frames: video.frameIndices.length,
    sampleFps: video.sampleFps,
    sourceFps: probe.video.averageFps,
    width: video.final.width,
    height: video.final.height,
    sourceWidth: probe.video.width,
    sourceHeight: probe.video.height,
    codec: probe.video.codec,
    tokens: prompt.counts.video + prompt.counts.image,
  };
}

/** What was seen and heard, for the answer: sound is never lost without a word. */
export function reportMedia(media: MediaFacts, prompt: Prompt): MediaReport {
  const { probe } = media.plan;
  const video = videoReport(media, prompt);
  const heard = prompt.counts.audio > 0;
  return {
    kind: media.plan.video?.kind ?? 'audio',
    durationSeconds: probe.durationSeconds,
    ...(video === undefined ? {} : { video }),
    audio: {
      present: probe.audio !== undefined,
      used: heard,
      seconds: heard && media.audio !== undefined ? media.audio.samples / 16_000 : 0,
      tokens: prompt.counts.audio,
      ...(probe.audio === undefined ? {} : { codec: probe.audio.codec }),
    },
    warnings: media.warnings,
  };
}
