import { AvocadoError } from '../base/errors.ts';
import type { Hold } from '../base/foreground.ts';
import { isErrorOf, runFfmpeg } from './ffmpeg.ts';
import type { ProcessOutcome } from './ffmpeg-process.ts';
import { seekOptions, trimFilters } from './part.ts';
import { nearestFrames } from './sampling.ts';
import { decodeStill } from './still.ts';
import {
  DEFAULT_LIMITS,
  type MediaLimits,
  type MediaPlan,
  type MediaProbe,
  type VideoPlan,
  type VideoStream,
} from './types.ts';

interface DecodeFramesOptions {
  readonly signal?: AbortSignal | undefined;
  readonly limits?: Partial<MediaLimits> | undefined;
  /** while it is held, no decoder of a video runs */
  readonly hold?: Hold | undefined;
}

export interface DecodedFrames {
  /** as asked; its indices are those of the frames that were used */
  readonly plan: VideoPlan;
  readonly warnings: readonly string[];
  readonly decoderLog: readonly string[];
}

/**
 * Receives one frame. The frame may be read until the promise resolves; then its buffer is filled again.
 * `position` counts from 0 in the plan.
 */
type FrameReader = (frame: Uint8Array, position: number) => void | Promise<void>;

/** Frames in memory at the same time: one that is read and one that arrives. */
const FRAME_BUFFERS = 2;

/**
 * Decodes the planned frames and hands them to `onFrame` in order: upright RGB, u8 [height, width, 3] at the source's
 * full size, converted as the ffmpeg command line does by default. Where the container's packets are not the frames
 * that a decoder gives, the file is decoded again, and every position is handed out once more. Memory: two frames.
 * @throws AvocadoError `media_undecodable` without a frame, `media_timeout`, `aborted`; or what `onFrame` threw
 */
export async function decodeFrames(
  plan: MediaPlan,
  onFrame: FrameReader,
  options: DecodeFramesOptions = {},
): Promise<DecodedFrames> {
  const { video } = plan;
  const stream = plan.probe.video;
  if (video === undefined || stream === undefined) throw new Error('This plan has no frames. This is a bug.');
  const limits = { ...DEFAULT_LIMITS, ...options.limits };
  if (stream.still) {
    const run = { timeoutSeconds: limits.decodeTimeoutSeconds, signal: options.signal };
    await onFrame(await decodeStill(plan.probe.path, stream, limits.maxStillPixels, run), 0);
    return { plan: video, warnings: [], decoderLog: [] };
  }
  const decoder = new VideoDecoder(plan.probe, stream, limits, options);
  const countsFrames = stream.isTurnedByFrames !== true;
  const frames = (): Promise<FramesOutcome> => decoder.frames(video.frameIndices, stream.totalFrames, onFrame);
  let first = countsFrames ? await frames() : undefined;
  // A jump may have landed after the key frame that the part needs.
  if (first?.asPlanned === false && decoder.stopSeeking()) first = await frames();
  if (first?.asPlanned === true) return { plan: video, warnings: decoder.warnings(), decoderLog: first.log };
  const times = await decoder.times();
  if (times.length === 0) throw undecodable(first?.log ?? []);
  const { indices, replaced } = nearestFrames(video.frameIndices, stream, times);
  const again = await decoder.frames(indices, times.length, onFrame);
  if (!again.complete) throw undecodable(again.log);
  const warnings = replaced === 0 ? decoder.warnings() : [replacedFrames(replaced, indices.length)];
  return { plan: { ...video, frameIndices: indices }, warnings, decoderLog: again.log };
}

function undecodable(log: readonly string[]): AvocadoError {
  const last = log.at(-1);
  const reason = last === undefined ? '' : ` (${last})`;
  return new AvocadoError('media_undecodable', `No frame of the video can be decoded${reason}. Re-encode it.`);
}

function replacedFrames(replaced: number, planned: number): string {
  return (
    `${replaced} of ${planned} frames could not be decoded; ` +
    'the nearest frames that could were used in their place. Re-encode the video.'
  );
}

interface FramesOutcome {
  /** every frame that was asked for came */
  readonly complete: boolean;
  /** and the video has as many frames as its packets promised */
  readonly asPlanned: boolean;
  readonly log: readonly string[];
}

/** Runs of ffmpeg over one video track, within one deadline. */
class VideoDecoder {
  readonly #probe: MediaProbe;
  readonly #stream: VideoStream;
  readonly #limits: MediaLimits;
  readonly #run: Pick<DecodeFramesOptions, 'signal' | 'hold'>;
  readonly #started = performance.now();
  #errors = 0;
  #seeks = true;
  /** of all frames, in the track's own unit; known after times() */
  #pts: number[] = [];

