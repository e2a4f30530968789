// What features/ hands to the towers.
import type { MediaPlan } from '../media/types.ts';

/** Frames at the model's size, in shared memory so that pool tasks cut patches from it without copying. */
export interface FrameStack {
  /** [frames, height, width, 3]; u8 after the first resize, f32 when the second one fired (not rounded, as the reference) */
  readonly data: Uint8Array<SharedArrayBuffer> | Float32Array<SharedArrayBuffer>;
  readonly frames: number;
  readonly height: number;
  readonly width: number;
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
  readonly plan: MediaPlan;
  readonly frames: FrameStack | undefined;
  readonly audio: AudioFeatures | undefined;
  /** what could not be decoded as promised, in sentences */
  readonly warnings: readonly string[];
  /** decoder's own words, the last lines */
  readonly decoderLog: readonly string[];
  /** seconds of work by stage: decode, resize, audio, mel */
  readonly seconds: Readonly<Record<string, number>>;
}
