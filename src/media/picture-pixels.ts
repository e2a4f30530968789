// From the channels of a decoded picture to the RGB that the reference sees. Pure.

export interface PictureLayout {
  readonly channels: number;
  /** four channels are inks, 255 = full */
  readonly cmyk: boolean;
  /** the last of two or four channels is blended with white; otherwise it is dropped */
  readonly blend: boolean;
}

/**
 * u8 RGB of interleaved u8 channels (grey, grey and alpha, RGB, RGB and alpha, or CMYK), with Pillow's arithmetic:
 * `paste` with a mask for alpha, `convert('RGB')` for inks.
 */
export function toRgb(source: Uint8Array, { channels, cmyk, blend }: PictureLayout): Uint8Array {
  if (channels === 3) return source;
  const pixels = source.length / channels;
  const rgb = new Uint8Array(pixels * 3);
  const grey = channels < 3;
  for (let from = 0, to = 0; to < rgb.length; from += channels, to += 3) {
    const last = source[from + channels - 1] ?? 0;
    for (let channel = 0; channel < 3; channel++) {
      const value = source[from + (grey ? 0 : channel)] ?? 0;
      rgb[to + channel] = cmyk ? inkToLight(value, last) : blend ? overWhite(value, last) : value;
    }
  }
  return rgb;
}

/** Pillow's MULDIV255: a · b / 255, rounded. */
function scaled(a: number, b: number): number {
  const product = a * b + 128;
  return ((product >> 8) + product) >> 8;
}

function inkToLight(ink: number, black: number): number {
  const light = 255 - black;
  return Math.max(0, light - scaled(ink, light));
}

function overWhite(value: number, alpha: number): number {
  const sum = value * alpha + 255 * (255 - alpha) + 128;
  return ((sum >> 8) + sum) >> 8;
}
