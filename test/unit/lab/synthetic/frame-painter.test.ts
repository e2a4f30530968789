import { readFileSync } from 'node:fs';
import { inflateSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { captionScript, type Script } from '../../../../src/lab/synthetic/script.ts';
import { FramePainter } from '../../../../src/lab/synthetic/frame-painter.ts';

interface Drawn {
  readonly script: Script;
  readonly caption: string;
  readonly soundless: string;
  readonly time: number;
  /** one row of so many, and one column of so many, is kept */
  readonly rows: number;
  readonly columns: number;
  /** rgb24, deflated */
  readonly pixels: string;
}

const DRAWN = JSON.parse(
  readFileSync(new URL('../../../fixtures/world/frames.json', import.meta.url), 'utf8'),
) as readonly Drawn[];

function kept(frame: Uint8Array, [width, height]: Script['size'], rows: number, columns: number): number[] {
  const found: number[] = [];
  for (let y = 0; y < height; y += rows)
    for (let x = 0; x < width; x += columns)
      found.push(...frame.subarray((y * width + x) * 3, (y * width + x) * 3 + 3));
  return found;
}

describe('the same as the recipe', () => {
  it.each(
    DRAWN.map((drawn, index) => ({
      ...drawn,
      name: `${index}: ${drawn.script.size.join('x')}, ${drawn.script.texture}`,
    })),
  )('draws script $name', ({ script, time, rows, columns, pixels }) => {
    const theirs = inflateSync(Buffer.from(pixels, 'base64'));
    const ours = kept(new FramePainter(script).frameAt(time), script.size, rows, columns);
    expect(ours.length).toBe(theirs.length);
    expect(Math.max(...ours.map((level, index) => Math.abs(level - theirs[index]!)))).toBeLessThanOrEqual(1);
  });

  it('writes the captions of scripts, with and without sound', () => {
    for (const { script, caption, soundless } of DRAWN)
      expect([captionScript(script, true), captionScript(script, false)]).toEqual([caption, soundless]);
  });

  it('is tested with every shape, texture and size of clip', () => {
    const scripts = DRAWN.map(({ script }) => script);
    expect(new Set(scripts.flatMap(({ objects }) => objects.map(({ shape }) => shape))).size).toBe(4);
    expect([
      new Set(scripts.map(({ texture }) => texture)).size,
      new Set(scripts.map(({ size }) => String(size))).size,
    ]).toEqual([3, 3]);
    expect(scripts.filter(({ text }) => text !== null).length).toBeGreaterThanOrEqual(8);
  });
});
