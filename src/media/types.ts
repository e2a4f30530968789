// What media/ promises to the stages on its right.

export interface VideoStream {
  /** ffmpeg's index among the file's streams */
  readonly index: number;
  readonly codec: string;
  readonly pixelFormat: string;
  readonly storedWidth: number;
  readonly storedHeight: number;
  /** as ffprobe prints it, degrees */
  readonly rotation: number;
  /** size after rotation: what the frames will have */
  readonly width: number;
  readonly height: number;
  /** frames per second as the container states it: the reference's `avg_fps` */
  readonly averageFps: number;
  /** video packets in the container: the reference's total */
  readonly totalFrames: number;
  readonly durationSeconds: number;
  /** one picture (png, jpeg, …) rather than a moving one */
  readonly still: boolean;
}

export interface AudioStream {
  readonly index: number;
  readonly codec: string;
  readonly sampleRate: number;
  readonly channels: number;
  readonly durationSeconds: number;
}

export interface MediaProbe {
  readonly path: string;
  readonly container: string;
  readonly sizeBytes: number;
  readonly durationSeconds: number;
  readonly video: VideoStream | undefined;
  readonly audio: AudioStream | undefined;
  /** what is wrong with the file though it can be captioned, in sentences */
  readonly warnings?: readonly string[];
}

/** What may be decoded at all; a file beyond any of these is refused before a frame is decoded. */
export interface MediaLimits {
  readonly maxSizeBytes: number;
  readonly maxDurationSeconds: number;
  /** of one video frame */
  readonly maxPixels: number;
  /** of one still picture */
  readonly maxStillPixels: number;
  readonly probeTimeoutSeconds: number;
  /** for the pictures and again for the sound */
  readonly decodeTimeoutSeconds: number;
}

/** Fields of a profile that a request or a model directory may set. */
export type ProfileOverrides = Readonly<
  Partial<
    Record<
      | 'fps'
      | 'nframes'
      | 'minFrames'
      | 'maxFrames'
      | 'minPixels'
      | 'maxPixels'
      | 'totalPixels'
      | 'processorMinPixels'
      | 'processorMaxPixels'
      | 'processorFps',
      number
    >
  >
>;

/** Every number that decides what the model sees; see profile.ts for the named ones. Pixels are per frame unless said. */
export interface PreprocessProfile {
  readonly name: string;
  readonly version: number;
  /** sampling rate asked for, frames per second */
  readonly fps: number;
  /** fixed number of frames instead of fps */
  readonly nframes?: number | undefined;
  readonly minFrames: number;
  readonly maxFrames: number;
  /** stage A: first resize (qwen-omni-utils) */
  readonly minPixels: number;
  readonly maxPixels?: number | undefined;
  /** pixels of all frames together; at most totalPixels / nframes * 2 a frame */
  readonly totalPixels: number;
  /** stage B: second smart_resize inside the processor */
  readonly processorMinPixels: number;
  readonly processorMaxPixels: number;
  /** limits of still pictures, set only where someone set the processor's; else preprocessor_config.json rules */
  readonly imageMinPixels?: number | undefined;
  readonly imageMaxPixels?: number | undefined;
  /** only sets second_per_grid = temporal_patch_size / processorFps */
  readonly processorFps: number;
}

/** Which pixels and samples will be read, known from the probe alone, before anything is decoded. */
export interface MediaPlan {
  readonly probe: MediaProbe;
  readonly profile: PreprocessProfile;
  readonly video: VideoPlan | undefined;
  readonly audio: AudioPlan | undefined;
}

export interface VideoPlan {
  readonly kind: 'video' | 'image';
  /** decoded frames in display order, ascending */
  readonly frameIndices: readonly number[];
  readonly sampleFps: number;
  /** after the first resize */
  readonly stageA: { readonly height: number; readonly width: number };
  /** after the second; equal to stageA when it does not fire */
  readonly final: { readonly height: number; readonly width: number };
  /** temporal steps, patch rows, patch columns */
  readonly gridThw: readonly [number, number, number];
  readonly secondPerGrid: number;
  readonly tokens: number;
}

export interface AudioPlan {
  /** from the container; the decoded sound may differ by a few tokens */
  readonly estimatedTokens: number;
  readonly durationSeconds: number;
}
