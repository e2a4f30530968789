// Which placeholder tokens a media item gets, and in what order (reference-model.md, Layout). Pure; follows the
// reference's processor exactly, its quirks included.
import type { MediaTokens } from './types.ts';

/** What layout and positions need of a ModelConfig. */
export interface LayoutConfig {
  readonly vision: { readonly mergeSize: number };
  readonly positionIdPerSeconds: number;
  readonly secondsPerChunk: number;
}

export type RunKind = 'vision-start' | 'vision-end' | 'audio-start' | 'audio-end' | 'video' | 'image' | 'audio';

/** `count` equal tokens in a row. */
export interface LayoutRun {
  readonly kind: RunKind;
  readonly count: number;
}

type VideoTokens = Extract<MediaTokens, { kind: 'video' }>;
type SoundVideoTokens = VideoTokens & { readonly audioTokens: number };

/** Positions that one chunk of interleaved video and audio spans: 50 = 2 s. */
export function positionsPerChunk(config: LayoutConfig): number {
  return Math.trunc(config.positionIdPerSeconds * config.secondsPerChunk);
}

/** Tokens of one temporal step, after the vision tower has merged its patches. */
export function tokensPerStep(gridThw: readonly [number, number, number], mergeSize: number): number {
  return (gridThw[1] / mergeSize) * (gridThw[2] / mergeSize);
}

interface MediaTokenCounts {
  readonly video: number;
  readonly image: number;
  readonly audio: number;
  readonly boundaries: number;
}

/** Number of placeholder tokens per encoder, and of the boundary tokens around them. */
export function mediaTokenCounts(media: MediaTokens, config: LayoutConfig): MediaTokenCounts {
  const grid = (gridThw: readonly [number, number, number]): number =>
    gridThw[0] * tokensPerStep(gridThw, config.vision.mergeSize);
  switch (media.kind) {
    case 'video':
      return {
        video: grid(media.gridThw),
        image: 0,
        audio: media.audioTokens ?? 0,
        boundaries: hasSound(media) ? 4 : 2,
      };
    case 'image':
      return { video: 0, image: grid(media.gridThw), audio: 0, boundaries: 2 };
    case 'audio':
      return { video: 0, image: 0, audio: media.audioTokens, boundaries: 2 };
    default:
      return media satisfies never;
  }
}

/** Audio that is too short for one token counts as none: the reference's processor would fail on it. */
export function hasSound(media: VideoTokens): media is SoundVideoTokens {
  return media.audioTokens !== undefined && media.audioTokens > 0;
}

/**
 * Ends of the chunks that tokens with non-decreasing time values fall into. The bound moves by one chunk for each chunk
 * emitted, not to the token's own chunk: steps longer than a chunk leave one-token chunks behind, as in the reference.
 */
export function chunkEnds(length: number, valueAt: (index: number) => number, chunk: number): number[] {
  // Empty chunks, where the first token comes late; never in the reference, whose values begin with 0.
  const ends = new Array<number>(Math.floor(valueAt(0) / chunk)).fill(0);
  for (let index = 0; index < length; index++) {
    if (valueAt(index) >= (ends.length + 1) * chunk) ends.push(index);
  }
  ends.push(length);
  return ends;
}

/** Calls back for each chunk in the order of the prompt: video chunk j, then audio chunk j. */
export function forEachChunk(
  videoEnds: readonly number[],
  audioEnds: readonly number[],
  visit: (kind: 'video' | 'audio', from: number, to: number) => void,
): void {
  for (let chunk = 0; chunk < Math.max(videoEnds.length, audioEnds.length); chunk++) {
    const [videoStart = 0, videoEnd = videoStart] = [videoEnds[chunk - 1], videoEnds[chunk]];
    const [audioStart = 0, audioEnd = audioStart] = [audioEnds[chunk - 1], audioEnds[chunk]];
    if (videoEnd > videoStart) visit('video', videoStart, videoEnd);
    if (audioEnd > audioStart) visit('audio', audioStart, audioEnd);
  }
}

/** The media item from its start token to its end token. */
export function layoutMedia(media: MediaTokens, config: LayoutConfig): LayoutRun[] {
  const counts = mediaTokenCounts(media, config);
  switch (media.kind) {
    case 'video': {
      const inside = hasSound(media)
        ? interleave(media, counts.video, config)
        : [{ kind: 'video' as const, count: counts.video }];
      return [{ kind: 'vision-start', count: 1 }, ...inside, { kind: 'vision-end', count: 1 }];
    }
    case 'image':
      return [
        { kind: 'vision-start', count: 1 },
        { kind: 'image', count: counts.image },
        { kind: 'vision-end', count: 1 },
      ];
    case 'audio':
      return [
        { kind: 'audio-start', count: 1 },
        { kind: 'audio', count: counts.audio },
        { kind: 'audio-end', count: 1 },
      ];
    default:
      return media satisfies never;
  }
}

/** Chunks are cut at untruncated float64 times; the positions cut theirs at truncated float32 ones and may differ. */
function interleave(media: SoundVideoTokens, videoTokens: number, config: LayoutConfig): LayoutRun[] {
  const chunk = positionsPerChunk(config);
  const perStep = tokensPerStep(media.gridThw, config.vision.mergeSize);
  const time = (token: number): number =>
    ((media.startSeconds ?? 0) + Math.floor(token / perStep) * media.secondPerGrid) * config.positionIdPerSeconds;
  const runs: LayoutRun[] = [{ kind: 'audio-start', count: 1 }];
  forEachChunk(
    chunkEnds(videoTokens, time, chunk),
    chunkEnds(media.audioTokens, (token) => token, chunk),
    (kind, from, to) => {
      runs.push({ kind, count: to - from });
    },
  );
  runs.push({ kind: 'audio-end', count: 1 });
  return runs;
}
