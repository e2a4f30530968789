// How long sound becomes: samples → log-mel frames → tokens (reference-model 4.1 to 4.3).

/** Hz: what the audio tower hears. */
export const SAMPLE_RATE = 16_000;
/** The feature extractor drops what comes later (reference-model 4.1). */
export const MAX_AUDIO_SECONDS = 300;
export const MAX_SAMPLES = MAX_AUDIO_SECONDS * SAMPLE_RATE;

const HOP_SAMPLES = 160;

/** Log-mel frames of so many 16 kHz samples. */
export function melFrames(samples: number): number {
  return Math.ceil(Math.min(samples, MAX_SAMPLES) / HOP_SAMPLES);
}

/** Tokens of so many log-mel frames: two halvings, 25 a second. */
export function audioTokens(frames: number): number {
  return Math.floor((frames + 1) / 4);
}
