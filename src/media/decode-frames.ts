import { AvocadoError } from '../base/errors.ts';
import { runFfmpeg } from './ffmpeg.ts';
import type { ProcessOutcome } from './ffmpeg-process.ts';
import { decodeStill } from './still.ts';
import { DEFAULT_LIMITS, type MediaLimits, type MediaPlan, type VideoPlan, type VideoStream } from './types.ts';

interface DecodeFramesOptions {
  readonly signal?: AbortSignal | undefined;
  readonly limits?: Partial<MediaLimits> | undefined;
}

export interface DecodedFrames {
  /** as asked, or shorter where the file had fewer frames: an even number of them, sizes unchanged */
  readonly plan: VideoPlan;
  readonly warnings: readonly string[];
  readonly decoderLog: readonly string[];
}

/**
 * Receives one frame. The frame may be read until the promise resolves; then its buffer is filled again.
 * `position` counts from 0 in the plan.
 */
type FrameReader = (frame: Uint8Array<SharedArrayBuffer>, position: number) => void | Promise<void>;

/** Frames in memory at the same time: one that is read and one that arrives. */
const FRAME_BUFFERS = 2;

/**
 * Decodes the planned frames and hands them to `onFrame` in order: upright RGB, u8 [height, width, 3] at the source's
 * full size, converted as the ffmpeg command line does by default. Where fewer frames come than planned, the reader may
 * have received one more than the returned plan counts. Memory: two frames.
 * @throws AvocadoError `media_undecodable` below two frames, `media_timeout`, `aborted`; or what `onFrame` threw
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
  const { indices, positions } = groupRepeats(video.frameIndices);
  const assembler = new FrameAssembler(stream.width * stream.height * 3, FRAME_BUFFERS, positions, onFrame);
  const outcome = await runFfmpeg({
    path: plan.probe.path,
    logLevel: 'error',
    outputOptions: outputOptions(stream, indices),
    maxPixels: limits.maxPixels,
    timeoutSeconds: limits.decodeTimeoutSeconds,
    signal: options.signal,
    onChunk: (chunk) => {
      const waiting = assembler.push(chunk);
      return waiting === undefined ? 'more' : waiting.then(() => 'more');
    },
  });
  await assembler.finish();
  return checkDelivered(video, assembler.delivered, outcome);
}

function outputOptions(stream: VideoStream, indices: readonly number[]): string[] {
  // The size is fixed: a stream that changes its size on the way would otherwise shift the borders of all later frames.
  const filter = `select='${selectExpression(indices)}',scale=${stream.width}:${stream.height}`;
  return [
    ...['-map', `0:${stream.index}`, '-filter:v', filter],
    ...['-fps_mode', 'passthrough', '-frames:v', String(indices.length)],
    ...['-pix_fmt', 'rgb24', '-f', 'rawvideo'],
  ];
}

/**
 * ffmpeg's `select` expression for these frames. A flat sum of eq() fails beyond a hundred terms (expression depth) and
 * costs one comparison per index and frame; a balanced tree of if(lt()) costs ten for 768 indices.
 * @param indices ascending, without repetition, at least one
 */
export function selectExpression(indices: readonly number[]): string {
  const middle = indices.length >> 1;
  const pivot = indices[middle];
  if (pivot === undefined) throw new Error('A selection needs at least one frame. This is a bug.');
  if (indices.length === 1) return `eq(n,${pivot})`;
  return `if(lt(n,${pivot}),${selectExpression(indices.slice(0, middle))},${selectExpression(indices.slice(middle))})`;
}

/** Distinct indices, and for each the positions in the plan that use it. */
function groupRepeats(frameIndices: readonly number[]): { indices: number[]; positions: number[][] } {
  const groups = new Map<number, number[]>();
  for (const [position, index] of frameIndices.entries()) groups.set(index, [...(groups.get(index) ?? []), position]);
  return { indices: [...groups.keys()], positions: [...groups.values()] };
}

function checkDelivered(video: VideoPlan, delivered: number, outcome: ProcessOutcome): DecodedFrames {
  const planned = video.frameIndices.length;
  const kept = delivered - (delivered % 2);
  const last = outcome.log.at(-1);
  if (kept < 2) {
    const reason = last === undefined ? '' : ` (${last})`;
    throw new AvocadoError(
      'media_undecodable',
      `The video cannot be decoded: ${delivered} of ${planned} frames came${reason}. Re-encode it.`,
    );
  }
  const warnings: string[] = [];
  if (kept < planned)
    warnings.push(`Only ${kept} of ${planned} frames could be decoded; the rest of the video was not seen.`);
  else if (outcome.errors > 0)
    warnings.push(`The video is damaged: the decoder met ${outcome.errors} errors, and some frames may show it.`);
  return { plan: kept < planned ? shorten(video, kept) : video, warnings, decoderLog: outcome.log };
}

function shorten(video: VideoPlan, frames: number): VideoPlan {
  const [steps, rows, columns] = video.gridThw;
  const perStep = video.frameIndices.length / steps;
  const left = frames / perStep;
  return {
    ...video,
    frameIndices: video.frameIndices.slice(0, frames),
    gridThw: [left, rows, columns],
    tokens: (video.tokens / steps) * left,
  };
}

interface FrameBuffer {
  readonly bytes: Uint8Array<SharedArrayBuffer>;
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
  #delivered = 0;

  constructor(frameBytes: number, buffers: number, positions: readonly (readonly number[])[], onFrame: FrameReader) {
    this.#buffers = Array.from({ length: buffers }, () => ({
      bytes: new Uint8Array(new SharedArrayBuffer(frameBytes)),
      busy: undefined,
    }));
    this.#positions = positions;
    this.#onFrame = onFrame;
  }

  /** positions of the plan handed out so far */
  get delivered(): number {
    return this.#delivered;
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
    this.#delivered += positions.length;
    if (pending.length === 0) return;
    buffer.busy = Promise.all(pending).then(() => {
      buffer.busy = undefined;
    });
    // push() or finish() reports the error; until then it must not count as unhandled.
    buffer.busy.catch(() => undefined);
  }
}
