// Lengths of audio: samples → log-mel frames → tokens (reference-model.md, Audio lengths).

/** Hz, of the audio tower's input */
export const SAMPLE_RATE = 16_000;
/** The feature extractor drops what comes later (reference-model.md, Waveform). */
export const MAX_AUDIO_SECONDS = 300;
export const MAX_SAMPLES = MAX_AUDIO_SECONDS * SAMPLE_RATE;

/** samples from one log-mel frame to the next */
export const HOP_SAMPLES = 160;

/** Number of log-mel frames for this many 16 kHz samples. */
export function melFrames(samples: number): number {
  return Math.ceil(Math.min(samples, MAX_SAMPLES) / HOP_SAMPLES);
}

/** Number of tokens for this many log-mel frames: the audio tower halves the length twice, to 25 tokens a second. */
export function audioTokens(frames: number): number {
  return Math.floor((frames + 1) / 4);
}
