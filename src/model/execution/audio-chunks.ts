// Cuts a log-mel spectrogram into the audio tower's chunks (docs/reference-model.md 7.2).

export interface AudioChunks {
  readonly chunks: number;
  /** frames of the longest chunk; shorter ones are zero beyond their end */
  readonly frames: number;
  /** positions of the longest chunk after the second convolution */
  readonly positions: number;
  /** [chunks, bins, frames] */
  readonly mel: Float32Array<ArrayBuffer>;
  /** [chunks, 1, frames] 1 = a real frame */
  readonly frameMask: Float32Array<ArrayBuffer>;
  /** [chunks] real positions after the second convolution */
  readonly chunkLengths: Int32Array<ArrayBuffer>;
  /** [tokens] rows of [chunks · positions] averaged into each token; an odd last position is dropped */
  readonly pairFirst: BigInt64Array<ArrayBuffer>;
  readonly pairSecond: BigInt64Array<ArrayBuffer>;
}

/** Positions left of `frames` mel frames by the convolution of stride 2. */
function strided(frames: number): number {
  return Math.ceil(frames / 2);
}

/** Tokens of a sound of `frames` mel frames: every chunk is strided alone, then pairs are averaged. */
export function audioTokens(frames: number, chunkFrames: number): number {
  const whole = Math.floor(frames / chunkFrames);
  return Math.floor((whole * strided(chunkFrames) + strided(frames - whole * chunkFrames)) / 2);
}

/**
 * Chunks of frames `from … to` of a spectrogram.
 * @param mel [bins, total] bins outermost
 */
export function audioChunks(
  mel: Float32Array,
  total: number,
  bins: number,
  chunkFrames: number,
  from: number,
  to: number,
): AudioChunks {
  const chunks = Math.ceil((to - from) / chunkFrames);
  const frames = Math.min(chunkFrames, to - from);
  const packed = new Float32Array(chunks * bins * frames);
  const frameMask = new Float32Array(chunks * frames);
  const chunkLengths = new Int32Array(chunks);
  const positions = strided(frames);
  const rows: bigint[] = [];
  for (let chunk = 0; chunk < chunks; chunk += 1) {
    const start = from + chunk * chunkFrames;
    const length = Math.min(chunkFrames, to - start);
    for (let bin = 0; bin < bins; bin += 1) {
      packed.set(mel.subarray(bin * total + start, bin * total + start + length), (chunk * bins + bin) * frames);
    }
    frameMask.fill(1, chunk * frames, chunk * frames + length);
    chunkLengths[chunk] = strided(length);
    for (let position = 0; position < strided(length); position += 1) rows.push(BigInt(chunk * positions + position));
  }
  const even = rows.slice(0, rows.length - (rows.length % 2));
  return {
    chunks,
    frames,
    positions,
    mel: packed,
    frameMask,
    chunkLengths,
    pairFirst: BigInt64Array.from(even.filter((_, index) => index % 2 === 0)),
    pairSecond: BigInt64Array.from(even.filter((_, index) => index % 2 === 1)),
  };
}
