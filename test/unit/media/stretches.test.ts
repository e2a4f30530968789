import { describe, expect, test } from 'vitest';
import { joinStretches, StretchReader, type Stretch } from '../../../src/media/stretches.ts';

const readerOf = (...lines: string[]): StretchReader => {
  const reader = new StretchReader();
  for (const line of lines) reader.add(line);
  return reader;
};

/** as ffmpeg 5.1 and 7.0 print them */
const LINES = [
  '[graph_0_in_0_0 @ 0x555a36c237c0] [verbose] tb:1/44100 samplefmt:fltp samplerate:44100 chlayout:stereo',
  '[Parsed_pan_1 @ 0x555a36c21340] [verbose] o0 = 1 i0 + 1 i1',
  '[Parsed_astats_3 @ 0x555a36c21f80] [info] Overall',
  '[Parsed_astats_3 @ 0x555a36c21f80] [info] Number of samples: 134784',
  '[graph_0_in_0:0 @ 0x7fbc4405dd80] [verbose] tb:1/48000 samplefmt:fltp samplerate:48000 chlayout:mono',
  '[Parsed_pan_1 @ 0x7fbc44062600] [verbose] o0 = 1 i0',
];

describe('what ffmpeg says of its filter graphs', () => {
  test('gives the stretches of the sound; the last is open until the end', () => {
    const reader = readerOf(...LINES);
    const first = { sampleRate: 44_100, channels: 2, samples: 134_784 };
    expect(reader.stretches).toEqual([first, { sampleRate: 48_000, channels: 1, samples: undefined }]);
    expect(reader.seconds(44_100)).toBe(1);
    expect(reader.seconds(134_784 + 24_000)).toBeCloseTo(134_784 / 44_100 + 0.5);
    reader.add('[Parsed_astats_3 @ 0x7fbc4400e6c0] [info] Number of samples: 144000');
    expect(reader.stretches.at(-1)?.samples).toBe(144_000);
  });

  test('is not believed from a title in the file', () => {
    const title = '[info]     title           : [Parsed_astats_3 @ 0x1] [info] Number of samples: 5';
    expect(readerOf(title, `    ${LINES[0] ?? ''}`).stretches).toEqual([]);
  });
});

const stretch = (sampleRate: number, channels: number, samples: number | undefined): Stretch => ({
  sampleRate,
  channels,
  samples,
});
const tone = (sampleRate: number, samples: number, amplitude: number): number[] =>
  Array.from({ length: samples }, (_, index) => amplitude * Math.sin((2 * Math.PI * 500 * index) / sampleRate));
const loudness = (part: Float32Array): number => Math.sqrt(part.reduce((sum, x) => sum + x * x, 0) / part.length);

describe('joined stretches', () => {
  test('follow each other at 16 kHz, each at its own rate and with its own number of channels', () => {
    const sums = Float32Array.from([...tone(44_100, 44_100, 2), ...tone(8000, 4000, 1), ...tone(48_000, 48_000, 6)]);
    const stretches = [stretch(44_100, 2, 44_100), stretch(8000, 1, 4000), stretch(48_000, 6, undefined)];
    const { waveform, silenced, unheard } = joinStretches(sums, stretches);
    expect([waveform.length, silenced, unheard]).toEqual([40_000, 0, undefined]);
    for (const [from, to] of [
      [0, 16_000],
      [16_000, 24_000],
      [24_000, 40_000],
    ])
      expect(loudness(waveform.subarray(from, to))).toBeCloseTo(Math.SQRT1_2, 2);
  });

  test('of one rate have no seam where the channels change', () => {
    const whole = tone(48_000, 48_000, 1);
    const sums = Float32Array.from(whole, (value, index) => (index < 20_000 ? 6 * value : value));
    const joined = joinStretches(sums, [stretch(48_000, 6, 20_000), stretch(48_000, 1, 28_000)]);
    const steady = joinStretches(Float32Array.from(whole), [stretch(48_000, 1, 48_000)]);
    const seam = joined.waveform.map((value, index) => value - (steady.waveform[index] ?? 0));
    expect(Math.max(...seam.map(Math.abs))).toBeLessThan(1e-6);
  });

  test('do not add up the rounding of many short ones', () => {
    const stretches = Array.from({ length: 200 }, (_, index) => stretch(index % 2 === 0 ? 44_100 : 48_000, 1, 500));
    const seconds = 100 * (500 / 44_100 + 500 / 48_000);
    const { waveform } = joinStretches(new Float32Array(100_000), stretches);
    expect(waveform.length).toBe(Math.ceil(seconds * 16_000));
  });

  test('hold silence where a sample is no number or far too loud', () => {
    const sums = Float32Array.of(0.5, Number.NaN, Infinity, -Infinity, 3e38, -1e10, -0.5);
    const { waveform, silenced } = joinStretches(sums, [stretch(16_000, 1, undefined)]);
    expect([[...waveform], silenced]).toEqual([[0.5, 0, 0, 0, 0, 0, -0.5], 5]);
  });

  test('leave out one whose rate is no rate of sound', () => {
    const stretches = [stretch(16_000, 1, 2), stretch(2 ** 31 - 1, 1, 2), stretch(1, 1, 2)];
    const { waveform, unheard } = joinStretches(Float32Array.of(1, 1, 2, 2, 3, 3), stretches);
    expect([...waveform]).toEqual([1, 1]);
    expect(unheard).toContain('sample rate of 1 Hz');
  });

  test('end at 300 s', () => {
    const stretches = [stretch(16_000, 1, 4_000_000), stretch(16_000, 2, 1_000_000)];
    expect(joinStretches(new Float32Array(5_000_000), stretches).waveform.length).toBe(4_800_000);
  });
});
