import { describe, expect, it } from 'vitest';
import type { Towers } from '../../../src/model/execution/thinker.ts';
import { MonitoredEncoders } from '../../../src/encoder/monitored-encoders.ts';

const NOTHING = new Float32Array(0);

describe('MonitoredEncoders', () => {
  it('is busy while a run is under way, and counts those that came back', async () => {
    let finish: () => void = () => undefined;
    const towers: Towers = {
      dtype: 'bfloat16',
      encodeVision: () =>
        new Promise((resolve) => {
          finish = () => {
            resolve(NOTHING);
          };
        }),
      encodeAudio: async (_mel, _frames, options) => {
        for (const tokens of [5, 8]) options?.onProgress?.(tokens);
        return NOTHING;
      },
    };
    const watched = new MonitoredEncoders(towers);
    expect(watched.dtype).toBe('bfloat16');
    expect([watched.busy, watched.finished]).toEqual([false, 0]);
    const vision = watched.encodeVision(NOTHING, 1, 2, 2);
    expect([watched.busy, watched.finished]).toEqual([true, 0]);
    finish();
    await vision;
    const seen: number[] = [];
    await watched.encodeAudio(NOTHING, 4, { onProgress: (tokens) => seen.push(tokens) });
    expect([watched.busy, watched.finished, seen]).toEqual([false, 3, [5, 8]]);
  });

  it('is not busy after a failure, which counts as no progress', async () => {
    const fail = (): Promise<never> => Promise.reject(new Error('no memory'));
    const watched = new MonitoredEncoders({ dtype: 'float32', encodeVision: fail, encodeAudio: fail });
    await expect(watched.encodeVision(NOTHING, 1, 2, 2)).rejects.toThrow('no memory');
    await expect(watched.encodeAudio(NOTHING, 4)).rejects.toThrow('no memory');
    expect([watched.busy, watched.finished]).toEqual([false, 0]);
  });
});
