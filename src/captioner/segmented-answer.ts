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
  /** undefined: it failed, or is taken over from an earlier try */
  readonly end: CaptionEnd | undefined;
}

/** A file may have a hundred segments with the same defect. */
const MOST_WARNINGS = 20;

/**
 * @param planned what was expected to be seen and heard; the answer has what really was
 * @param profile of all of them
 */
export function segmentedEnd(
  ended: readonly EndedSegment[],
  { media: planned, profile }: { readonly media: MediaReport; readonly profile: string },
  watch: Stopwatch,
  firstTokenSeconds: number | undefined,
): CaptionEnd {
  const ends = ended.flatMap(({ end }) => (end === undefined ? [] : [end]));
  for (const { timings } of ends) watch.add(timings.stages);
  const captioned = ended.map(({ caption }) => caption).filter(({ error }) => error === undefined);
  const usage = captioned.map(({ usage: own = usageOfNothing }) => own).reduce(sumOfUsage, usageOfNothing);
  const generated = ends.reduce((tokens, end) => tokens + end.usage.completionTokens, 0);
  const tokens = ends.flatMap((end) => end.tokens ?? []);
  const stages = watch.stages();
  const generating = stages['generate'] ?? 0;
  return {
    type: 'caption-end',
    caption: timelineText(ended.map(({ caption }) => caption)),
    finishReason: finishOf(captioned.map(({ finishReason }) => finishReason)),
    tokenIds: ends.flatMap(({ tokenIds }) => tokenIds),
    logprobs: ends.flatMap(({ logprobs }) => logprobs),
    ...(tokens.length === 0 ? {} : { tokens }),
    others: [],
    segments: ended.map(({ caption }) => caption),
    usage,
    media: mediaOf(
      ended.map(({ caption }) => caption),
      planned,
    ),
    profile,
    timings: {
      totalSeconds: watch.elapsed(),
      firstTokenSeconds,
      tokensPerSecond: generating > 0 ? generated / generating : undefined,
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

function mediaOf(captions: readonly SegmentCaption[], planned: MediaReport): MediaReport {
  const all = captions.flatMap(({ media }) => (media === undefined ? [] : [media]));
  const sum = (value: (media: MediaReport) => number): number => all.reduce((total, media) => total + value(media), 0);
  const seen = all.find(({ video }) => video !== undefined)?.video;
  const sumOf = (count: 'frames' | 'tokens' | 'tokensBefore'): number => sum(({ video }) => video?.[count] ?? 0);
  const tokensBefore = seen?.tokensBefore === undefined ? undefined : sumOf('tokensBefore');
  const warnings = new Set(planned.warnings);
  for (const { index, error, media } of captions) {
    const where = `Segment ${index + 1}`;
    if (error !== undefined) warnings.add(`${where} has no caption: ${error.message}`);
    for (const warning of media?.warnings ?? [])
      if (!planned.warnings.includes(warning)) warnings.add(`${where}: ${warning}`);
  }
  return {
    ...planned,
    video:
      seen === undefined ? planned.video : { ...seen, frames: sumOf('frames'), tokens: sumOf('tokens'), tokensBefore },
    audio: {
      ...planned.audio,
      used: all.some(({ audio }) => audio.used),
      seconds: sum(({ audio }) => audio.seconds),
      tokens: sum(({ audio }) => audio.tokens),
    },
    warnings: [...warnings].slice(0, MOST_WARNINGS),
  };
}
