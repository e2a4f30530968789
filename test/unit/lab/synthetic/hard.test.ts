import { describe, expect, it } from 'vitest';
import { captionPieces, hardCaption } from '../../../../src/lab/synthetic/hard/hard-caption.ts';
import { HardPainter, placesAt, shotNumberAt } from '../../../../src/lab/synthetic/hard/hard-painter.ts';
import {
  isHeard,
  sampleHardScript,
  type HardScript,
  type Shot,
  type ShotEvent,
} from '../../../../src/lab/synthetic/hard/hard-script.ts';
import { hardSoundTrack, makeHardSound, playMusic } from '../../../../src/lab/synthetic/hard/hard-sound.ts';
import { readCaption, type SceneEvent } from '../../../../src/lab/synthetic/read-caption.ts';
import { Rng } from '../../../../src/lab/synthetic/rng.ts';
import { keypointsOf, scoreCaption } from '../../../../src/lab/synthetic/score-caption.ts';
import { WORLD } from '../../../../src/lab/synthetic/vocabulary.ts';
import { worldReader } from '../../../../src/lab/verify/world-reader.ts';

const LINES = ['go left', 'stop', 'yes no one two'];
const SEEDS = Array.from({ length: 300 }, (_, seed) => seed);
const sampled = (seed: number): HardScript => sampleHardScript(seed, new Rng(seed, 'test'), LINES);
const SCRIPTS = SEEDS.map(sampled);
const SHOTS = SCRIPTS.flatMap(({ shots }) => shots);
const { signal } = new AbortController();

const level = (wave: Float32Array): number =>
  Math.sqrt(wave.reduce((sum, value) => sum + value * value, 0) / wave.length);

describe('a script of the hard level', () => {
  it('is the same for the same seed, and has two to five shots that follow each other in at most a minute', () => {
    expect(SEEDS.map(sampled)).toEqual(SCRIPTS);
    for (const { shots, duration, seed } of SCRIPTS) {
      expect(shots.length >= 2 && shots.length <= 5 && duration <= 60.001, `seed ${seed}`).toBe(true);
      let end = 0;
      for (const [index, shot] of shots.entries()) {
        expect(shot.start).toBeCloseTo(end, 9);
        expect(shot.transition === null).toBe(index === 0);
        expect(shot.background).not.toBe(shots[index - 1]?.background);
        end = shot.start + shot.duration;
      }
      expect(duration).toBeCloseTo(end, 9);
    }
  });

  it('shows at most one change and plays at most two sounds in a beat, each inside its shot', () => {
    for (const { events, duration } of SHOTS) {
      for (const beat of new Set(events.map((event) => event.beat))) {
        const of = events.filter((event) => event.beat === beat);
        expect(of.filter((event) => !isHeard(event)).length).toBeLessThanOrEqual(1);
        expect(of.filter(isHeard).length).toBeLessThanOrEqual(2);
        expect(of.filter(({ kind }) => kind === 'speech').length).toBeLessThanOrEqual(1);
      }
      for (const event of events) expect(event.start >= 0 && event.start < duration).toBe(true);
    }
    const pairs = SHOTS.filter(({ events }) =>
      events.some((one) =>
        events.filter(isHeard).some((other) => other !== one && other.beat === one.beat && isHeard(one)),
      ),
    );
    expect(pairs.length).toBeGreaterThan(50);
  });

  it('uses everything the level has', () => {
    const events = SHOTS.flatMap(({ events: all }) => all);
    const used = (kind: ShotEvent['kind'], name: (event: never) => string): Set<string> =>
      new Set(events.filter((event) => event.kind === kind).map((event) => name(event as never)));
    const { hard } = WORLD;
    expect(used('camera', ({ move }: { move: string }) => move)).toEqual(new Set(Object.keys(hard.cameras)));
    expect(used('pass', ({ how }: { how: string }) => how)).toEqual(new Set(Object.keys(hard.passes)));
    expect(used('speech', ({ view }: { view: string }) => view)).toEqual(new Set(['on', 'off']));
    expect(used('sound', ({ sound }: { sound: string }) => sound)).toEqual(
      new Set([...Object.keys(WORLD.sounds), ...Object.keys(hard.sounds)]),
    );
    expect(new Set(SHOTS.flatMap(({ figure }) => figure?.kind ?? []))).toEqual(new Set(Object.keys(hard.figures)));
    expect(new Set(SCRIPTS.map(({ music }) => music))).toEqual(new Set([null, ...Object.keys(hard.music)]));
    expect(new Set(SHOTS.map(({ transition }) => transition))).toEqual(
      new Set([null, ...Object.keys(hard.transitions)]),
    );
    expect(events.some(({ kind }) => kind === 'word')).toBe(true);
  });

  it('has bells that are seen and do not ring, and dogs that are heard and not seen', () => {
    const has = (shot: Shot, figure: string, sound: string): [seen: boolean, heard: boolean] => [
      shot.figure?.kind === figure,
      shot.events.some((event) => event.kind === 'sound' && event.sound === sound),
    ];
    for (const [figure, sound] of [
      ['bell', 'ring'],
      ['dog', 'bark'],
    ] as const) {
      const kinds = new Set(SHOTS.map((shot) => has(shot, figure, sound).join()));
      expect(kinds).toEqual(new Set(['true,true', 'true,false', 'false,true', 'false,false']));
    }
  });

  it('passes only what stands there, and ends beyond it in the picture', () => {
    let passes = 0;
    for (const shot of SHOTS)
      for (const event of shot.events) {
        if (event.kind !== 'pass') continue;
        passes += 1;
        const object = shot.objects[event.object]!;
        const beyond = 2 * event.past - object.slot;
        const others = [shot.figure?.slot, ...shot.objects.filter((other) => other !== object).map(({ slot }) => slot)];
        expect([others.includes(event.past), others.includes(beyond), beyond in WORLD.slots]).toEqual([
          true,
          false,
          true,
        ]);
      }
    expect(passes).toBeGreaterThan(30);
  });
});

