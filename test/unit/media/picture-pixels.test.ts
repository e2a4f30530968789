import { expect, test } from 'vitest';
import { toRgb } from '../../../src/media/picture-pixels.ts';

test.each([
  ['RGB is taken as it is', [1, 2, 3], { channels: 3, cmyk: false, blend: false }, [1, 2, 3]],
  ['grey becomes three equal channels', [7, 9], { channels: 1, cmyk: false, blend: false }, [7, 7, 7, 9, 9, 9]],
  ['alpha of grey is dropped', [7, 0], { channels: 2, cmyk: false, blend: false }, [7, 7, 7]],
  ['alpha is blended with white', [10, 20, 30, 128], { channels: 4, cmyk: false, blend: true }, [132, 137, 142]],
  ['transparent is white', [10, 20, 30, 0], { channels: 4, cmyk: false, blend: true }, [255, 255, 255]],
  ['dropped alpha leaves the colour', [10, 20, 30, 0], { channels: 4, cmyk: false, blend: false }, [10, 20, 30]],
  ['no ink is white', [0, 0, 0, 0], { channels: 4, cmyk: true, blend: false }, [255, 255, 255]],
  ['black ink darkens all', [0, 100, 255, 100], { channels: 4, cmyk: true, blend: false }, [155, 94, 0]],
  ['full black is black', [0, 0, 0, 255], { channels: 4, cmyk: true, blend: false }, [0, 0, 0]],
])('%s', (_title, source, layout, rgb) => {
  expect([...toRgb(Uint8Array.from(source), layout)]).toEqual(rgb);
});
