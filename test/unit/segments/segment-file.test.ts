import { describe, expect, test } from 'vitest';
import { bestCut, cutWindow, marksWorthALook, segmentRules, worthALook } from '../../../src/segments/choose-cut.ts';
import type { FileScan } from '../../../src/segments/scan.ts';
import { segmentFile, type Segment } from '../../../src/segments/segment-file.ts';
import { shotChanges, SMALL, type FrameLook } from '../../../src/segments/shots.ts';
import { heardParts, levelsOf, SCAN_RATE } from '../../../src/segments/silence.ts';
import { SeededRandom } from '../../fixtures/seeded-random.ts';

const RULES = segmentRules(undefined);
const cut = (time: number) => ({ time, kind: 'cut' as const });

/** What the scan of a file was asked for. */
interface Asked {
  readonly marks: number[];
  readonly blocks: number[];
}

/** A file of 25 frames a second with these shot changes and sounds. Glimpses tell changes two frames late. */
function fileOf(
  seconds: number,
  shots: readonly number[],
  heard?: ReturnType<typeof heardParts>,
  { gap = 0, marks, asked }: { gap?: number; marks?: readonly number[]; asked?: Asked } = {},
): FileScan {
  const inside = (from: number, to: number, times: readonly number[]): number[] =>
    times.filter((time) => time >= from && time < to);
  const late = shots.map((time) => time + 0.08);
  const frameTimes = Float64Array.from({ length: seconds * 25 }, (_, frame) => frame / 25 + (frame >= 250 ? gap : 0));
  return {
    clock: { zero: 0, frameTimes, isTold: true, durationSeconds: seconds + gap },
    shots: (from, to) => Promise.resolve(inside(from, to, shots).map(cut)),
    glimpses: (from, to) => {
      asked?.blocks.push(from);
      return Promise.resolve(inside(from, to, late).map(cut));
    },
    sounds: () => Promise.resolve(heard),
    keys: () => [],
    marks: (from, to) => ({ times: inside(from, to, marks ?? []), by: marks === undefined ? 'nothing' : 'keys' }),
    shotAt: (mark) => {
      asked?.marks.push(mark);
      return Promise.resolve(
        inside(mark - 0.2, mark + 0.001, shots)
          .map(cut)
          .at(-1),
      );
    },
  };
}

async function segmentsOf(scan: FileScan, start = 0, rules = RULES): Promise<Segment[]> {
  const segments: Segment[] = [];
  for await (const segment of segmentFile(scan, start, scan.clock.durationSeconds, rules)) segments.push(segment);
  return segments;
}

describe('the choice of a cut', () => {
  const window = { from: 15, to: 90 };
  const heard = {
    silences: [
      { from: 40, to: 41 },
      { from: 50, to: 52 },
    ],
    steady: [{ from: 60, to: 85 }],
  };

  test.each([
    ['a shot change in silence', [44, 51], heard, { time: 51, reason: 'shot in silence' }],
    ['a shot change in music', [44, 62, 70], heard, { time: 62, reason: 'shot' }],
    ['a pause before a shot change in speech', [44], heard, { time: 40.5, reason: 'silence' }],
    ['a shot change in speech', [20, 44], { silences: [], steady: [] }, { time: 44, reason: 'shot in speech' }],
    ['the length', [], { silences: [], steady: [] }, { time: 45, reason: 'length' }],
    ['the nearest shot change of a silent film', [20, 43, 50], undefined, { time: 43, reason: 'shot in silence' }],
    ['the length, where what changes is outside', [10, 95], undefined, { time: 45, reason: 'length' }],
  ] as const)('is %s', (_name, shots, sounds, expected) => {
    expect(bestCut(window, 45, shots.map(cut), sounds, [])).toEqual(expected);
  });

  test('in a pause is a key frame, where it has one', () => {
    expect(bestCut(window, 45, [], heard, [40.2, 44, 51.5])).toEqual({ time: 40.2, reason: 'silence' });
  });

  test('looks at marks in pauses first; without pauses at those in music, then at the others', () => {
    const marks = { times: [16, 40.4, 44, 50.5, 62, 84], by: 'keys' } as const;
    expect(marksWorthALook(marks, 45, heard)).toEqual([40.4, 50.5]);
    expect(marksWorthALook(marks, 45, { silences: [], steady: heard.steady })).toEqual([62, 84, 44]);
    expect(marksWorthALook(marks, 45, undefined)).toEqual([44, 40.4, 50.5]);
  });

  test('looks at few stretches, the nearest to the target first, and only where it may cut', () => {
    const untold = { times: [], by: 'nothing' } as const;
    expect(worthALook(window, 45, undefined, untold)).toEqual([
      { from: 41, to: 49 },
      { from: 33, to: 41 },
      { from: 49, to: 57 },
    ]);
    const far = { silences: [{ from: 80, to: 80.3 }], steady: [] };
    expect(worthALook(window, 45, far, untold)).toEqual([{ from: 73, to: 81 }]);
    expect(worthALook(window, 45, undefined, { times: [], by: 'keys' })).toHaveLength(1);
    expect(worthALook(window, 45, heard, { times: [], by: 'sizes' })).toHaveLength(1);
    expect(worthALook(window, 45, heard, { times: [], by: 'keys' })).toEqual([]);
  });

  test('is not asked for where the rest is one segment', () => {
    expect(cutWindow(0, 67.5, RULES)).toBeUndefined();
    expect(cutWindow(10, 80, RULES)).toEqual({ from: 25, to: 65 });
  });
});

