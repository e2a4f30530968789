// Looks and listens into stretches of a file, by ffmpeg: small pictures with scdet's scores, and loudness.
import { runFfmpeg } from '../media/ffmpeg.ts';
import { clockOf, firstAtOrAfter, partOf, seekOptions, trimFilters, type FileClock } from '../media/part.ts';
import { DEFAULT_LIMITS, type MediaProbe } from '../media/types.ts';
import { shotChanges, SMALL, type FrameLook, type ShotChange } from './shots.ts';
import { heardParts, levelsOf, SCAN_RATE, type HeardParts } from './silence.ts';

export interface ScanOptions {
  readonly signal: AbortSignal;
  readonly timeoutSeconds: number;
}

/** Frames before a stretch that a change is compared with, and after it, in seconds. */
const AROUND_SECONDS = 0.7;

/** What a file shows and sounds like, stretch by stretch. */
export interface FileScan {
  readonly clock: FileClock;
  /** shot changes from `from` up to `to`, seconds of the file */
  shots(from: number, to: number): Promise<ShotChange[]>;
  /** undefined: the file has no sound there */
  sounds(from: number, to: number): Promise<HeardParts | undefined>;
}

/** @param probe of the whole file, one that keeps times */
export function scanFile(probe: MediaProbe, options: ScanOptions): FileScan {
  const clock = clockOf(probe);
  return {
    clock,
    shots: async (from, to) => {
      if (probe.video === undefined || !clock.isTold) return [];
      const start = Math.max(0, from - AROUND_SECONDS);
      const end = Math.min(clock.durationSeconds, to + AROUND_SECONDS);
      if (start >= end) return [];
      const changes = shotChanges(await framesOf(probe, clock, start, end, options));
      return changes.filter(({ time }) => time >= from && time < to);
    },
    sounds: async (from, to) => {
      if (probe.audio === undefined || !clock.isTold) return undefined;
      const samples = await samplesOf(probe, clock, from, to, options);
      return samples === undefined ? undefined : heardParts(levelsOf(samples), from);
    },
  };
}

const METADATA = /\[info\] (?:frame:\d+ +pts:(-?\d+)|lavfi\.scd\.score=([\d.]+))/;

async function framesOf(
  probe: MediaProbe,
  clock: FileClock,
  from: number,
  to: number,
  { signal, timeoutSeconds }: ScanOptions,
): Promise<FrameLook[]> {
  const part = partOf({ ...probe, audio: undefined }, { rule: 'time', start: from, end: to });
  const times: number[] = [];
  const scores: number[] = [];
  const bytes: Uint8Array[] = [];
  const filters = [
    ...trimFilters('trim', part.part?.frames),
    ...['settb=1/1000000', 'scdet=threshold=100', 'metadata=mode=print'],
    ...[`scale=${SMALL.width}:${SMALL.height}:flags=fast_bilinear`, 'format=gray', 'settb=1/1000', 'setpts=N'],
  ];
  await runFfmpeg({
    path: probe.path,
    logLevel: 'info',
    inputOptions: ['-noautorotate', '-skip_loop_filter', 'all', ...seekOptions(part, true)],
    outputOptions: [
      ...['-map', `0:${probe.video?.index ?? 0}`, '-filter:v', filters.join(',')],
      ...['-fps_mode', 'passthrough', '-enc_time_base', '1:1000', '-f', 'rawvideo'],
    ],
    maxPixels: DEFAULT_LIMITS.maxPixels,
    timeoutSeconds,
    signal,
    onChunk: (chunk) => {
      bytes.push(Uint8Array.from(chunk));
      return 'more';
    },
    onLine: (line) => {
      const [, pts, score] = METADATA.exec(line) ?? [];
      if (pts !== undefined) times.push(Number(pts) / 1e6 - clock.zero);
      if (score !== undefined) scores[times.length - 1] = Number(score);
    },
  });
  const all = Buffer.concat(bytes);
  const size = SMALL.width * SMALL.height;
  return times.slice(0, Math.floor(all.length / size)).map((time, frame) => ({
    time: nearestFrame(clock, time),
    score: scores[frame] ?? 0,
    small: all.subarray(frame * size, (frame + 1) * size),
  }));
}

/** A decoder's time as that of the packet. */
function nearestFrame({ frameTimes }: FileClock, time: number): number {
  const after = firstAtOrAfter(frameTimes, time);
  const [low, high] = [frameTimes[after - 1] ?? Infinity, frameTimes[after] ?? Infinity];
  const nearest = Math.abs(low - time) < Math.abs(high - time) ? low : high;
  return Number.isFinite(nearest) ? nearest : time;
}

/** Sound at SCAN_RATE; what is missing at the start or in gaps is silence. */
async function samplesOf(
  probe: MediaProbe,
  clock: FileClock,
  from: number,
  to: number,
  { signal, timeoutSeconds }: ScanOptions,
): Promise<Float32Array | undefined> {
  const part = partOf({ ...probe, video: undefined }, { rule: 'time', start: from, end: to });
  if (part.audio === undefined) return undefined;
  const bytes: Uint8Array[] = [];
  const first = (clock.zero + from).toFixed(6);
  await runFfmpeg({
    path: probe.path,
    logLevel: 'error',
    inputOptions: seekOptions(
      { ...part, part: part.part && { ...part.part, seekTo: seekTo(probe, clock, from) } },
      true,
    ),
    outputOptions: [
      ...['-map', `0:${part.audio.index}`, '-ac', '1', '-filter:a'],
      [
        `atrim=start=${first}:end=${(clock.zero + to).toFixed(6)}`,
        `asetpts=PTS-${first}/TB`,
        `aresample=${SCAN_RATE}:async=1:min_hard_comp=0.1:first_pts=0`,
      ].join(','),
      ...['-c:a', 'pcm_s16le', '-f', 's16le'],
    ],
    maxPixels: DEFAULT_LIMITS.maxPixels,
    timeoutSeconds,
    signal,
    onChunk: (chunk) => {
      bytes.push(Uint8Array.from(chunk));
      return 'more';
    },
  });
  const all = Buffer.concat(bytes);
  return Float32Array.from({ length: all.length >> 1 }, (_, at) => all.readInt16LE(2 * at) / 32_768);
}

function seekTo(probe: MediaProbe, clock: FileClock, from: number): number | undefined {
  return partOf(probe, { rule: 'time', start: from }).part?.seekTo === undefined ? undefined : from + clock.zero;
}
