import { describe, expect, it } from 'vitest';
import {
  captionScript,
  sampleGeometry,
  sampleScript,
  type Script,
  type VisualEvent,
} from '../../../../src/lab/synthetic/script.ts';
import { Rng } from '../../../../src/lab/synthetic/rng.ts';
import { keypointsOf, scoreCaption } from '../../../../src/lab/synthetic/score-caption.ts';
import { objectStates } from '../../../../src/lab/synthetic/frame-painter.ts';
import { readCaption } from '../../../../src/lab/synthetic/read-caption.ts';
import { WORLD } from '../../../../src/lab/synthetic/vocabulary.ts';

const SEEDS = Array.from({ length: 300 }, (_, seed) => seed);

function sampled(seed: number): Script {
  const rng = new Rng(seed, 'test');
  const geometry = { ...sampleGeometry(rng), ...(seed % 2 === 0 ? { duration: rng.between(3, 16) } : {}) };
  return sampleScript(seed, geometry, rng, 1 + (seed % 3), ['go left', 'stop', 'yes no one two']);
}

const SCRIPTS = SEEDS.map(sampled);
const changesOf = (script: Script, object: number): VisualEvent[] =>
  script.events.filter((event) => event.kind === 'visual').filter((event) => event.object === object);

describe('a sampled script', () => {
  it('is the same for the same seed', () => {
    expect(SEEDS.map(sampled)).toEqual(SCRIPTS);
    expect(new Set(SCRIPTS.map((script) => JSON.stringify({ ...script, seed: 0 }))).size).toBe(SEEDS.length);
  });

  it('keeps every object in its own slots and in the picture, and never changes it after its end', () => {
    for (const script of SCRIPTS) {
      const along = script.size[1] > script.size[0] ? ['up', 'down'] : ['left', 'right'];
      const taken = script.objects.flatMap(({ slot }, object) => {
        const changes = changesOf(script, object);
        const moves = changes.filter(({ verb }) => along.includes(verb));
        expect(moves.length).toBeLessThanOrEqual(1);
        expect(changes.slice(0, -1).filter(({ verb }) => ['vanish', 'recolor'].includes(verb))).toEqual([]);
        return [slot, ...moves.map(({ verb }) => slot + (verb === along[0] ? -1 : 1))];
      });
      expect(new Set(taken).size, `seed ${script.seed}`).toBe(taken.length);
      expect(taken.every((slot) => slot in WORLD.slots)).toBe(true);
      for (const { x, y } of objectStates(script, script.duration)) {
        expect(x > 0 && y > 0 && x < script.size[0] && y < script.size[1], `seed ${script.seed}`).toBe(true);
      }
    }
  });

  it('lets exactly the hidden objects appear, as their first change', () => {
    for (const script of SCRIPTS) {
      script.objects.forEach(({ hidden }, object) => {
        expect(
          changesOf(script, object)
            .map(({ verb }) => verb)
            .indexOf('appear'),
        ).toBe(hidden ? 0 : -1);
      });
    }
    expect(SCRIPTS.filter(({ objects }) => objects.some(({ hidden }) => hidden)).length).toBeGreaterThan(10);
  });

  it('has at most one change and one sound per beat, within the beat', () => {
    for (const { events, duration } of SCRIPTS) {
      const beats = Math.max(1, Math.floor(Math.floor(duration) / 2));
      for (const kind of ['visual', 'heard']) {
        const numbers = events
          .filter((event) => (event.kind === 'visual') === (kind === 'visual'))
          .map(({ beat }) => beat);
        expect(numbers).toEqual([...new Set(numbers)].sort((one, other) => one - other));
      }
      for (const event of events) {
        expect(Math.floor((event.start * beats) / duration)).toBe(event.beat);
        if (event.kind === 'visual') expect(Math.floor((event.end * beats) / duration)).toBe(event.beat);
      }
    }
  });

  it('uses every verb, sound, speaker and background', () => {
    const events = SCRIPTS.flatMap(({ events: all }) => all);
    const used = events.map((event) =>
      event.kind === 'visual' ? event.verb : event.kind === 'sound' ? event.sound : event.speaker,
    );
    expect(new Set(used)).toEqual(
      new Set([WORLD.verbs, WORLD.sounds, WORLD.speakers].flatMap((table) => Object.keys(table))),
    );
    expect(new Set(SCRIPTS.map(({ background }) => background)).size).toBe(Object.keys(WORLD.backgrounds).length);
  });
});

describe.each([true, false])('its reference caption, sound %s', (sound) => {
  it('has full recall and no false claim', () => {
    for (const script of SCRIPTS) {
      const caption = captionScript(script, sound);
      expect(scoreCaption(caption, caption), caption).toMatchObject({ recall: 1, falseClaims: 0 });
    }
  });

  it('is read back as the contents of the script', () => {
    for (const script of SCRIPTS) {
      const caption = captionScript(script, sound);
      const told = keypointsOf(readCaption(caption)).map(({ truth }) => truth);
      const events = script.events.filter(({ kind }) => sound || kind === 'visual');
      const count = (type: string): number => told.filter((truth) => truth.type === type).length;
      expect(count('act') + count('sound') + count('speech'), caption).toBe(events.length);
      expect(count('object')).toBe(script.objects.filter(({ hidden }) => !hidden).length);
      expect([count('background'), count('screen-word')]).toEqual([1, script.text === null ? 0 : 1]);
      expect(count('silence')).toBe(sound && script.events.every(({ kind }) => kind === 'visual') ? 1 : 0);
      const beats = new Set(events.map(({ beat }) => beat)).size;
      expect([count('order'), count('while')]).toEqual([Math.max(0, beats - 1), events.length - beats]);
    }
  });
});