describe('segments', () => {
  test('cover a file without gaps, within their lengths, at frames, whatever it shows', async () => {
    const rng = new SeededRandom(7);
    const random = (): number => rng.unit();
    for (let round = 0; round < 60; round++) {
      const seconds = 70 + Math.floor(random() * 500);
      const shots = Array.from({ length: Math.floor(random() * 80) }, () => Math.floor(random() * seconds * 25) / 25);
      const silences = Array.from({ length: Math.floor(random() * 40) }, () => random() * seconds);
      const heard = { silences: silences.map((from) => ({ from, to: from + 0.4 })), steady: [] };
      const segments = await segmentsOf(fileOf(seconds, shots, round % 3 === 0 ? undefined : heard));
      expect(segments[0]?.start).toBe(0);
      expect(segments.at(-1)?.end).toBe(seconds);
      for (const [index, { start, end }] of segments.entries()) {
        expect(segments[index + 1]?.start ?? end).toBe(end);
        expect(end - start).toBeGreaterThanOrEqual(RULES.least - 0.05);
        expect(end - start).toBeLessThanOrEqual(RULES.most + 0.05);
        expect(Math.abs(end * 25 - Math.round(end * 25))).toBeLessThan(1e-6);
      }
    }
  });

  test('of a part start where it starts', async () => {
    const segments = await segmentsOf(fileOf(200, [140]), 95);
    expect(segments.map(({ start, end }) => [start, end])).toEqual([
      [95, 140],
      [140, 200],
    ]);
  });

  test('end at the first frame of a shot, which a glimpse tells late', async () => {
    const asked: Asked = { marks: [], blocks: [] };
    const segments = await segmentsOf(fileOf(120, [43.2, 48.6], undefined, { asked }));
    expect(segments[0]).toMatchObject({ end: 43.2, reason: 'shot in silence' });
    expect([asked.marks, asked.blocks[0], segments[1]?.reason]).toEqual([[], 41, 'length']);
  });

  test('end at the shot change of a mark, without a look at the pictures around', async () => {
    const asked: Asked = { marks: [], blocks: [] };
    const marks = [30, 41.12, 44];
    const segments = await segmentsOf(fileOf(100, [41], undefined, { marks, asked }));
    expect(segments.map(({ end }) => end)).toEqual([41, 100]);
    expect(asked).toEqual({ marks: [44, 41.12], blocks: [] });
    // the encoder saw something else than a shot change
    const other = await segmentsOf(fileOf(100, [], undefined, { marks, asked }));
    expect(other[0]).toMatchObject({ end: 45, reason: 'length' });
    expect(asked.blocks).toHaveLength(1);
  });

  test('keep frames on both sides of a gap of minutes', async () => {
    const file = fileOf(30, [], undefined, { gap: 300 });
    const segments = await segmentsOf(file);
    expect(segments.length).toBeGreaterThan(1);
    for (const { start, end } of segments) {
      const frames = file.clock.frameTimes.filter((time) => time >= start && time < end);
      expect(frames.length).toBeGreaterThanOrEqual(2);
    }
  });
});

