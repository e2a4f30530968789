import { AvocadoError } from '../base/errors.ts';
import { PROBE_ENTRIES, readContainerReport } from './container-report.ts';
import { runFfprobe } from './ffmpeg.ts';
import { openMediaFile, type MediaFile } from './media-file.ts';
import { checkAspectRatio, tooFewFrames } from './sampling.ts';
import { probeStill } from './still.ts';
import { DEFAULT_LIMITS, type MediaLimits, type MediaProbe, type VideoStream } from './types.ts';

export interface ProbeOptions {
  readonly signal?: AbortSignal | undefined;
  readonly limits?: Partial<MediaLimits> | undefined;
}

/**
 * Streams, sizes and durations of a local file, without decoding it. The number of frames is the number of video
 * packets that will be shown, as in the reference; sizes are upright.
 * @throws AvocadoError `media_not_found`, `media_not_a_file`, `media_empty`, `media_unsupported`, `media_undecodable`,
 *   `media_no_streams`, `media_too_short`, `media_too_long`, `media_too_large`, `media_aspect_ratio`, `media_timeout`,
 *   `ffmpeg_missing`, `aborted`
 */
export async function probeMedia(path: string, options: ProbeOptions = {}): Promise<MediaProbe> {
  const limits = { ...DEFAULT_LIMITS, ...options.limits };
  const file = await openMediaFile(path, limits.maxSizeBytes);
  const probe = await probeKind(file, limits, options.signal);
  checkVideo(probe, limits);
  if (probe.durationSeconds > limits.maxDurationSeconds) {
    const seconds = Math.round(probe.durationSeconds);
    throw new AvocadoError(
      'media_too_long',
      `The file lasts ${seconds} s; at most ${limits.maxDurationSeconds} s are captioned. Cut it into parts.`,
    );
  }
  return probe;
}

async function probeKind(file: MediaFile, limits: MediaLimits, signal: AbortSignal | undefined): Promise<MediaProbe> {
  const { kind } = file;
  switch (kind) {
    case 'still':
      return await probeStill(file, { timeoutSeconds: limits.probeTimeoutSeconds, signal });
    case 'container':
    case 'unknown':
      return await probeContainer(file, limits, signal);
    case 'playlist':
      throw new AvocadoError(
        'media_unsupported',
        'The file is a playlist: it only names other files, and those are never opened. Give the video itself.',
      );
    case 'heic':
      throw new AvocadoError('media_unsupported', 'HEIC pictures are not supported. Convert it to JPEG or PNG.');
    case 'text':
      throw new AvocadoError('media_unsupported', 'The file is text, not a video, a sound or a picture.');
    default:
      throw new Error(`File kind ${String(kind satisfies never)} has no reader. This is a bug.`);
  }
}

async function probeContainer(
  file: MediaFile,
  limits: MediaLimits,
  signal: AbortSignal | undefined,
): Promise<MediaProbe> {
  const { maxPixels, probeTimeoutSeconds: timeoutSeconds } = limits;
  const outcome = await runFfprobe({ path: file.path, entries: PROBE_ENTRIES, maxPixels, timeoutSeconds, signal });
  return readContainerReport(outcome, file, maxPixels);
}

/** Of all frames: a decoder makes every one of them, whichever are looked at. */
export function totalPixels({ width, height, totalFrames }: VideoStream): number {
  return width * height * totalFrames;
}

function checkVideo({ video }: MediaProbe, limits: MediaLimits): void {
  if (video === undefined) return;
  const most = video.still ? limits.maxStillPixels : limits.maxPixels;
  if (video.width * video.height > most) {
    throw new AvocadoError(
      'media_too_large',
      `The picture is ${video.width}x${video.height}; at most ${most} pixels are decoded. Scale it down.`,
    );
  }
  if (totalPixels(video) > limits.maxTotalPixels) {
    const frames = `${video.totalFrames} frames of ${video.width}x${video.height}`;
    const most = `at most ${limits.maxTotalPixels / 1e9} billion pixels are decoded for one caption`;
    throw new AvocadoError('media_too_large', `The video has ${frames}; ${most}. Cut it or scale it down.`);
  }
  checkAspectRatio(video);
  if (!video.still && video.totalFrames < 2) throw tooFewFrames(video.totalFrames);
}
