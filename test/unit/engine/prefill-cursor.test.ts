import { describe, expect, it } from 'vitest';
import { PrefillCursor } from '../../../src/engine/prefill-cursor.ts';
import type { PrefillChunk } from '../../../src/model/execution/thinker.ts';
import { requestOf } from './requests.ts';

function chunksOf(request: ReturnType<typeof requestOf>, chunkTokens: number): PrefillChunk[] {
  const cursor = new PrefillCursor(request, chunkTokens, 2);
  const chunks: PrefillChunk[] = [];
  while (cursor.nextTokens > 0) {
    chunks.push(cursor.chunk(3));
    cursor.advance();
  }
  return chunks;
}

describe('PrefillCursor', () => {
  it('cuts ids, positions and media of a prompt by hand', () => {
    const request = {
      ...requestOf(),
      ids: Int32Array.of(10, 11, 12, 13, 14),
      positions: Int32Array.of(0, 1, 2, 3, 4, 100, 101, 102, 103, 104, 200, 201, 202, 203, 204),
      mediaRows: Int32Array.of(1, 2, 4),
      mediaEmbeds: Float32Array.of(1, 1.5, 2, 2.5, 4, 4.5),
    };
    const int = (...values: number[]) => Int32Array.from(values);
    const float = (...values: number[]) => Float32Array.from(values);
    const [first, second, third] = chunksOf(request, 2);
    expect(first).toMatchObject({
      slot: 3,
      start: 0,
      ids: int(10, 11),
      positions: int(0, 1, 100, 101, 200, 201),
      wantLogits: false,
    });
    expect(first).toMatchObject({ mediaRows: int(1), mediaEmbeds: float(1, 1.5) });
    expect(second).toMatchObject({
      slot: 3,
      start: 2,
      ids: int(12, 13),
      positions: int(2, 3, 102, 103, 202, 203),
      wantLogits: false,
    });
    expect(second).toMatchObject({ mediaRows: int(0), mediaEmbeds: float(2, 2.5) });
    expect(third).toMatchObject({ slot: 3, start: 4, ids: int(14), positions: int(4, 104, 204), wantLogits: true });
    expect(third).toMatchObject({ mediaRows: int(0), mediaEmbeds: float(4, 4.5) });
  });

  it('gives every id, position and embedding exactly once, whatever the chunk size', () => {
    const request = requestOf({ length: 53, mediaEvery: 3 });
    for (const chunkTokens of [1, 2, 7, 16, 52, 53, 54, 1000]) {
      const chunks = chunksOf(request, chunkTokens);
      expect(chunks.flatMap(({ ids }) => [...ids])).toEqual([...request.ids]);
      expect(chunks.flatMap(({ start, mediaRows }) => [...mediaRows].map((row) => start + row))).toEqual([
        ...request.mediaRows,
      ]);
      expect(chunks.flatMap(({ mediaEmbeds }) => [...mediaEmbeds])).toEqual([...request.mediaEmbeds]);
      for (let axis = 0; axis < 3; axis++) {
        const columns = chunks.flatMap(({ ids, positions }) => [
          ...positions.subarray(axis * ids.length, (axis + 1) * ids.length),
        ]);
        expect(columns).toEqual([...request.positions.subarray(axis * 53, (axis + 1) * 53)]);
      }
      expect(chunks.map(({ wantLogits }) => wantLogits)).toEqual(chunks.map((_, index) => index === chunks.length - 1));
      expect(Math.max(...chunks.map(({ ids }) => ids.length))).toBeLessThanOrEqual(chunkTokens);
    }
  });
});
