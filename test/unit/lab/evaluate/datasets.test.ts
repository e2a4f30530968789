// Traps in the files of datasets, and in replies that are nearly right.
import { writeFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import type { DatasetFiles, Row } from '../../../../src/lab/evaluate/benchmark.ts';
import { avqa } from '../../../../src/lab/evaluate/benchmarks/choice-datasets.ts';
import { parseHits } from '../../../../src/lab/evaluate/benchmarks/keypoint-mentions.ts';
import { readCaptions } from '../../../../src/lab/evaluate/captions.ts';
import { scratchDirectory } from '../../../fixtures/scratch.ts';

const scratch = scratchDirectory();

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

it.each(['dog', '-1', '2', '0.5'])('AVQA refuses the answer %j, which is no index of its choices', async (answer) => {
  const row = { video_name: 'a_000030', question_text: 'Which?', multi_choice: ['dog', 'rain'], answer };
  await expect(avqa.read(filesOf([row]))).rejects.toMatchObject({ code: 'bad_request' });
});

it('AVSCapBench takes 1 and true for a hit, and no object or list', () => {
  const events = { visual: ['v'], speech: ['s', 't'], music: [], sfx: ['f'], synergy: [] };
  const reply = '{"visual_hits": [{"toString": 1}], "audio_hits": [true, "1", [1]]}';
  expect(parseHits(reply, events, true)?.hits).toMatchObject({ visual: [false], speech: [true, true], sfx: [false] });
});

it('captions go to the item whose id they have, and to nobody by a name that several items have', async () => {
  const item = (id: string, video: string) => ({ id, videos: [video], prompt: '', data: undefined });
  const items = [item('1', 'a/2.mp4'), item('2', 'b/3.mp4'), item('5', 'a/9.mp4'), item('6', 'b/9.mp4')];
  const captions = scratch('captions.jsonl');
  const names = ['1', '2', '9.mp4', '/films/b/9.mp4'];
  writeFileSync(captions, names.map((video_id) => JSON.stringify({ video_id, caption: video_id })).join('\n'));
  const found = await readCaptions(captions, items);
  expect([...found].map(([id, { caption }]) => [id, caption])).toEqual([
    ['1', '1'],
    ['2', '2'],
    ['6', '/films/b/9.mp4'],
  ]);
});