/** Frames of a moving bar over a ground whose levels, and colours, are given. */
function frames(levels: readonly number[], bar = 90, colours: readonly number[] = []): FrameLook[] {
  let before = 0;
  return levels.map((level, index) => {
    const small = Uint8Array.from({ length: SMALL.width * SMALL.height }, (_, pixel) => {
      const isBar = Math.abs((pixel % SMALL.width) - 8 - ((index / 4) % 8)) < 2;
      return Math.min(255, Math.max(0, level + (isBar && level > 5 ? bar : 0)));
    });
    const score = index === 0 ? 0 : Math.min(100, Math.abs(level - before) / 2.55);
    before = level;
    const colour = new Uint8Array(2 * SMALL.width * SMALL.height).fill(colours[index] ?? 128);
    return { time: index / 25, score, small, colour };
  });
}

const still = (level: number, count: number): number[] => Array.from({ length: count }, () => level);
const ramp = (from: number, to: number, count: number): number[] =>
  Array.from({ length: count }, (_, at) => from + ((to - from) * (at + 1)) / (count + 1));

describe('shot changes', () => {
  test('are cuts at their first frame, strong or weak', () => {
    expect(shotChanges(frames([...still(60, 20), ...still(140, 20), ...still(122, 20)]))).toEqual([
      { time: 0.8, kind: 'cut' },
      { time: 1.6, kind: 'cut' },
    ]);
  });

  test('are no flashes, and no motion', () => {
    expect(shotChanges(frames([...still(60, 20), ...still(150, 2), ...still(60, 20)]))).toEqual([]);
    expect(shotChanges(frames(still(60, 60)))).toEqual([]);
  });

  test('are cuts between shots of the same brightness in another colour, and no coloured flashes', () => {
    const ground = still(90, 60);
    const cut = frames(ground, 90, [...still(100, 20), ...still(150, 40)]);
    expect(shotChanges(cut)).toEqual([{ time: 0.8, kind: 'cut' }]);
    expect(shotChanges(frames(ground, 90, [...still(100, 20), ...still(150, 2), ...still(100, 38)]))).toEqual([]);
  });

  test('are no objects that fade', () => {
    const looks = (share: number): FrameLook[] =>
      frames(still(40, 90), 0).map((look, index) => {
        const level = Math.max(40, 160 - Math.max(0, index - 30) * 6);
        return { ...look, small: look.small.map((ground, at) => (at < share * look.small.length ? level : ground)) };
      });
    expect(shotChanges(looks(0.3))).toEqual([]);
    expect(shotChanges(looks(0.9))).toMatchObject([{ kind: 'fade' }]);
  });

  test('are fades in the middle of black, and dissolves in their middle', () => {
    const black = shotChanges(
      frames([...still(80, 20), ...ramp(80, 0, 8), ...still(0, 9), ...ramp(0, 120, 8), ...still(120, 20)]),
    );
    expect(black).toHaveLength(1);
    expect(Math.abs((black[0]?.time ?? 0) - 32 / 25)).toBeLessThan(0.1);
    const mixed = shotChanges(frames([...still(60, 30), ...ramp(60, 160, 20), ...still(160, 30)]));
    expect(mixed).toHaveLength(1);
    expect(mixed[0]?.kind).toBe('fade');
    expect(Math.abs((mixed[0]?.time ?? 0) - 40 / 25)).toBeLessThan(0.2);
  });
});

describe('pauses', () => {
  /** Bursts of sound on a ground of noise: [seconds, loudness]. */
  function sound(pieces: readonly (readonly [seconds: number, level: number])[]): Float32Array {
    const rng = new SeededRandom(3);
    return Float32Array.from(
      pieces.flatMap(([seconds, level]) =>
        Array.from({ length: Math.round(seconds * SCAN_RATE) }, () => (rng.unit() * 2 - 1) * level),
      ),
    );
  }

  test.each([0, 0.001, 0.02])('of speech are found over a ground of loudness %d, with a margin', (ground) => {
    const wave = sound([
      [2, 0.4],
      [0.6, ground],
      [1, 0.3],
      [0.1, ground],
      [1, 0.4],
      [1, ground],
      [1, 0.4],
    ]);
    const { silences, steady } = heardParts(levelsOf(wave), 10);
    expect(silences.map(({ from, to }) => [from, to].map((time) => Number(time.toFixed(2))))).toEqual([
      [12.04, 12.56],
      [14.74, 15.66],
    ]);
    expect(steady).toEqual([]);
  });

  test('are not in music, which is steady; a silent film is one pause', () => {
    const music = heardParts(levelsOf(sound([[30, 0.3]])), 0);
    expect(music).toEqual({ silences: [], steady: [{ from: 0, to: 30 }] });
    expect(heardParts(levelsOf(sound([[30, 0]])), 0)).toMatchObject({
      silences: [{ from: 0.04, to: 29.96 }],
      steady: [],
    });
  });
});
