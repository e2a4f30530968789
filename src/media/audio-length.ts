// Lengths of audio: samples → log-mel frames → tokens (reference-model.md, Audio lengths).

/** Hz, of the audio tower's input */
export const SAMPLE_RATE = 16_000;
/** The feature extractor drops what comes later (reference-model.md, Waveform). */
export const MAX_AUDIO_SECONDS = 300;
export const MAX_SAMPLES = MAX_AUDIO_SECONDS * SAMPLE_RATE;

/** Hz. Sound has rates in between; filters for a header's 1 Hz or 2^31 Hz take gigabytes. */
const SAMPLE_RATES = { least: 100, most: 1_000_000 };
/** ffmpeg's filters mix no more. */
export const MAX_CHANNELS = 64;

/** samples from one log-mel frame to the next */
export const HOP_SAMPLES = 160;

/** Why sound of this form is not decoded, as the end of a sentence about it; undefined when it is. */
export function unheardReason(sampleRate: number, channels: number): string | undefined {
  const { least, most } = SAMPLE_RATES;
  if (sampleRate < least || sampleRate > most)
    return `has a sample rate of ${sampleRate} Hz, and ${least} to ${most} Hz are decoded. Re-encode it`;
  if (channels > MAX_CHANNELS) return `has ${channels} channels, and at most ${MAX_CHANNELS} are mixed. Re-encode it`;
  return undefined;
}

/** Number of log-mel frames for this many 16 kHz samples. */
export function melFrames(samples: number): number {
  return Math.ceil(Math.min(samples, MAX_SAMPLES) / HOP_SAMPLES);
}

/** Number of tokens for this many log-mel frames: the audio tower halves the length twice, to 25 tokens a second. */
export function audioTokens(frames: number): number {
  return Math.floor((frames + 1) / 4);
}
