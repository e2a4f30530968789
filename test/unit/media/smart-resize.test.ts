import { expect, test } from 'vitest';
import { smartResize } from '../../../src/media/smart-resize.ts';
import { goldenJson } from '../../fixtures/golden.ts';

interface Row {
  readonly height: number;
  readonly width: number;
  readonly factor: number;
  readonly min_pixels: number;
  readonly max_pixels: number;
  readonly result?: readonly number[];
}

test('sizes agree with all 500 rows of the reference, and 200:1 is refused as there', () => {
  const rows = goldenJson<Row[]>('processing/smart_resize.json');
  expect(rows.length).toBe(500);
  for (const row of rows) {
    const resize = (): number[] => {
      const { height, width } = smartResize(row, row.factor, { minPixels: row.min_pixels, maxPixels: row.max_pixels });
      return [height, width];
    };
    if (row.result === undefined) expect(resize).toThrow(expect.objectContaining({ code: 'media_aspect_ratio' }));
    else expect(resize(), JSON.stringify(row)).toEqual(row.result);
  }
});
