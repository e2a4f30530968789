// What features/ hands to the towers.
import type { MediaPlan } from '../media/types.ts';

/** Mean and deviation per channel of pixel values in 0..1, as preprocessor_config.json states them. */
export interface PixelNormalisation {
  readonly imageMean: readonly [number, number, number];
  readonly imageStd: readonly [number, number, number];
}

/** Frames after the first resize, in shared memory so that pool tasks cut patches from it without copying. */
export interface FrameStack {
  /** [frames, height, width, 3] */
  readonly data: Uint8Array<SharedArrayBuffer>;
  readonly frames: number;
  readonly height: number;
  readonly width: number;
  /** after the second resize, which happens while patches are cut: its unrounded floats would take four times the memory or more */
  readonly final: { readonly height: number; readonly width: number };
  readonly normalisation: PixelNormalisation;
}

export interface AudioFeatures {
  /** [128, frames] f32, bins outermost */
  readonly mel: Float32Array<ArrayBuffer>;
  readonly frames: number;
  readonly tokens: number;
  /** 16 kHz mono samples that were heard */
  readonly samples: number;
  /** kept only when asked for (inspect) */
  readonly waveform: Float32Array<ArrayBuffer> | undefined;
}

/** The result of decoding: everything the towers need, nothing of the file. */
export interface PreparedMedia {
  /** as asked, its pictures shortened to what could be decoded */
  readonly plan: MediaPlan;
  readonly frames: FrameStack | undefined;
  readonly audio: AudioFeatures | undefined;
  /** what could not be decoded as promised, in sentences */
  readonly warnings: readonly string[];
  /** decoder's own words, the last lines */
  readonly decoderLog: readonly string[];
  /** seconds of work by stage: decode, resize, audio, mel; pictures and sound are worked on at the same time */
  readonly seconds: Readonly<Record<string, number>>;
}