  constructor(probe: MediaProbe, stream: VideoStream, limits: MediaLimits, run: DecodeFramesOptions) {
    this.#probe = probe;
    this.#stream = stream;
    this.#limits = limits;
    this.#run = run;
  }

  /**
   * @param indices in the order in which frames come out of the decoder, ascending; may repeat
   * @param total number of frames that should come out
   */
  async frames(indices: readonly number[], total: number, onFrame: FrameReader): Promise<FramesOutcome> {
    const { codec, width, height, lostAtStart = 0 } = this.#stream;
    const picks = groupRepeats(indices);
    // One more frame than promised is asked for: when it comes, the packets did not tell all.
    const selected = [...picks.indices, total];
    const assembler = new FrameAssembler(width * height * 3, FRAME_BUFFERS, [...picks.positions, []], onFrame);
    const jumpsAnywhere = this.#isSeeking && /\bmpegts\b/.test(this.#probe.container); // between two key frames
    this.#errors = 0;
    const { log } = await this.#ffmpeg('error', this.#pictureOptions(selected), {
      onChunk: (chunk) => {
        const waiting = assembler.push(chunk);
        return waiting === undefined ? 'more' : waiting.then(() => 'more');
      },
      onLine: (line) => {
        // The start of this track may be known to be lost, or what is in front of the part.
        const isLost = lostAtStart > 0 || (jumpsAnywhere && assembler.frames === 0);
        if (!isLost && isErrorOf(line, codec, this.#probe.codecs)) this.#errors++;
      },
    });
    await assembler.finish();
    const complete = assembler.frames >= picks.indices.length;
    return { complete, asPlanned: assembler.frames === picks.indices.length, log };
  }

  /** From now on it decodes from the start of the file. @returns whether that is anything else */
  stopSeeking(): boolean {
    const seeking = this.#isSeeking;
    this.#seeks = false;
    return seeking;
  }

