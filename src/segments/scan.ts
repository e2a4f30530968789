// Looks and listens into stretches of a file, by ffmpeg: small pictures with scdet's scores, and loudness.
import type { Hold } from '../base/foreground.ts';
import { runFfmpeg } from '../media/ffmpeg.ts';
import { clockOf, firstAtOrAfter, partOf, seekOptions, soundSpan, trimFilters, type FileClock } from '../media/part.ts';
import { DEFAULT_LIMITS, type MediaProbe } from '../media/types.ts';
import { marksOf, type Marks } from './marks.ts';
import { difference, shotChanges, SMALL, type FrameLook, type ShotChange } from './shots.ts';
import { heardParts, HOP_SECONDS, levelsOf, NO_SOUND, SCAN_RATE, type HeardParts, type Interval } from './silence.ts';

export interface ScanOptions {
  readonly signal: AbortSignal;
  readonly timeoutSeconds: number;
  /** while it is held, no decoder runs */
  readonly hold?: Hold | undefined;
}

/** Frames before a stretch that a change is compared with, and after it, in seconds. */
const AROUND_SECONDS = 0.7;
/** The same for one frame; a mark may be so much behind the beginning of its shot. */
const BESIDE_MARK_SECONDS = 0.4;
const BEFORE_MARK_SECONDS = 0.2;

/** What a file shows and sounds like, stretch by stretch; seconds of the file. */
export interface FileScan {
  readonly clock: FileClock;
  /** Shot changes from `from` up to `to`. */
  shots(from: number, to: number): Promise<ShotChange[]>;
  /** As shots, for half of the work: a change may be told a few frames late. */
  glimpses(from: number, to: number): Promise<ShotChange[]>;
  /** Undefined: the file has no sound there. */
  sounds(from: number, to: number): Promise<HeardParts | undefined>;
  /** Key frames from `from` up to `to`: a decoder can begin with them. Known without decoding. */
  keys(from: number, to: number): readonly number[];
  /** Where the encoder may have seen a shot change. Known without decoding. */
  marks(from: number, to: number): Marks;
  /** The cut at a mark. Few frames are decoded. */
  shotAt(mark: number): Promise<ShotChange | undefined>;
}

/** @param probe of the whole file, one that keeps times */
export function scanFile(probe: MediaProbe, options: ScanOptions): FileScan {
  const clock = clockOf(probe);
  const keys = (clock.isTold ? probe.video?.keyTimes : undefined)?.map((time) => time - clock.zero);
  const bytes = probe.video?.frameBytes;
  const marks =
    keys === undefined || bytes === undefined || isCheap(probe)
      ? { times: [], by: 'nothing' as const }
      : marksOf({ times: clock.frameTimes, bytes, keyTimes: keys });
  const sound = new SoundScan(probe, clock, options);
  const look = async (from: number, to: number, around: number, frames: readonly string[]): Promise<ShotChange[]> => {
    if (probe.video === undefined || !clock.isTold) return [];
    const stretch = { from: Math.max(0, from - around), to: to + around };
    const changes = shotChanges(await framesOf(probe, clock, stretch, frames, options));
    return changes.filter(({ time }) => time >= from && time < to);
  };
  const within = (times: Float64Array | readonly number[] | undefined, from: number, to: number): number[] =>
    [...(times ?? [])].filter((time) => time >= from && time < to);
  return {
    clock,
    shots: (from, to) => look(from, to, AROUND_SECONDS, ALL_FRAMES),
    glimpses: (from, to) => look(from, to, AROUND_SECONDS, isCheap(probe) ? ALL_FRAMES : REFERENCES),
    sounds: (from, to) => sound.parts(from, to),
    keys: (from, to) => within(keys, from, to),
    marks: (from, to) => ({ ...marks, times: within(marks.times, from, to) }),
    shotAt: async (mark) => {
      const [key, before] = within(keys, 0, mark + FRAME_SLACK).reverse();
      if (key === mark && before !== undefined) {
        // Two pictures tell enough: a cut there is legal anyway.
        const stretch = { from: before, to: mark + FRAME_SLACK };
        const [first, ...later] = await framesOf(probe, clock, stretch, KEYS, options);
        const isOther = difference(first?.small, later.at(-1)?.small) >= LEAST_KEY_CHANGE;
        return isOther ? { time: mark, kind: 'cut' } : undefined;
      }
      const from = Math.max(0, mark - BEFORE_MARK_SECONDS);
      const changes = await look(from, mark + FRAME_SLACK, BESIDE_MARK_SECONDS, ALL_FRAMES);
      return changes.filter(({ kind }) => kind === 'cut').at(-1);
    },
  };
}

