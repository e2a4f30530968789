// What features/ gives to the encoders.
import type { MediaPlan } from '../media/types.ts';

/** Mean and deviation per channel of pixel values in 0..1, as preprocessor_config.json states them. */
export interface PixelNormalisation {
  readonly imageMean: readonly [number, number, number];
  readonly imageStd: readonly [number, number, number];
}

/**
 * Frames after the first resize. Not in shared memory: the garbage collector does not count it, and would leave
 * gigabytes of it behind.
 */
export interface FrameStack {
  /** [frames, height, width, 3] */
  readonly data: Uint8Array<ArrayBuffer>;
  readonly frames: number;
  readonly height: number;
  readonly width: number;
  /**
   * size after the second resize. It happens while patches are cut: its floats would take at least four times the
   * memory.
   */
  readonly final: { readonly height: number; readonly width: number };
  readonly normalisation: PixelNormalisation;
}

export interface AudioFeatures {
  /** [128, frames] f32, bands outermost */
  readonly mel: Float32Array<ArrayBuffer>;
  readonly frames: number;
  readonly tokens: number;
  /** number of 16 kHz mono samples used */
  readonly samples: number;
  /** kept only when asked for (inspect) */
  readonly waveform: Float32Array<ArrayBuffer> | undefined;
}

/** The result of decoding: all that the encoders need. */
export interface PreparedMedia {
  /** as asked, with fewer frames where not all could be decoded */
  readonly plan: MediaPlan;
  readonly frames: FrameStack | undefined;
  readonly audio: AudioFeatures | undefined;
  /** frames were decoded twice: those that were given early are not these */
  readonly startedOver: boolean;
  /** sentences about what could not be decoded */
  readonly warnings: readonly string[];
  /** the decoder's last lines on stderr */
  readonly decoderLog: readonly string[];
  /** seconds per stage: decode, resize, audio, mel; frames and audio run at the same time */
  readonly seconds: Readonly<Record<string, number>>;
}