describe.each([true, false])('its caption, sound %s', (sound) => {
  it('has full recall and no false claim, and is read back event by event', () => {
    for (const script of SCRIPTS) {
      const caption = hardCaption(script, sound);
      expect(scoreCaption(caption, caption), caption).toMatchObject({ recall: 1, falseClaims: 0 });
      const { beats, facts } = readCaption(caption);
      const events = script.shots.flatMap((shot) => shot.events.filter((event) => sound || !isHeard(event)));
      expect(beats.flat().length, caption).toBe(events.length + script.shots.length - 1);
      const count = (type: string): number => facts.filter((fact) => fact.type === type).length;
      expect(count('background')).toBe(script.shots.length);
      expect(count('figure')).toBe(script.shots.filter(({ figure }) => figure !== null).length);
      expect(count('screen-word')).toBe(script.shots.filter(({ text }) => text !== null).length);
      expect(count('music') === 1).toBe(sound && script.music !== null);
      if (!sound) expect(caption).not.toMatch(/heard|says|music|sound/);
    }
  });

  it('consists of pieces that name what they tell of', () => {
    for (const script of SCRIPTS) {
      const pieces = captionPieces(script, sound);
      expect(pieces.map(({ text }) => text).join('')).toBe(hardCaption(script, sound));
      for (const { text, subject } of pieces) {
        if (subject?.kind !== 'words') continue;
        const event = script.shots[subject.shot]!.events[subject.event];
        expect(event?.kind === 'speech' && event.text.slice(subject.from, subject.to)).toBe(text.trim());
      }
    }
  });
});

