import { describe, expect, it } from 'vitest';
import { Rng } from '../../../../src/lab/synthetic/rng.ts';
import { makeSound, soundTrack } from '../../../../src/lab/synthetic/sound-track.ts';
import type { Script } from '../../../../src/lab/synthetic/script.ts';
import { WORLD } from '../../../../src/lab/synthetic/vocabulary.ts';

const SEEDS = Array.from({ length: 20 }, (_, seed) => seed);

const level = (wave: Float32Array): number =>
  Math.sqrt(wave.reduce((sum, value) => sum + value * value, 0) / wave.length);

/** Frequency by the rising zero crossings between two shares of a wave; the overtone is too weak to add any. */
function hertz(wave: Float32Array, from = 0, to = 1): number {
  const part = wave.subarray(Math.floor(from * wave.length), Math.floor(to * wave.length));
  const crossings = part.filter((value, index) => index > 0 && value >= 0 && part[index - 1]! < 0).length;
  return (crossings * WORLD.sampleRate) / part.length;
}

describe('makeSound', () => {
  it.each(Object.keys(WORLD.sounds))('%s is audible, lasts less than two seconds, and stays in range', (name) => {
    for (const seed of SEEDS) {
      const wave = makeSound(new Rng(seed, name), name);
      expect(wave.length / WORLD.sampleRate).toBeGreaterThan(0.3);
      expect(wave.length / WORLD.sampleRate).toBeLessThan(2);
      expect(level(wave)).toBeGreaterThan(0.05);
      expect(wave.every((value) => Math.abs(value) < 1.6)).toBe(true);
    }
  });

  it('beeps high or low', () => {
    for (const seed of SEEDS) {
      const [high, low] = [
        hertz(makeSound(new Rng(seed, ''), 'beep_high')),
        hertz(makeSound(new Rng(seed, ''), 'beep_low')),
      ];
      expect(high > 1450 && high < 2250, `${high} Hz`).toBe(true);
      expect(low > 220 && low < 390, `${low} Hz`).toBe(true);
    }
  });

  it('rises and falls', () => {
    for (const seed of SEEDS) {
      const [up, down] = [makeSound(new Rng(seed, ''), 'sweep_up'), makeSound(new Rng(seed, ''), 'sweep_down')];
      expect(hertz(up, 0.8)).toBeGreaterThan(2 * hertz(up, 0, 0.2));
      expect(hertz(down, 0, 0.2)).toBeGreaterThan(2 * hertz(down, 0.8));
    }
  });
});

describe('soundTrack', () => {
  const script: Script = {
    seed: 3,
    duration: 4.5,
    fps: 25,
    size: [320, 180],
    background: 'gray',
    texture: 'plain',
    text: null,
    objects: [],
    events: [
      { kind: 'sound', beat: 0, start: 0.5, sound: 'beep_high' },
      { kind: 'speech', beat: 1, start: 4.4, speaker: 'man', text: 'go' },
    ],
  };
  const voice = new Float32Array(8000).fill(0.5);
  const wave = soundTrack(script, (speaker, line) => {
    expect([speaker, line]).toEqual(['man', 'go']);
    return voice;
  });
  const part = (from: number, to: number): number =>
    level(wave.subarray(from * WORLD.sampleRate, to * WORLD.sampleRate));

  it('is as long as the clip, with faint noise where nothing happens', () => {
    expect(wave.length).toBe(72_000);
    for (const quiet of [part(0, 0.49), part(1.3, 3.9)]) expect(quiet > 0 && quiet < 0.003).toBe(true);
  });

  it('plays events at their time, and moves a late line forward so that it is complete', () => {
    expect(part(0.5, 0.9)).toBeGreaterThan(0.1);
    expect(part(4.05, 4.45)).toBeGreaterThan(0.1);
  });

  it('is the same for the same seed', () => {
    expect(soundTrack(script, () => voice)).toEqual(wave);
    expect(soundTrack({ ...script, seed: 4 }, () => voice)).not.toEqual(wave);
  });
});
