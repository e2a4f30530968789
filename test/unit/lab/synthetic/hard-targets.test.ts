import { describe, expect, it } from 'vitest';
import { HardTargets, TABLES, type Grid } from '../../../../models/avocado-nano/recipe/hard-targets.ts';
import { captionPieces } from '../../../../src/lab/synthetic/hard/hard-caption.ts';
import { isHeard, sampleHardScript, type HardScript } from '../../../../src/lab/synthetic/hard/hard-script.ts';
import { hardSoundTrack, type HeardSpan } from '../../../../src/lab/synthetic/hard/hard-sound.ts';
import { Rng } from '../../../../src/lab/synthetic/rng.ts';
import { frameIndices } from '../../../../src/media/sampling.ts';

const LINES = ['go left', 'stop', 'yes no one two'];
const DURATION = 12;
const VOICE = (): Float32Array => new Float32Array(8000);

interface Case {
  readonly script: HardScript;
  readonly grid: Grid;
  readonly times: readonly number[];
  readonly spans: readonly HeardSpan[];
  readonly targets: HardTargets;
}

const CASES = Array.from({ length: 40 }, (_, seed): Case => {
  const script = sampleHardScript(seed, new Rng(seed, 'test'), LINES, { duration: DURATION });
  const [width, height] = script.size;
  const grid = { rows: 3, columns: 5, width, height };
  const times = frameIndices(Math.round(DURATION * script.fps), 2 * DURATION).map((frame) => frame / script.fps);
  const { spans } = hardSoundTrack(script, [VOICE]);
  return { script, grid, times, spans, targets: new HardTargets(script, times, spans, grid) };
});

const CELLS = 15;

describe('targets of the hard level', () => {
  it('are class numbers of their tables, or unclear', () => {
    const tables = [TABLES.shapes, TABLES.colors, TABLES.actions, TABLES.sizes];
    const seen = tables.map(() => new Set<number>());
    for (const { targets } of CASES) {
      const cells = new Int8Array(targets.cells());
      expect(cells).toHaveLength(DURATION * CELLS * 4);
      for (const [index, target] of cells.entries()) seen[index % 4]?.add(target);
      expect(targets.scenes()).toHaveLength(DURATION * 4);
      for (const [index, target] of targets.scenes().entries())
        if (index % 4 > 1) expect(target === -100 || target < TABLES.cameras.length).toBe(true);
    }
    for (const [index, table] of tables.entries()) {
      const known = [...(seen[index] ?? [])].filter((target) => target !== -100);
      expect(Math.min(...known)).toBe(0);
      expect(Math.max(...known)).toBeLessThan(table.length);
      expect(known.length).toBeGreaterThan(table.length / 2);
    }
  });

  it('show an event of an object in a cell whose target is that object, while it happens', () => {
    let found = 0;
    for (const { script, times, targets } of CASES) {
      const cells = new Int8Array(targets.cells());
      const pieces = captionPieces(script, true);
      for (const [index, [, see]] of targets.shown(pieces).entries()) {
        const subject = pieces[index]?.subject;
        if (subject?.kind !== 'event') continue;
        const shot = script.shots[subject.shot]!;
        const event = shot.events[subject.event]!;
        if (event.kind !== 'visual') continue;
        for (const place of see) {
          const step = Math.floor(place / CELLS);
          expect(times[2 * step + 1]! - shot.start).toBeGreaterThan(event.start);
          expect(times[2 * step]! - shot.start).toBeLessThan(event.end);
          const shape = TABLES.shapes[cells[place * 4]!];
          if (shape === shot.objects[event.object]!.shape) found++;
          else expect([...TABLES.shapes]).toContain(shape); // something else stands before it
        }
      }
    }
    expect(found).toBeGreaterThan(100);
  });

  it('say when a sound is heard, and of a line when each word is', () => {
    let heard = 0;
    for (const { script, spans, targets } of CASES) {
      const pieces = captionPieces(script, true);
      for (const [index, [, , hear]] of targets.shown(pieces).entries()) {
        const subject = pieces[index]?.subject;
        if (subject?.kind !== 'event' && subject?.kind !== 'words') {
          expect(hear).toBeNull();
          continue;
        }
        if (!isHeard(script.shots[subject.shot]!.events[subject.event]!)) continue;
        const span = spans.find(({ shot, event }) => shot === subject.shot && event === subject.event)!;
        expect(hear![0]).toBeGreaterThanOrEqual(Math.floor((span.start - 0.13) * 25));
        expect(hear![1]).toBeLessThanOrEqual(Math.floor((span.end + 0.13) * 25) + 1);
        expect(hear![1]).toBeGreaterThan(hear![0]);
        heard++;
      }
    }
    expect(heard).toBeGreaterThan(100);
  });

  it('list the sounds in the order in which they begin', () => {
    for (const { script, spans, targets } of CASES) {
      const first = [...spans].sort((one, other) => one.start - other.start)[0];
      if (first === undefined) continue;
      const event = script.shots[first.shot]!.events[first.event]!;
      const name = event.kind === 'sound' ? event.sound : event.kind === 'speech' ? event.speaker : '';
      expect(targets.sounds()[0]).toBe(name);
    }
  });
});
