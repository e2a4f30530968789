// The vision and audio towers: turns features into the inputs of their sessions, and runs them.
import { newFloats, type FloatArray, type FloatDType } from '../../base/floats.ts';
import type { ModelConfig } from '../checkpoint/config-types.ts';
import { sinusoids } from '../graphs/rope-tables.ts';
import { hostTensor, type Session } from '../runtime/runtime.ts';
import type { AudioOptions, RunSignal, Towers } from './thinker.ts';
import { audioChunks, audioTokens, stepLayout, strided, type AudioChunks, type StepLayout } from './tower-inputs.ts';
import { RecentMap } from '../../base/recent-map.ts';

/** Audio chunks per run. It limits memory and is even, so that no pair of positions is split. */
const CHUNKS_PER_RUN = 16;
/** Cached picture sizes: a server sees only a few, and each takes about as much memory as one step's patches. */
const LAYOUTS_KEPT = 8;

export class ThinkerTowers implements Towers {
  readonly parallel: boolean;
  readonly dtype: FloatDType;
  readonly #config: ModelConfig;
  readonly #vision: Session;
  readonly #audio: Session;
  readonly #padRuns: boolean;
  readonly #layouts = new RecentMap<string, StepLayout>(LAYOUTS_KEPT);
  /** of a whole chunk's positions; those of a shorter one are its start */
  readonly #sinusoids: Float32Array<ArrayBuffer>;

  /**
   * @param dtype of the graphs' activations
   * @param onCard on CUDA both towers compute at once, and all runs of the audio tower have one shape: convolutions are
   * planned anew whenever the shape changes, and an idle chunk costs little
   */
  constructor(
    config: ModelConfig,
    vision: Session,
    audio: Session,
    { dtype, onCard }: { readonly dtype: FloatDType; readonly onCard: boolean },
  ) {
    this.parallel = onCard;
    this.dtype = dtype;
    this.#config = config;
    this.#vision = vision;
    this.#audio = audio;
    this.#padRuns = onCard;
    this.#sinusoids = sinusoids(strided(config.audio.chunkFrames), config.audio.hiddenSize);
  }

  async encodeVision(
    patches: Float32Array<ArrayBuffer>,
    steps: number,
    gridH: number,
    gridW: number,
    options: RunSignal = {},
  ): Promise<FloatArray> {
    const { vision, text } = this.#config;
    const columns = vision.channels * vision.temporalPatchSize * vision.patchSize ** 2;
    const rows = gridH * gridW;
    if (
      patches.length !== steps * rows * columns ||
      steps < 1 ||
      gridH % vision.mergeSize !== 0 ||
      gridW % vision.mergeSize !== 0
    ) {
      throw new Error(
        `${patches.length} values are no ${steps} steps of ${gridH} x ${gridW} patches of ${columns}. This is a bug.`,
      );
    }
    const layout = this.#layout(gridH, gridW);
    const groups = layout.groupOrder.length;
    const windows = layout.windowLengths.length;
    const lengths = new Int32Array(steps * windows);
    for (let step = 0; step < steps; step += 1) lengths.set(layout.windowLengths, step * windows);
    const embeds = newFloats(this.dtype, steps * groups * text.hiddenSize);
    await this.#vision.run(
      {
        patches: hostTensor('float32', [steps, rows, columns], patches),
        group_order: hostTensor('int64', [groups], layout.groupOrder),
        group_back: hostTensor('int64', [groups], layout.groupBack),
        rope_cos: hostTensor('float32', [rows, vision.headDim / 2], layout.cos),
        rope_sin: hostTensor('float32', [rows, vision.headDim / 2], layout.sin),
        window_rows: hostTensor('int64', [windows, layout.longest], layout.windowRows),
        window_lengths: hostTensor('int32', [lengths.length], lengths),
        window_back: hostTensor('int64', [rows], layout.windowBack),
      },
      { vision_embeds: hostTensor(this.dtype, [steps, groups, text.hiddenSize], embeds) },
      options,
    );
    return embeds;
  }

  async encodeAudio(
    mel: Float32Array<ArrayBuffer>,
    frames: number,
    { signal, onProgress }: AudioOptions = {},
  ): Promise<FloatArray> {
    const { audio, text } = this.#config;
    if (mel.length !== audio.melBins * frames) {
      throw new Error(`${mel.length} values are no ${frames} frames of ${audio.melBins} bins. This is a bug.`);
    }
    const embeds = newFloats(this.dtype, audioTokens(frames, audio.chunkFrames) * text.hiddenSize);
    const cut = (from: number): AudioChunks => {
      const to = Math.min(frames, from + CHUNKS_PER_RUN * audio.chunkFrames);
      return audioChunks(
        mel,
        frames,
        audio.melBins,
        audio.chunkFrames,
        from,
        to,
        this.#padRuns ? CHUNKS_PER_RUN : undefined,
      );
    };
    let from = 0;
    let next = cut(from);
    for (let done = 0; done < embeds.length;) {
      const batch = next;
      const part = embeds.subarray(done, done + batch.pairFirst.length * text.hiddenSize);
      const run = this.#encodeChunks(batch, part, { signal });
      from += CHUNKS_PER_RUN * audio.chunkFrames;
      if (from < frames) next = cut(from); // while the run computes
      await run;
      done += part.length;
      onProgress?.(done / text.hiddenSize);
    }
    return embeds;
  }

  async #encodeChunks(batch: AudioChunks, embeds: FloatArray, options: RunSignal): Promise<void> {
    const { audio, text } = this.#config;
    const tokens = batch.pairFirst.length;
    const positions = this.#sinusoids.subarray(0, batch.positions * audio.hiddenSize);
    await this.#audio.run(
      {
        mel: hostTensor('float32', [batch.chunks, audio.melBins, batch.frames], batch.mel),
        frame_mask: hostTensor('float32', [batch.chunks, 1, batch.frames], batch.frameMask),
        positions: hostTensor('float32', [batch.positions, audio.hiddenSize], positions),
        chunk_lengths: hostTensor('int32', [batch.chunks], batch.chunkLengths),
        pair_first: hostTensor('int64', [tokens], batch.pairFirst),
        pair_second: hostTensor('int64', [tokens], batch.pairSecond),
      },
      { audio_embeds: hostTensor(this.dtype, [tokens, text.hiddenSize], embeds) },
      options,
    );
  }

  #layout(gridH: number, gridW: number): StepLayout {
    const key = `${gridH}x${gridW}`;
    const known = this.#layouts.get(key);
    if (known !== undefined) return known;
    const layout = stepLayout(this.#config.vision, gridH, gridW);
    this.#layouts.set(key, layout);
    return layout;
  }
}
