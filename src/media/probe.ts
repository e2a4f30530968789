import { AvocadoError } from '../base/errors.ts';
import { ContainerReport, mostPackets, PROBE_OPTIONS, readContainerReport } from './container-report.ts';
import { runFfprobe } from './ffmpeg.ts';
import type { ProcessOutcome } from './ffmpeg-process.ts';
import { openMediaFile, type MediaFile } from './media-file.ts';
import { upright } from './orientation.ts';
import { readSection } from './probe-section.ts';
import { checkAspectRatio, tooFewFrames } from './sampling.ts';
import { probeStill } from './still.ts';
import { DEFAULT_LIMITS, type MediaLimits, type MediaProbe, type VideoStream } from './types.ts';

export interface ProbeOptions {
  readonly signal?: AbortSignal | undefined;
  readonly limits?: Partial<MediaLimits> | undefined;
  /** keep the times of all frames, for partOf(); what limits the pictures is then checked there */
  readonly keepsTimes?: boolean | undefined;
}

/**
 * Streams, sizes and durations of a local file, without decoding it. The number of frames is the number of video
 * packets that will be shown, as in the reference; sizes are upright.
 * @throws AvocadoError `media_not_found`, `media_not_a_file`, `media_empty`, `media_unsupported`, `media_undecodable`,
 *   `media_no_streams`, `media_too_short`, `media_too_long`, `media_too_large`, `media_aspect_ratio`, `media_timeout`,
 *   `ffmpeg_missing`, `engine_error`, `aborted`
 */
export async function probeMedia(path: string, options: ProbeOptions = {}): Promise<MediaProbe> {
  const limits = { ...DEFAULT_LIMITS, ...options.limits };
  const file = await openMediaFile(path, limits.maxSizeBytes);
  const probe = await probeKind(file, limits, options);
  if (options.keepsTimes !== true) checkVideo(probe, limits);
  if (probe.durationSeconds > limits.maxDurationSeconds) {
    const seconds = Math.round(probe.durationSeconds);
    throw new AvocadoError(
      'media_too_long',
      `The file lasts ${seconds} s; at most ${limits.maxDurationSeconds} s are captioned. Cut it into parts.`,
    );
  }
  return probe;
}

async function probeKind(file: MediaFile, limits: MediaLimits, options: ProbeOptions): Promise<MediaProbe> {
  const { kind } = file;
  switch (kind) {
    case 'still':
      return await probeStill(file, { timeoutSeconds: limits.probeTimeoutSeconds, signal: options.signal });
    case 'container':
    case 'unknown':
      return await probeContainer(file, limits, options);
    case 'playlist':
      throw new AvocadoError(
        'media_unsupported',
        'The file is a playlist: it only names other files, and those are never opened. Give the video itself.',
      );
    case 'unsupported':
      throw new AvocadoError(
        'media_unsupported',
        `The file is ${file.name}, which is not supported. Convert it to ${file.convertTo}.`,
      );
    case 'text':
      throw new AvocadoError('media_unsupported', 'The file is text, not a video, a sound or a picture.');
    default:
      throw new Error(`File kind ${String(kind satisfies never)} has no reader. This is a bug.`);
  }
}

