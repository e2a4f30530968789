import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { layoutMedia } from '../../../src/prompt/layout.ts';
import type { RunKind } from '../../../src/prompt/layout.ts';
import { tmropePositions } from '../../../src/prompt/positions.ts';
import type { MediaTokens } from '../../../src/prompt/types.ts';
import { goldenJson, goldenTensors } from '../../fixtures/golden.ts';

const config = { vision: { mergeSize: 2 }, positionIdPerSeconds: 25, secondsPerChunk: 2 };

interface RopeRow {
  readonly mode: 'av' | 'video' | 'audio';
  readonly grid: [number, number, number] | null;
  readonly audio_tokens: number;
  readonly second_per_grid: number;
  readonly text_before: number;
  readonly text_after: number;
  readonly length: number;
  readonly run_lengths: string;
  readonly position_sums: number[];
  readonly position_max: number;
  readonly last_position: number[];
  readonly rope_delta: number;
  readonly positions_sha256: string;
}

const rows = goldenJson<RopeRow[]>('processing/rope.json');

function mediaOf(row: RopeRow): MediaTokens {
  if (row.mode === 'audio') return { kind: 'audio', audioTokens: row.audio_tokens };
  return {
    kind: 'video',
    gridThw: row.grid!,
    secondPerGrid: row.second_per_grid,
    audioTokens: row.mode === 'av' ? row.audio_tokens : undefined,
  };
}

function positionsOf(row: RopeRow): { positions: Int32Array; ropeDelta: number } {
  return tmropePositions(
    [
      { kind: 'text', length: row.text_before },
      { kind: 'media', media: mediaOf(row) },
      { kind: 'text', length: row.text_after },
    ],
    config,
  );
}

const NAMES: Record<RunKind, string> = {
  'vision-start': 'vision_bos',
  'vision-end': 'vision_eos',
  'audio-start': 'audio_bos',
  'audio-end': 'audio_eos',
  video: 'V',
  image: 'I',
  audio: 'A',
};

/** Neighbouring runs of one kind are told as one, as in exactness.md, Golden data. */
function readable(media: MediaTokens): string {
  const merged: { name: string; count: number }[] = [];
  for (const { kind, count } of layoutMedia(media, config)) {
    const last = merged.at(-1);
    if (last?.name === NAMES[kind]) last.count += count;
    else merged.push({ name: NAMES[kind], count });
  }
  return merged.map(({ name, count }) => `${name}*${count}`).join(' ');
}

const triples = (positions: Int32Array): string[] => {
  const length = positions.length / 3;
  return Array.from({ length }, (_, index) =>
    [positions[index], positions[length + index], positions[2 * length + index]].join(),
  );
};

describe('the order of media tokens', () => {
  it('is that of the reference in all 200 rows of the table', () => {
    expect(rows).toHaveLength(200);
    expect(rows.map(mediaOf).map(readable)).toEqual(rows.map((row) => row.run_lengths));
  });

  it.each([
    [[2, 20, 20], 50, 'V*200 A*50'],
    [[3, 20, 28], 60, 'V*280 A*50 V*140 A*10'],
    [[5, 20, 30], 82, 'V*300 A*50 V*300 A*32 V*150'],
    [[4, 18, 32], 112, 'V*288 A*50 V*288 A*62'],
  ] as const)('weaves grid %j and %i audio tokens into %s', (gridThw, audioTokens, expected) => {
    expect(readable({ kind: 'video', gridThw, secondPerGrid: 1, audioTokens })).toBe(
      `vision_bos*1 audio_bos*1 ${expected} audio_eos*1 vision_eos*1`,
    );
  });

  it('puts pictures that begin late where they are seen: whole chunks of sound come first', () => {
    const media = { kind: 'video', gridThw: [3, 20, 20], secondPerGrid: 1, startSeconds: 5, audioTokens: 200 } as const;
    expect(readable(media)).toBe('vision_bos*1 audio_bos*1 A*100 V*100 A*50 V*200 A*50 audio_eos*1 vision_eos*1');
    const { positions } = tmropePositions([{ kind: 'media', media }], config);
    const [first = '', second = ''] = triples(positions).filter((_, token) => token === 102 || token === 252);
    expect([first, second]).toEqual(['126,1,1', '151,1,1']);
  });

  it('has no audio tokens for a sound that is too short for one', () => {
    expect(readable({ kind: 'video', gridThw: [1, 4, 4], secondPerGrid: 1, audioTokens: 0 })).toBe(
      'vision_bos*1 V*4 vision_eos*1',
    );
  });
});

describe('TMRoPE positions', () => {
  it('are those of the reference, number for number, in all 200 rows of the table', () => {
    for (const [index, row] of rows.entries()) {
      const { positions, ropeDelta } = positionsOf(row);
      const axes = [0, 1, 2].map((axis) => positions.subarray(axis * row.length, (axis + 1) * row.length));
      expect({
        index,
        length: positions.length / 3,
        sums: axes.map((axis) => axis.reduce((sum, value) => sum + value, 0)),
        max: positions.reduce((most, value) => Math.max(most, value), 0),
        last: axes.map((axis) => axis.at(-1)),
        ropeDelta,
        sha256: createHash('sha256').update(positions).digest('hex'),
      }).toEqual({
        index,
        length: row.length,
        sums: row.position_sums,
        max: row.position_max,
        last: row.last_position,
        ropeDelta: row.rope_delta,
        sha256: row.positions_sha256,
      });
    }
  });

  it('agree token by token where the table stores them', () => {
    const tensors = goldenTensors('processing/rope.safetensors');
    for (let index = 0; index < 20; index++)
      expect([...positionsOf(rows[index]!).positions]).toEqual([
        ...(tensors[`${index}.position_ids`]!.data as Int32Array),
      ]);
  });

  it('follow the worked example: three words, two steps of video with two seconds of sound, two words', () => {
    const media = { kind: 'video', gridThw: [2, 4, 6], secondPerGrid: 1, audioTokens: 50 } as const;
    const { positions, ropeDelta } = tmropePositions(
      [
        { kind: 'text', length: 3 },
        { kind: 'media', media },
        { kind: 'text', length: 2 },
      ],
      config,
    );
    const rowsOfPositions = triples(positions);
    expect(rowsOfPositions.slice(0, 5)).toEqual(['0,0,0', '1,1,1', '2,2,2', '3,3,3', '3,3,3']);
    expect(rowsOfPositions.slice(5, 17)).toEqual([
      '4,4,4',
      '4,4,5',
      '4,4,6',
      '4,5,4',
      '4,5,5',
      '4,5,6',
      '29,4,4',
      '29,4,5',
      '29,4,6',
      '29,5,4',
      '29,5,5',
      '29,5,6',
    ]);
    expect(rowsOfPositions.slice(66)).toEqual(['53,53,53', '54,54,54', '54,54,54', '55,55,55', '56,56,56']);
    expect(ropeDelta).toBe(-14);
  });

  it('end after the last chunk but decode after the highest position, as the reference does', () => {
    const media = { kind: 'video', gridThw: [1, 2, 120], secondPerGrid: 1, audioTokens: 10 } as const;
    const { positions, ropeDelta } = tmropePositions(
      [
        { kind: 'text', length: 3 },
        { kind: 'media', media },
        { kind: 'text', length: 2 },
      ],
      config,
    );
    const length = positions.length / 3;
    expect(triples(positions).slice(-4)).toEqual(['14,14,14', '14,14,14', '15,15,15', '16,16,16']);
    expect(length + ropeDelta).toBe(64);
  });
});