describe('a caption of the hard level', () => {
  const TEXT =
    'On a plain navy background there is a dog on the left and a small red circle in the center. ' +
    'At first, the red circle passes behind the dog while a barking dog is heard and the man says "go left". ' +
    'The picture fades. On a striped teal background there is a bell on the right. ' +
    'At first, the camera zooms in. Then, the word changes to "STOP" while a woman off screen says "no". ' +
    'Next, the bell swings. Fast music plays throughout.';

  it('is read as facts and events of every kind', () => {
    const { facts, beats } = readCaption(TEXT);
    expect(facts).toContainEqual({ type: 'figure', figure: 'dog', place: 'on the left' });
    expect(facts).toContainEqual({ type: 'music', music: 'fast' });
    expect(beats).toEqual<SceneEvent[][]>([
      [
        { type: 'pass', color: 'red', shape: 'circle', how: 'behind', past: 'dog' },
        { type: 'sound', sound: 'bark' },
        { type: 'speech', speaker: 'man', content: 'go left', view: 'on' },
      ],
      [{ type: 'transition', how: 'fade' }],
      [{ type: 'camera', move: 'in' }],
      [
        { type: 'word-change', to: 'STOP' },
        { type: 'speech', speaker: 'woman', content: 'no', view: 'off' },
      ],
      [{ type: 'figure-act', figure: 'bell' }],
    ]);
    const kinds = new Set(keypointsOf(readCaption(TEXT)).map(({ category }) => category));
    expect(kinds.size).toBe(5);
  });

  it.each([
    ['the man says', 'a man off screen says'],
    ['passes behind', 'passes in front of'],
    ['The picture fades', 'The picture cuts'],
    ['zooms in', 'zooms out'],
    ['a bell on', 'a dog on'],
    ['a barking dog', 'a ringing bell'],
    ['Fast music', 'Calm music'],
  ])('loses %s told as %s, and makes a false claim', (right, wrong) => {
    const { recall, falseClaims } = scoreCaption(TEXT.replace(right, wrong), TEXT);
    expect(recall).toBeLessThan(1);
    expect(falseClaims).toBe(1);
  });

  it('is taken apart into claims, and put together without those that are dropped', async () => {
    const reader = worldReader();
    const claims = await reader.claims(TEXT, signal);
    expect(claims.length).toBe(14);
    expect(
      await reader.without(
        TEXT,
        claims,
        claims.map(() => false),
        signal,
      ),
    ).toBe(TEXT);
    const without = async (...parts: string[]): Promise<string> =>
      reader.without(
        TEXT,
        claims,
        claims.map(({ text }) => parts.some((part) => text.includes(part))),
        signal,
      );
    expect(await without('barking')).toContain('passes behind the dog while the man says "go left".');
    expect(await without('picture fades', 'music')).not.toMatch(/fades|music/);
  });
});

