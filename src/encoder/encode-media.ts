import type { FrameStack, PreparedMedia } from '../features/types.ts';
import type { TokenIds } from '../model/checkpoint/config-types.ts';
import type { Towers } from '../model/execution/thinker.ts';
import { layoutMedia, type LayoutConfig } from '../prompt/layout.ts';
import type { MediaTokens } from '../prompt/types.ts';

/** What the towers made of a clip. */
export interface MediaEmbeddings {
  /** [media tokens, hidden] f32, in the order of the prompt rows they replace */
  readonly embeds: Float32Array<ArrayBuffer>;
  readonly visionSeconds: number;
  readonly audioSeconds: number;
}

/** Cuts patches of temporal steps [from, to): the prepare pool's part of this stage. Takes the memory of used ones. */
export type CutPatches = (
  frames: FrameStack,
  fromStep: number,
  toStep: number,
  used?: Float32Array<ArrayBuffer>,
) => Promise<Float32Array<ArrayBuffer>>;

/** More patches in one run only cost memory: steps never attend to each other, and 4,096 already fill the cores. */
const PATCHES_PER_RUN = 4096;

/** Where the two towers' outputs go among the media embeddings, which lie in the order of their prompt rows. */
export interface MediaOrder {
  /** index among the media embeddings of the i-th vision token and of the i-th audio token */
  readonly vision: Int32Array;
  readonly audio: Int32Array;
}

/**
 * The order that layout weaves (reference-model.md, Decoder: per modality in its own order).
 * The same in every prompt.
 */
export function mediaOrder(media: MediaTokens, config: LayoutConfig): MediaOrder {
  const vision: number[] = [];
  const audio: number[] = [];
  for (const { kind, count } of layoutMedia(media, config)) {
    const order = kind === 'video' || kind === 'image' ? vision : kind === 'audio' ? audio : undefined;
    for (let token = 0; order !== undefined && token < count; token++) order.push(vision.length + audio.length);
  }
  return { vision: Int32Array.from(vision), audio: Int32Array.from(audio) };
}

/** Rows of a prompt that hold placeholders, ascending: media embedding i replaces row i of these. */
export function mediaRows(ids: Int32Array, tokens: TokenIds): Int32Array {
  const rows: number[] = [];
  ids.forEach((id, row) => {
    if (id === tokens.video || id === tokens.image || id === tokens.audio) rows.push(row);
  });
  return Int32Array.from(rows);
}

/** Copies consecutive embedding rows to where `order` wants them, from entry `start` on. */
function place(target: Float32Array, source: Float32Array, order: Int32Array, start: number, hidden: number): void {
  const count = source.length / hidden;
  for (let index = 0; index < count; index++) {
    const row = order[start + index];
    if (row === undefined) throw new Error(`More embeddings than placeholders (${order.length}). This is a bug.`);
    target.set(source.subarray(index * hidden, (index + 1) * hidden), row * hidden);
  }
}

export interface EncodeOptions {
  readonly hiddenSize: number;
  readonly signal?: AbortSignal | undefined;
  /** after every tower run: media tokens so far, of those there will be */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

/**
 * Runs both towers over prepared media. Patches of the next run are cut while the present ones compute, in the memory
 * of the run before: at most three runs’ worth of patches exist at a time.
 */
export async function encodeMedia(
  media: PreparedMedia,
  order: MediaOrder,
  towers: Towers,
  cutPatches: CutPatches,
  options: EncodeOptions,
): Promise<MediaEmbeddings> {
  const { vision, audio } = order;
  const { hiddenSize, signal } = options;
  const embeds = new Float32Array((vision.length + audio.length) * hiddenSize);
  const done = { vision: 0, audio: 0 };
  const onProgress = (tower: keyof typeof done, tokens: number): void => {
    done[tower] = tokens;
    options.onProgress?.(done.vision + done.audio, vision.length + audio.length);
  };
  const started = performance.now();
  const pictures = async (): Promise<number> => {
    await encodeVision(media, towers, cutPatches, options, (part, start) => {
      place(embeds, part, vision, start, hiddenSize);
      onProgress('vision', start + part.length / hiddenSize);
    });
    return performance.now();
  };
  const sound = async (): Promise<void> => {
    if (media.audio === undefined || audio.length === 0) return;
    const { mel, frames } = media.audio;
    const part = await towers.encodeAudio(mel, frames, {
      signal,
      onProgress: (tokens) => {
        onProgress('audio', tokens);
      },
    });
    place(embeds, part, audio, 0, hiddenSize);
  };
  if (towers.parallel !== true) {
    const picturesDone = await pictures();
    await sound();
    return {
      embeds,
      visionSeconds: (picturesDone - started) / 1000,
      audioSeconds: (performance.now() - picturesDone) / 1000,
    };
  }
  const [picturesDone] = await Promise.all([pictures(), sound()]);
  return {
    embeds,
    visionSeconds: (picturesDone - started) / 1000,
    audioSeconds: Math.max(0, performance.now() - picturesDone) / 1000,
  };
}

async function encodeVision(
  media: PreparedMedia,
  towers: Towers,
  cutPatches: CutPatches,
  options: EncodeOptions,
  onPart: (part: Float32Array, start: number) => void,
): Promise<void> {
  const { frames } = media;
  const grid = media.plan.video?.gridThw;
  if (frames === undefined || grid === undefined) return;
  const [steps, gridH, gridW] = grid;
  const stepsPerRun = Math.max(1, Math.floor(PATCHES_PER_RUN / (gridH * gridW)));
  const cut = (from: number, used?: Float32Array<ArrayBuffer>) =>
    cutPatches(frames, from, Math.min(steps, from + stepsPerRun), used);
  let next = cut(0);
  let used: Float32Array<ArrayBuffer> | undefined;
  let placed = 0;
  let running: Promise<{ readonly part: Float32Array; readonly patches: Float32Array<ArrayBuffer> }> | undefined;
  const finish = async (run: NonNullable<typeof running>): Promise<void> => {
    const { part, patches } = await run;
    used = patches;
    onPart(part, placed);
    placed += part.length / options.hiddenSize;
  };
  for (let from = 0; from < steps; from += stepsPerRun) {
    const to = Math.min(steps, from + stepsPerRun);
    const patches = await next;
    options.signal?.throwIfAborted();
    if (to < steps) {
      next = cut(to, used);
      used = undefined;
      next.catch(() => undefined); // awaited in the next turn, or never when this run fails
    }
    // Two at a time, so that a device has the next one's data when it has finished one.
    const run = towers
      .encodeVision(patches, to - from, gridH, gridW, { signal: options.signal })
      .then((part) => ({ part, patches }));
    run.catch(() => undefined); // awaited in the next turn, or never when the run before fails
    if (running !== undefined) await finish(running);
    running = run;
  }
  if (running !== undefined) await finish(running);
}
