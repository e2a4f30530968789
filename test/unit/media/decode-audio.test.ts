import { expect, test } from 'vitest';
import { WaveformBuilder } from '../../../src/media/decode-audio.ts';

const samples = (...values: number[]): Uint8Array => new Uint8Array(Float32Array.from(values).buffer);

test('joins pieces that split a sample', () => {
  const builder = new WaveformBuilder(100);
  const bytes = samples(0.5, -0.25, 1);
  for (const byte of bytes) expect(builder.push(Uint8Array.of(byte))).toBe('more');
  expect([...builder.take()]).toEqual([0.5, -0.25, 1]);
});

test('stops at its limit and says that more came', () => {
  const builder = new WaveformBuilder(2);
  expect(builder.push(samples(1, 2))).toBe('more');
  expect(builder.overflowed).toBe(false);
  expect(builder.push(samples(3))).toBe('enough');
  expect(builder.overflowed).toBe(true);
  expect([...builder.take()]).toEqual([1, 2]);
});

test('fills up with silence, or cuts, to a length', () => {
  const longer = new WaveformBuilder(10);
  longer.push(samples(1, 2));
  longer.setLength(4);
  expect([...longer.take()]).toEqual([1, 2, 0, 0]);
  longer.setLength(1);
  expect([...longer.take()]).toEqual([1]);
});

test('grows beyond its first buffer', () => {
  const builder = new WaveformBuilder(3_000_000);
  const piece = new Uint8Array(Float32Array.from({ length: 500_000 }, (_, i) => i).buffer);
  for (let i = 0; i < 5; i++) builder.push(piece);
  const waveform = builder.take();
  expect(waveform.length).toBe(2_500_000);
  expect([waveform[499_999], waveform[500_000], waveform.at(-1)]).toEqual([499_999, 0, 499_999]);
});
