import { expect, test } from 'vitest';
import type { TextConfig } from '../../../../src/model/checkpoint/config-types.ts';
import { decoderThreads } from '../../../../src/model/execution/load-thinker.ts';

const NANO = {
  hiddenSize: 256,
  intermediateSize: 640,
  layers: 4,
  heads: 4,
  kvHeads: 2,
  headDim: 64,
  vocabSize: 1024,
} as TextConfig;
const SHAPE_7B = {
  hiddenSize: 3584,
  intermediateSize: 18_944,
  layers: 28,
  heads: 28,
  kvHeads: 4,
  headDim: 128,
  vocabSize: 152_064,
} as TextConfig;

test('a small decoder gets few threads of many cores, a large one all', () => {
  expect([1, 2, 4, 5, 16, 128].map((cores) => decoderThreads(NANO, cores))).toEqual([0, 0, 0, 4, 4, 4]);
  expect([2, 16, 128].map((cores) => decoderThreads(SHAPE_7B, cores))).toEqual([0, 0, 0]);
});