async function probeContainer(file: MediaFile, limits: MediaLimits, options: ProbeOptions): Promise<MediaProbe> {
  const { signal } = options;
  const unneeded = new AbortController();
  const stopping = signal === undefined ? unneeded.signal : AbortSignal.any([signal, unneeded.signal]);
  // Mostly it will be needed: looked at beside the report, the client's caption begins earlier. What goes wrong here
  // goes wrong again where it is.
  const ahead =
    file.isFilm === true ? firstFrame(file, FIRST_VIDEO, limits, stopping).catch(() => undefined) : undefined;
  try {
    const first = await readReport(file, limits, options, false);
    const { report, outcome } = first.report.lacksFormats ? await readReport(file, limits, options, true) : first;
    const probe = readContainerReport(report, outcome, file, limits.maxPixels);
    const { video } = probe;
    if (video === undefined || video.uprightFilters?.length !== 0 || !FRAME_TURNING_CODECS.has(video.codec))
      return probe;
    const told = video.lostAtStart === 0 ? await ahead : undefined;
    const { matrix } = told?.index === video.index ? told : await firstFrame(file, trackOf(video), limits, signal);
    if (matrix === undefined) return probe;
    const stored = { width: video.storedWidth, height: video.storedHeight };
    return { ...probe, video: { ...video, ...upright(stored, matrix), isTurnedByFrames: true } };
  } finally {
    unneeded.abort();
    await ahead;
  }
}

type Signal = AbortSignal | undefined;

/** A file is read from its beginning to its end: large ones get the time that a slow disk takes. */
const READ_BYTES_PER_SECOND = 50e6;

async function readReport(
  file: MediaFile,
  { maxPixels, maxDurationSeconds, probeTimeoutSeconds }: MediaLimits,
  { signal, keepsTimes }: ProbeOptions,
  thorough: boolean,
): Promise<{ report: ContainerReport; outcome: ProcessOutcome }> {
  const report = new ContainerReport(mostPackets(maxDurationSeconds), keepsTimes);
  const timeoutSeconds = probeTimeoutSeconds + Math.floor(file.sizeBytes / READ_BYTES_PER_SECOND);
  const run = { path: file.path, options: PROBE_OPTIONS, maxPixels, timeoutSeconds, signal, thorough };
  return { report, outcome: await runFfprobe({ ...run, onOutput: report.add }) };
}

/** Codecs whose frames can say themselves how they are turned (a display orientation SEI message). */
const FRAME_TURNING_CODECS = new Set(['h264', 'hevc']);

/** Packets after the first key frame until it comes out of a decoder. */
const DECODER_DELAY = 10;

/** Which track, as ffprobe writes it, and how many of its packets it takes to see a frame. */
interface Track {
  readonly select: string;
  readonly packets: number;
}

const FIRST_VIDEO: Track = { select: 'v:0', packets: 1 };

function trackOf({ index, lostAtStart = 0 }: VideoStream): Track {
  return { select: String(index), packets: lostAtStart === 0 ? 1 : lostAtStart + DECODER_DELAY };
}

/** The first frame of a track: the track's index, and the display matrix that the frame itself has. */
async function firstFrame(
  file: MediaFile,
  { select, packets }: Track,
  { maxPixels, probeTimeoutSeconds: timeoutSeconds }: MediaLimits,
  signal: Signal,
): Promise<{ readonly index: number | undefined; readonly matrix: string | undefined }> {
  const options = [
    ...['-select_streams', select, '-read_intervals', `%+#${packets}`],
    ...['-show_entries', 'frame=stream_index,width:frame_side_data=displaymatrix', '-of', 'compact'],
  ];
  let matrix: string | undefined;
  let index: number | undefined;
  const onOutput = (line: string): void => {
    const section = readSection(line);
    index ??= section['stream_index'] === undefined ? undefined : Number(section['stream_index']);
    matrix ??= section['displaymatrix'];
  };
  await runFfprobe({ path: file.path, options, maxPixels, timeoutSeconds, signal, onOutput });
  return { index, matrix };
}

/** Of all frames: a decoder makes every one of them, whichever are looked at. */
export function totalPixels({ width, height, totalFrames }: VideoStream): number {
  return width * height * totalFrames;
}

/** @throws AvocadoError `media_too_large`, `media_aspect_ratio`, `media_too_short` */
export function checkVideo({ video, audio }: MediaProbe, limits: MediaLimits = DEFAULT_LIMITS): void {
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
  if (!video.still && video.totalFrames < 2 && audio === undefined) throw tooFewFrames(video.totalFrames);
}
