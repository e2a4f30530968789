// Rotary angles and sinusoids, rounded to float32 where torch rounds them (reference-model.md, Decoder). Inverse
// frequencies and angles are float32 there, so at far positions the reference's rounding shows in its output.

/** theta^(-2m/channels) for m < channels / 2, float32. */
function inverseFrequencies(theta: number, channels: number): Float32Array {
  const base = Math.fround(theta);
  return Float32Array.from(
    { length: channels / 2 },
    (_, m) => 1 / Math.fround(base ** Math.fround((2 * m) / channels)),
  );
}

interface RopeTables {
  readonly cos: Float32Array<ArrayBuffer>;
  readonly sin: Float32Array<ArrayBuffer>;
}

/** Language model: cos and sin [rows, headDim / 2] of positions 0 … rows - 1. */
export function textRopeTables(theta: number, headDim: number, rows: number): RopeTables {
  const frequencies = inverseFrequencies(theta, headDim);
  const columns = frequencies.length;
  const cos = new Float32Array(rows * columns);
  const sin = new Float32Array(rows * columns);
  for (let row = 0; row < rows; row += 1) {
    frequencies.forEach((frequency, column) => {
      const angle = Math.fround(row * frequency);
      cos[row * columns + column] = Math.cos(angle);
      sin[row * columns + column] = Math.sin(angle);
    });
  }
  return { cos, sin };
}

/**
 * Vision tower: cos and sin [rows, headDim / 2] of patches at (y, x). The first half of the columns rotates by y, the
 * second half by x.
 */
export function visionRopeTables(headDim: number, y: Int32Array, x: Int32Array): RopeTables {
  const frequencies = inverseFrequencies(10_000, headDim / 2);
  const columns = headDim / 2;
  const cos = new Float32Array(y.length * columns);
  const sin = new Float32Array(y.length * columns);
  [y, x].forEach((positions, axis) => {
    positions.forEach((position, row) => {
      frequencies.forEach((frequency, m) => {
        const angle = Math.fround(position * frequency);
        const index = row * columns + axis * frequencies.length + m;
        cos[index] = Math.cos(angle);
        sin[index] = Math.sin(angle);
      });
    });
  });
  return { cos, sin };
}

/** Audio tower: [rows, channels], sines in the first half of the columns, cosines in the second. */
export function sinusoids(rows: number, channels: number): Float32Array<ArrayBuffer> {
  const half = channels / 2;
  const step = Math.log(10_000) / (half - 1);
  const inverse = Float32Array.from({ length: half }, (_, m) => Math.exp(Math.fround(-Math.fround(step) * m)));
  const table = new Float32Array(rows * channels);
  for (let row = 0; row < rows; row += 1) {
    inverse.forEach((scale, m) => {
      const angle = Math.fround(row * scale);
      table[row * channels + m] = Math.sin(angle);
      table[row * channels + half + m] = Math.cos(angle);
    });
  }
  return table;
}
