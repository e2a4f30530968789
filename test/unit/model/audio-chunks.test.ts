import { expect, it } from 'vitest';
import { audioChunks, audioTokens } from '../../../src/model/execution/audio-chunks.ts';

it('counts as many tokens as the reference: floor((frames + 1) / 4)', () => {
  for (let frames = 0; frames <= 1000; frames++) expect(audioTokens(frames, 200)).toBe(Math.floor((frames + 1) / 4));
});

it('pads the last chunk with zeros, marks what is real, and pairs only real positions', () => {
  const frames = 403;
  const mel = Float32Array.from({ length: 2 * frames }, (_, at) => at + 1);
  const batch = audioChunks(mel, frames, 2, 200, 0, frames);
  expect([batch.chunks, batch.frames, batch.positions]).toEqual([3, 200, 100]);
  expect([...batch.chunkLengths]).toEqual([100, 100, 2]);
  const last = batch.mel.subarray(2 * 2 * 200);
  expect([...last.subarray(0, 4)]).toEqual([401, 402, 403, 0]);
  expect([...last.subarray(200, 204)]).toEqual([804, 805, 806, 0]);
  expect(batch.frameMask.reduce((sum, value) => sum + value, 0)).toBe(frames);
  expect(batch.pairFirst.length).toBe(audioTokens(frames, 200));
  expect([batch.pairFirst.at(-1), batch.pairSecond.at(-1)]).toEqual([200n, 201n]);
});

it('makes a sound of less than a chunk no longer than it is, and drops an odd position', () => {
  const batch = audioChunks(new Float32Array(2 * 5), 5, 2, 200, 0, 5);
  expect([batch.chunks, batch.frames, batch.positions, batch.pairFirst.length]).toEqual([1, 5, 3, 1]);
});

it('cuts the same chunks from a part of a sound as from the whole', () => {
  const mel = Float32Array.from({ length: 3 * 700 }, (_, at) => Math.sin(at));
  const whole = audioChunks(mel, 700, 3, 200, 0, 700);
  const part = audioChunks(mel, 700, 3, 200, 400, 700);
  expect(part.mel).toEqual(whole.mel.slice(2 * 3 * 200));
});
