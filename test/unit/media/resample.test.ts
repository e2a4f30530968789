import { expect, test } from 'vitest';
import { resample } from '../../../src/media/resample.ts';

function tone(hertz: number, sampleRate: number, seconds: number): Float32Array {
  return Float32Array.from({ length: sampleRate * seconds }, (_, index) =>
    Math.sin((2 * Math.PI * hertz * index) / sampleRate),
  );
}

function largest(values: Float32Array): number {
  return values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
}

test.each([8000, 11_025, 22_050, 44_100, 44_101, 48_000, 96_000, 384_000])(
  'a tone at %i Hz stays that tone',
  (rate) => {
    const out = resample(tone(1000, rate, 0.5), rate, 8000);
    const wanted = tone(1000, 16_000, 0.5);
    const middle = out.map((value, index) => value - (wanted[index] ?? 0)).subarray(400, 7600);
    expect(largest(middle)).toBeLessThan(2e-3);
  },
);

test('what is above 8 kHz does not fold back', () => {
  expect(largest(resample(tone(9500, 48_000, 0.5), 48_000, 8000).subarray(400, 7600))).toBeLessThan(1e-3);
});

test('sound of 16 kHz is not touched, and silence fills it up', () => {
  expect([...resample(Float32Array.of(0.5, -1, 0.25), 16_000, 5)]).toEqual([0.5, -1, 0.25, 0, 0]);
});
