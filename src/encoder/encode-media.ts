import { newFloats, type FloatArray, type FloatDType } from '../base/floats.ts';
import { copyOfSteps } from '../features/patches.ts';
import type { FrameStack, PreparedMedia } from '../features/types.ts';
import type { TokenIds } from '../model/checkpoint/config-types.ts';
import type { Towers } from '../model/execution/thinker.ts';
import { layoutMedia, type LayoutConfig } from '../prompt/layout.ts';
import type { MediaTokens } from '../prompt/types.ts';

/** What the towers made of a clip. */
export interface MediaEmbeddings {
  /** [media tokens, hidden] in `dtype`, in the order of the prompt rows they replace */
  readonly embeds: FloatArray;
  readonly dtype: FloatDType;
  readonly visionSeconds: number;
  readonly audioSeconds: number;
}

/** Cuts patches: the prepare pool's part of this stage. Takes the memory of the steps, and of used patches. */
export type CutPatches = (steps: FrameStack, used?: Float32Array<ArrayBuffer>) => Promise<Float32Array<ArrayBuffer>>;

/** Gives the temporal steps [from, to) as a stack of their own. */
export type StepSource = (from: number, to: number) => FrameStack | Promise<FrameStack>;

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
function place(target: FloatArray, source: FloatArray, order: Int32Array, start: number, hidden: number): void {
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
  /** of these media, begun before all was decoded */
  readonly vision?: VisionRun | undefined;
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
  const { dtype } = towers;
  const embeds = newFloats(dtype, (vision.length + audio.length) * hiddenSize);
  const done = { vision: 0, audio: 0 };
  const onProgress = (tower: keyof typeof done, tokens: number): void => {
    done[tower] = tokens;
    options.onProgress?.(done.vision + done.audio, vision.length + audio.length);
  };
  const started = performance.now();
  const pictures = async (): Promise<number> => {
    const run = options.vision ?? visionOf(media, towers, cutPatches, options);
    await run?.into((part, start) => {
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
      dtype,
      visionSeconds: (picturesDone - started) / 1000,
      audioSeconds: (performance.now() - picturesDone) / 1000,
    };
  }
  const [picturesDone] = await Promise.all([pictures(), sound()]);
  return {
    embeds,
    dtype,
    visionSeconds: (picturesDone - started) / 1000,
    audioSeconds: Math.max(0, performance.now() - picturesDone) / 1000,
  };
}

function visionOf(
  { frames, plan }: PreparedMedia,
  towers: Towers,
  cutPatches: CutPatches,
  options: Pick<EncodeOptions, 'hiddenSize' | 'signal'>,
): VisionRun | undefined {
  const grid = plan.video?.gridThw;
  if (frames === undefined || grid === undefined) return undefined;
  const steps: StepSource = (from, to) => copyOfSteps(frames, from, to);
  return new VisionRun(steps, grid, towers, cutPatches, options);
}

/** Receives vision embeddings [tokens, hidden] in the towers' dtype and the number of tokens before them. */
type OnPart = (part: FloatArray, start: number) => void;

/** The vision tower over all steps of a clip. It begins at once; its parts wait until somebody takes them. */
export class VisionRun {
  /** resolves with the last part */
  readonly #ended: Promise<void>;
  readonly #held: [part: FloatArray, start: number][] = [];
  #onPart: OnPart | undefined;

  /** @param grid steps, and rows and columns of patches in each */
  constructor(
    steps: StepSource,
    grid: readonly [number, number, number],
    towers: Towers,
    cutPatches: CutPatches,
    options: Pick<EncodeOptions, 'hiddenSize' | 'signal'>,
  ) {
    this.#ended = encodeSteps(steps, grid, towers, cutPatches, options, (part, start) => {
      if (this.#onPart === undefined) this.#held.push([part, start]);
      else this.#onPart(part, start);
    });
    this.#ended.catch(() => undefined); // into() or failure() reports it
  }

  /**
   * Hands over the parts so far, then those to come. Resolves after the last one.
   * @throws what the source of the steps, the patches or the tower threw
   */
  async into(onPart: OnPart): Promise<void> {
    for (const [part, start] of this.#held.splice(0)) onPart(part, start);
    this.#onPart = onPart;
    await this.#ended;
  }

  /** Resolves when it has ended, with what it failed with. */
  async failure(): Promise<unknown> {
    return await this.#ended.then(
      () => undefined,
      (thrown: unknown) => thrown,
    );
  }
}

async function encodeSteps(
  source: StepSource,
  [steps, gridH, gridW]: readonly [number, number, number],
  towers: Towers,
  cutPatches: CutPatches,
  options: Pick<EncodeOptions, 'hiddenSize' | 'signal'>,
  onPart: OnPart,
): Promise<void> {
  const stepsPerRun = Math.max(1, Math.floor(PATCHES_PER_RUN / (gridH * gridW)));
  const cut = async (from: number, used?: Float32Array<ArrayBuffer>) =>
    cutPatches(await source(from, Math.min(steps, from + stepsPerRun)), used);
  let next = cut(0);
  let used: Float32Array<ArrayBuffer> | undefined;
  let placed = 0;
  let running: Promise<{ readonly part: FloatArray; readonly patches: Float32Array<ArrayBuffer> }> | undefined;
  const finish = async (run: NonNullable<typeof running>): Promise<void> => {
    const { part, patches } = await run;
    used = patches;
    onPart(part, placed);
    placed += part.length / options.hiddenSize;
  };
  // A run may fail while the next steps have yet to be decoded.
  let fail: (thrown: unknown) => void = () => undefined;
  const failure = new Promise<never>((_, reject) => {
    fail = reject;
  });
  failure.catch(() => undefined);
  for (let from = 0; from < steps; from += stepsPerRun) {
    const to = Math.min(steps, from + stepsPerRun);
    const patches = await Promise.race([next, failure]);
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
    run.catch(fail);
    if (running !== undefined) await finish(running);
    running = run;
  }
  if (running !== undefined) await finish(running);
}