describe('its frames', () => {
  const changed = (one: Uint8Array, other: Uint8Array): number =>
    one.reduce((count, value, index) => count + (Math.abs(value - other[index]!) > 12 ? 1 : 0), 0) / one.length;

  it('change at once at a cut, and over half a second at a fade', () => {
    let [cuts, fades] = [0, 0];
    for (const script of SCRIPTS.slice(0, 24)) {
      const painter = new HardPainter(script);
      for (const { start, transition } of script.shots.slice(1)) {
        const [before, at, mid] = [start - 1 / script.fps, start, start + 0.3].map((time) => painter.frameAt(time));
        if (transition === 'cut') expect(changed(before!, at!), `seed ${script.seed}`).toBeGreaterThan(0.5);
        if (transition === 'fade') expect(changed(before!, at!), `seed ${script.seed}`).toBeLessThan(0.15);
        if (transition === 'fade') expect(changed(before!, mid!), `seed ${script.seed}`).toBeGreaterThan(0.15);
        if (transition === 'cut') cuts += 1;
        else fades += 1;
      }
    }
    expect(Math.min(cuts, fades)).toBeGreaterThan(5);
  });

  it('show every event of the picture while it lasts', () => {
    for (const script of SCRIPTS.slice(0, 16)) {
      const painter = new HardPainter(script);
      for (const { start, events } of script.shots)
        for (const event of events) {
          if (isHeard(event)) continue;
          const [from, to] = [
            event.start,
            event.kind === 'figure' ? event.start + (event.end - event.start) / 8 : event.end,
          ];
          const [before, after] = [painter.frameAt(start + from), painter.frameAt(start + to)];
          expect(changed(before, after), `seed ${script.seed}: ${JSON.stringify(event)}`).toBeGreaterThan(0.0005);
        }
    }
  });

  it('have a mouth that moves while its person speaks, and only then', () => {
    const shot: Shot = {
      ...{ start: 0, duration: 4, transition: null, background: 'gray', texture: 'plain', text: null, objects: [] },
      figure: { kind: 'man', slot: 1, shift: [0, 0] },
      events: [{ kind: 'speech', beat: 0, start: 1, end: 3, speaker: 'man', text: 'go left', view: 'on' }],
    };
    const script = { ...SCRIPTS[0]!, size: [320, 180] as const, duration: 4, shots: [shot] };
    const painter = new HardPainter(script);
    const frames = [0.5, 1.01, 1.2, 3.5].map((time) => painter.frameAt(time));
    expect(changed(frames[0]!, frames[3]!)).toBe(0);
    expect(changed(frames[1]!, frames[2]!)).toBeGreaterThan(0);
    const off = { ...script, shots: [{ ...shot, events: [{ ...shot.events[0]!, view: 'off' } as ShotEvent] }] };
    const still = new HardPainter(off);
    expect(changed(still.frameAt(1.01), still.frameAt(1.2))).toBe(0);
  });

  it('are where placesAt says, and of the shot that shotNumberAt says', () => {
    for (const script of SCRIPTS) {
      for (const [number, shot] of script.shots.entries()) {
        expect(shotNumberAt(script, shot.start)).toBe(number);
        expect(shotNumberAt(script, shot.start + shot.duration - 1 / script.fps)).toBe(number);
        const { objects, figure } = placesAt(shot, script.size, 0);
        expect([objects.length, figure === null]).toEqual([shot.objects.length, shot.figure === null]);
        for (const { x, y } of [...objects, ...(figure === null ? [] : [figure])])
          expect(x > 0 && y > 0 && x < script.size[0] && y < script.size[1]).toBe(true);
      }
    }
  });
});

describe('its sound', () => {
  const voice = new Float32Array(9000).fill(0.4);

  it('is as long as the clip and in range, and holds each piece within its shot', () => {
    for (const script of SCRIPTS.slice(0, 40)) {
      const { wave, spans } = hardSoundTrack(script, [() => voice]);
      expect(Math.abs(wave.length / WORLD.sampleRate - script.duration)).toBeLessThan(0.001);
      expect(wave.every((value) => Math.abs(value) <= 1)).toBe(true);
      expect(spans.length).toBe(script.shots.flatMap(({ events }) => events.filter(isHeard)).length);
      for (const { shot, start, end } of spans) {
        const of = script.shots[shot]!;
        expect(start >= 0 && end <= of.start + of.duration + 0.001 && end > start, `seed ${script.seed}`).toBe(true);
      }
    }
  });

  it.each(Object.keys(WORLD.hard.sounds))('has an audible %s', (name) => {
    for (const seed of SEEDS.slice(0, 20)) {
      const wave = makeHardSound(new Rng(seed, name), name);
      expect(wave.length / WORLD.sampleRate > 0.3 && wave.length / WORLD.sampleRate < 2).toBe(true);
      expect(level(wave)).toBeGreaterThan(0.03);
      expect(wave.every((value) => Math.abs(value) < 1.6)).toBe(true);
    }
  });

  it.each(Object.keys(WORLD.hard.music))('has %s music that goes on to the end, below the sounds', (name) => {
    const wave = playMusic(new Rng(1, name), name, 5 * WORLD.sampleRate);
    for (const second of [0, 1, 2, 3, 4]) {
      const part = wave.subarray(second * WORLD.sampleRate, (second + 1) * WORLD.sampleRate);
      expect(level(part) > 0.01 && level(part) < 0.15).toBe(true);
    }
  });
});
