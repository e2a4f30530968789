// Traps in the files of datasets.
import { expect, it } from 'vitest';
import type { DatasetFiles, Row } from '../../../../src/lab/evaluate/benchmark.ts';
import { avqa } from '../../../../src/lab/evaluate/benchmarks/choice-datasets.ts';

function filesOf(rows: readonly Row[]): DatasetFiles {
  return {
    json: () => Promise.resolve(rows),
    rows: () => Promise.resolve(rows),
    optionalRows: () => Promise.resolve(undefined),
  };
}

it('AVQA shortens the start of a clip, not the id of its video', async () => {
  const row = { question_text: 'Which?', multi_choice: ['dog', 'rain'], answer: 0 };
  const names = ['a_0123Bc_00_000030', 'aBcDeFgHiJk_000000'];
  const items = await avqa.read(filesOf(names.map((video_name) => ({ ...row, video_name }))));
  expect(items.map(({ videos }) => videos.includes('videos/a_0123Bc_00_30.mp4'))).toEqual([true, false]);
  expect(items[1]!.videos).toContain('videos/aBcDeFgHiJk_0.mp4');
});