  get #isSeeking(): boolean {
    return this.#seeks && this.#probe.part?.seekTo !== undefined;
  }

  /** Times of all frames that come out of the decoder, in order; seconds. */
  async times(): Promise<number[]> {
    this.#pts = [];
    let unit = 1;
    const options = [
      '-map',
      `0:${this.#stream.index}`,
      '-filter:v',
      [...this.#trim(), 'showinfo=checksum=0'].join(','),
      '-f',
      'null',
    ];
    await this.#ffmpeg('info', options, {
      onChunk: () => 'more',
      onLine: (line) => {
        const [, numerator, denominator] = /config in time_base: (\d+)\/(\d+)/.exec(line) ?? [];
        if (numerator !== undefined) unit = Number(numerator) / Number(denominator);
        const pts = /\bn: *\d+ pts: *(-?\d+|NOPTS)/.exec(line)?.[1];
        if (pts !== undefined) this.#pts.push(Number(pts));
      },
    });
    return this.#pts.map((pts) => pts * unit);
  }

  /** Sentences about the last run of frames(). */
  warnings(): string[] {
    const count = this.#errors;
    if (count === 0) return [];
    return [`The video is damaged: the decoder met ${count} errors, and some frames may show it.`];
  }

  #ffmpeg(
    logLevel: 'error' | 'info',
    outputOptions: readonly string[],
    readers: Pick<Parameters<typeof runFfmpeg>[0], 'onChunk' | 'onLine'>,
  ): Promise<ProcessOutcome> {
    const { maxPixels, decodeTimeoutSeconds } = this.#limits;
    const spent = (performance.now() - this.#started) / 1000;
    return runFfmpeg({
      path: this.#probe.path,
      logLevel,
      inputOptions: [...VIDEO_INPUT, ...seekOptions(this.#probe, this.#seeks, 'pictures')],
      outputOptions,
      maxPixels,
      timeoutSeconds: Math.max(1, Math.ceil(decodeTimeoutSeconds - spent)),
      signal: this.#run.signal,
      hold: this.#run.hold,
      ...readers,
    });
  }

  #trim(): string[] {
    return trimFilters('trim', this.#probe.part?.frames);
  }

  #pictureOptions(indices: readonly number[]): string[] {
    const { index, storedWidth, storedHeight, uprightFilters = [], isTurnedByFrames = false } = this.#stream;
    // ffmpeg makes a new graph, with new counters, wherever frames begin or cease to tell a turn. Times go on.
    const select = isTurnedByFrames
      ? selectExpression('pts', [...new Set(indices.flatMap((frame) => this.#pts[frame] ?? []))])
      : selectExpression('n', indices);
    // The encoder's clock must count these times, whatever the rate and the order of the video's own.
    const [unit, clock] = isTurnedByFrames ? [1_000_000, []] : [1000, ['setpts=N']];
    const scale = `scale=${storedWidth}:${storedHeight}`;
    const filters = [...this.#trim(), `select='${select}'`, `settb=1/${unit}`, ...clock, scale, ...uprightFilters];
    return [
      ...['-map', `0:${index}`, '-filter:v', filters.join(',')],
      ...['-fps_mode', 'passthrough', '-enc_time_base', `1:${unit}`, '-frames:v', String(indices.length)],
      ...['-pix_fmt', 'rgb24', '-f', 'rawvideo'],
    ];
  }
}

/**
 * One filter graph for the whole stream: where ffmpeg makes another one, at a new size or pixel format, frames are
 * counted from zero again. `scale` takes frames of any kind. A filter that ffmpeg adds for the rotation does not, so
 * rotation is ours (uprightFilters). Times are those of the packets.
 */
const VIDEO_INPUT = ['-reinit_filter', '0', '-noautorotate', '-copyts'];

/**
 * ffmpeg's `select` expression for these frames. A flat sum of eq() fails beyond a hundred terms (expression depth) and
 * costs one comparison per index and frame; a balanced tree of if(lt()) costs ten for 768 indices.
 * @param variable n, the frame's number, or pts, its time
 * @param values ascending, without repetition, at least one
 */
export function selectExpression(variable: 'n' | 'pts', values: readonly number[]): string {
  const middle = values.length >> 1;
  const pivot = values[middle];
  if (pivot === undefined) throw new Error('A selection needs at least one frame. This is a bug.');
  if (values.length === 1) return `eq(${variable},${pivot})`;
  const halves = [values.slice(0, middle), values.slice(middle)].map((half) => selectExpression(variable, half));
  return `if(lt(${variable},${pivot}),${halves.join(',')})`;
}

/** Distinct indices, and for each the positions in the plan that use it. */
function groupRepeats(frameIndices: readonly number[]): { indices: number[]; positions: number[][] } {
  const groups = new Map<number, number[]>();
  for (const [position, index] of frameIndices.entries()) groups.set(index, [...(groups.get(index) ?? []), position]);
  return { indices: [...groups.keys()], positions: [...groups.values()] };
}

interface FrameBuffer {
  readonly bytes: Uint8Array;
  /** pending while a reader uses the bytes */
  busy: Promise<void> | undefined;
}

/** Cuts a byte stream into frames, with a fixed number of buffers for clips of any length. */
export class FrameAssembler {
  readonly #buffers: readonly FrameBuffer[];
  readonly #onFrame: FrameReader;
  /** for the n-th decoded frame, its positions in the plan: one, or more where a frame is used twice */
  readonly #positions: readonly (readonly number[])[];
  #current = 0;
  #filled = 0;
  #frames = 0;

  constructor(frameBytes: number, buffers: number, positions: readonly (readonly number[])[], onFrame: FrameReader) {
    this.#buffers = Array.from({ length: buffers }, () => ({
      bytes: new Uint8Array(frameBytes),
      busy: undefined,
    }));
    this.#positions = positions;
    this.#onFrame = onFrame;
  }

  /** whole frames that came so far */
  get frames(): number {
    return this.#frames;
  }

  /** Takes bytes. @returns a promise when it has to wait for a free buffer */
  push(chunk: Uint8Array): void | Promise<void> {
    let offset = 0;
    while (offset < chunk.length) {
      const buffer = this.#buffer();
      if (buffer.busy !== undefined) return buffer.busy.then(() => this.push(chunk.subarray(offset)));
      const take = Math.min(buffer.bytes.length - this.#filled, chunk.length - offset);
      buffer.bytes.set(chunk.subarray(offset, offset + take), this.#filled);
      this.#filled += take;
      offset += take;
      if (this.#filled === buffer.bytes.length) this.#deliver(buffer);
    }
  }

  /** Waits until every reader is done. */
  async finish(): Promise<void> {
    for (const buffer of this.#buffers) await buffer.busy;
  }

  #buffer(): FrameBuffer {
    const buffer = this.#buffers[this.#current];
    if (buffer === undefined) throw new Error('The frame assembler has no buffer. This is a bug.');
    return buffer;
  }

  #deliver(buffer: FrameBuffer): void {
    const positions = this.#positions[this.#frames];
    if (positions === undefined)
      throw new Error(`ffmpeg gave frame ${this.#frames + 1} of ${this.#positions.length}. This is a bug.`);
    this.#frames++;
    this.#filled = 0;
    this.#current = (this.#current + 1) % this.#buffers.length;
    const pending = positions
      .map((position) => this.#onFrame(buffer.bytes, position))
      .filter((answer) => answer instanceof Promise);
    if (pending.length === 0) return;
    buffer.busy = Promise.all(pending).then(() => {
      buffer.busy = undefined;
    });
    // push() or finish() reports the error; until then it must not count as unhandled.
    buffer.busy.catch(() => undefined);
  }
}