/** Frames that others refer to; where there are others, half of the work. Key frames are among them. */
const REFERENCES = ['-skip_frame', 'noref'];
const ALL_FRAMES: readonly string[] = [];
const KEYS = ['-skip_frame', 'nokey'];
/** Grey levels between the pictures of a key frame and the one before it. */
const LEAST_KEY_CHANGE = 8;

/** Pictures up to this size are decoded in no time beside the model: they are looked at, whatever packets tell. */
const CHEAP_PIXELS = 640 * 480;

function isCheap({ video }: MediaProbe): boolean {
  return video !== undefined && video.width * video.height <= CHEAP_PIXELS;
}

/** Two frames are never so close. */
const FRAME_SLACK = 1e-4;
/** More frames than that are not looked at in vain. */
const LONGEST_LEAD_SECONDS = 20;

const METADATA = /\[info\] (?:frame:\d+ +pts:(-?\d+)|lavfi\.scd\.score=([\d.]+))/;

/** What the frames of a stretch look like. None where it has fewer than two. */
async function framesOf(
  probe: MediaProbe,
  clock: FileClock,
  stretch: Interval,
  decoderOptions: readonly string[],
  { signal, timeoutSeconds, hold }: ScanOptions,
): Promise<FrameLook[]> {
  // From the key frame on, whose pictures are decoded anyway.
  const keys = probe.video?.keyTimes ?? new Float64Array();
  const key = keys[firstAtOrAfter(keys, stretch.from + clock.zero + FRAME_SLACK) - 1];
  const lead = key === undefined ? Infinity : stretch.from - (key - clock.zero);
  const from = lead < LONGEST_LEAD_SECONDS ? Math.max(0, stretch.from - lead) : stretch.from;
  const to = Math.min(clock.durationSeconds, stretch.to);
  if (firstAtOrAfter(clock.frameTimes, to) - firstAtOrAfter(clock.frameTimes, from) < 2) return [];
  const part = partOf(probe, { rule: 'time', start: from, end: to });
  const times: number[] = [];
  const scores: number[] = [];
  const bytes: Uint8Array[] = [];
  const filters = [
    ...trimFilters('trim', part.part?.frames),
    ...['settb=1/1000000', 'scdet=threshold=100', 'metadata=mode=print'],
    ...[`scale=${SMALL.width}:${SMALL.height}:flags=fast_bilinear:out_range=full`, 'format=yuv444p'],
    ...['settb=1/1000', 'setpts=N'],
  ];
  await runFfmpeg({
    path: probe.path,
    logLevel: 'info',
    inputOptions: [
      ...['-noautorotate', '-skip_loop_filter', 'all', ...decoderOptions],
      ...seekOptions(part, true, 'pictures'),
    ],
    outputOptions: [
      ...['-map', `0:${probe.video?.index ?? 0}`, '-filter:v', filters.join(',')],
      ...['-fps_mode', 'passthrough', '-enc_time_base', '1:1000', '-f', 'rawvideo'],
    ],
    maxPixels: DEFAULT_LIMITS.maxPixels,
    timeoutSeconds,
    signal,
    hold,
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
  return times.slice(0, Math.floor(all.length / (3 * size))).map((time, frame) => ({
    time: nearestFrame(clock, time),
    score: scores[frame] ?? 0,
    small: all.subarray(3 * frame * size, (3 * frame + 1) * size),
    colour: all.subarray((3 * frame + 1) * size, (3 * frame + 3) * size),
  }));
}

/** A decoder's time as that of the packet. */
function nearestFrame({ frameTimes }: FileClock, time: number): number {
  const after = firstAtOrAfter(frameTimes, time);
  const [low, high] = [frameTimes[after - 1] ?? Infinity, frameTimes[after] ?? Infinity];
  const nearest = Math.abs(low - time) < Math.abs(high - time) ? low : high;
  return Number.isFinite(nearest) ? nearest : time;
}

/** The loudness of a file, each part of which is decoded once. */
class SoundScan {
  readonly #probe: MediaProbe;
  readonly #clock: FileClock;
  readonly #options: ScanOptions;
  /** of the pieces of HOP_SECONDS from #from on, NO_SOUND where there is none */
  #levels = new Float32Array();
  #from = 0;

  constructor(probe: MediaProbe, clock: FileClock, options: ScanOptions) {
    this.#probe = probe;
    this.#clock = clock;
    this.#options = options;
  }

  /** Pauses from `from` up to `to`. Undefined: the file has no sound there. */
  async parts(from: number, to: number): Promise<HeardParts | undefined> {
    const [first, next] = [Math.floor(from / HOP_SECONDS), Math.floor(to / HOP_SECONDS)];
    if (!this.#isHeard(first * HOP_SECONDS, next * HOP_SECONDS)) return undefined;
    const known = this.#from + this.#levels.length;
    const kept = first >= this.#from && first <= known ? this.#levels.subarray(first - this.#from) : new Float32Array();
    const levels = new Float32Array(Math.max(kept.length, next - first)).fill(NO_SOUND);
    levels.set(kept);
    if (first + kept.length < next)
      levels.set((await this.#decode(first + kept.length, next)).subarray(0, levels.length - kept.length), kept.length);
    [this.#levels, this.#from] = [levels, first];
    return heardParts(levels.subarray(0, next - first), first * HOP_SECONDS);
  }

  #isHeard(from: number, to: number): boolean {
    const { audio } = this.#probe;
    if (audio === undefined || !this.#clock.isTold) return false;
    if (audio.durationSeconds === 0) return true; // nothing tells how long it is
    const heard = soundSpan(audio, this.#clock.zero);
    return Math.min(to, heard.to) > Math.max(from, heard.from);
  }

  /** Loudness of the pieces from `first` up to `next`; what is missing in front and in gaps is silence. */
  async #decode(first: number, next: number): Promise<Float32Array> {
    const [from, to] = [first * HOP_SECONDS, next * HOP_SECONDS];
    if (!this.#isHeard(from, to)) return new Float32Array();
    const end = Math.min(to, this.#clock.durationSeconds);
    const part = partOf(this.#probe, { rule: 'time', start: from, end });
    const bytes: Uint8Array[] = [];
    const start = (this.#clock.zero + from).toFixed(6);
    await runFfmpeg({
      path: part.path,
      logLevel: 'error',
      inputOptions: seekOptions(part, true, 'sound'),
      outputOptions: [
        ...['-map', `0:${part.audio?.index ?? 0}`, '-ac', '1', '-filter:a'],
        [
          `atrim=start=${start}:end=${(this.#clock.zero + to).toFixed(6)}`,
          `asetpts=PTS-${start}/TB`,
          `aresample=${SCAN_RATE}:async=1:min_hard_comp=0.1:first_pts=0`,
        ].join(','),
        ...['-c:a', 'pcm_s16le', '-f', 's16le'],
      ],
      maxPixels: DEFAULT_LIMITS.maxPixels,
      timeoutSeconds: this.#options.timeoutSeconds,
      signal: this.#options.signal,
      hold: this.#options.hold,
      onChunk: (chunk) => {
        bytes.push(Uint8Array.from(chunk));
        return 'more';
      },
    });
    const all = Buffer.concat(bytes);
    return levelsOf(Float32Array.from({ length: all.length >> 1 }, (_, at) => all.readInt16LE(2 * at) / 32_768));
  }
}
