// The captions of segments as one answer. Pure.
import type { CaptionEnd, FinishReason, MediaReport, SegmentCaption, Usage } from '../output/events.ts';
import { timelineText } from '../output/subtitles.ts';
import type { Stopwatch } from '../output/timings.ts';

export const usageOfNothing: Usage = {
  promptTokens: 0,
  completionTokens: 0,
  totalTokens: 0,
  promptTokensByModality: { text: 0, video: 0, image: 0, audio: 0 },
  cachedTokens: 0,
};

/** One segment that has ended: its caption, and what only its own request knows. */
export interface EndedSegment {
  readonly caption: SegmentCaption;
  /** undefined: it failed */
  readonly end: CaptionEnd | undefined;
}

/** A file may have a hundred segments with the same defect. */
const MOST_WARNINGS = 20;

/** @param planned what was expected to be seen and heard; the answer tells what was */
export function segmentedEnd(
  ended: readonly EndedSegment[],
  planned: MediaReport,
  watch: Stopwatch,
  firstTokenSeconds: number | undefined,
): CaptionEnd {
  const ends = ended.flatMap(({ end }) => (end === undefined ? [] : [end]));
  for (const { timings } of ends) watch.add(timings.stages);
  const usage = ends.map((end) => end.usage).reduce(sumOfUsage, usageOfNothing);
  const tokens = ends.flatMap((end) => end.tokens ?? []);
  const stages = watch.stages();
  const generating = stages['generate'] ?? 0;
  return {
    type: 'caption-end',
    caption: timelineText(ended.map(({ caption }) => caption)),
    finishReason: finishOf(ends.map(({ finishReason }) => finishReason)),
    tokenIds: ends.flatMap(({ tokenIds }) => tokenIds),
    logprobs: ends.flatMap(({ logprobs }) => logprobs),
    ...(tokens.length === 0 ? {} : { tokens }),
    others: [],
    segments: ended.map(({ caption }) => caption),
    usage,
    media: mediaOf(ended, ends, planned),
    profile: ends[0]?.profile ?? '',
    timings: {
      totalSeconds: watch.elapsed(),
      firstTokenSeconds,
      tokensPerSecond: generating > 0 ? usage.completionTokens / generating : undefined,
      stages,
    },
  };
}

/** What a reader must know first: one that was cut, then one that repeats itself. */
function finishOf(reasons: readonly FinishReason[]): FinishReason {
  return (['length', 'repetition'] as const).find((reason) => reasons.includes(reason)) ?? 'stop';
}

function sumOfUsage(one: Usage, other: Usage): Usage {
  const [a, b] = [one.promptTokensByModality, other.promptTokensByModality];
  return {
    promptTokens: one.promptTokens + other.promptTokens,
    completionTokens: one.completionTokens + other.completionTokens,
    totalTokens: one.totalTokens + other.totalTokens,
    promptTokensByModality: {
      text: a.text + b.text,
      video: a.video + b.video,
      image: a.image + b.image,
      audio: a.audio + b.audio,
    },
    cachedTokens: one.cachedTokens + other.cachedTokens,
  };
}

function mediaOf(ended: readonly EndedSegment[], ends: readonly CaptionEnd[], planned: MediaReport): MediaReport {
  const sum = (value: (media: MediaReport) => number): number =>
    ends.reduce((total, { media }) => total + value(media), 0);
  const seen = ends.find(({ media }) => media.video !== undefined)?.media.video;
  const warnings = new Set(planned.warnings);
  for (const { caption, end } of ended) {
    const where = `Segment ${caption.index + 1}`;
    if (caption.error !== undefined) warnings.add(`${where} has no caption: ${caption.error.message}`);
    for (const warning of end?.media.warnings ?? [])
      if (!planned.warnings.includes(warning)) warnings.add(`${where}: ${warning}`);
  }
  return {
    ...planned,
    ...(seen === undefined
      ? {}
      : {
          video: {
            ...seen,
            frames: sum(({ video }) => video?.frames ?? 0),
            tokens: sum(({ video }) => video?.tokens ?? 0),
          },
        }),
    audio: {
      ...planned.audio,
      used: ends.some(({ media }) => media.audio.used),
      seconds: sum(({ audio }) => audio.seconds),
      tokens: sum(({ audio }) => audio.tokens),
    },
    warnings: [...warnings].slice(0, MOST_WARNINGS),
  };
}
