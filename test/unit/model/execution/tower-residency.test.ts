import { expect, it } from 'vitest';
import type { Session } from '../../../../src/model/runtime/runtime.ts';
import { onDemandSessions, residentSessions } from '../../../../src/model/execution/tower-residency.ts';

/** Sessions that only say what happens to them, in order. */
function diary(): { told: string[]; load: (name: string, fails?: () => boolean) => () => Promise<Session> } {
  const told: string[] = [];
  const load =
    (name: string, fails = () => false) =>
    async (): Promise<Session> => {
      await Promise.resolve();
      if (fails()) throw new Error(`no memory for ${name}`);
      told.push(`load ${name}`);
      return {
        inputs: [],
        outputs: [],
        run: async () => {
          told.push(`run ${name}`);
          await new Promise((resolve) => setTimeout(resolve, 5));
          told.push(`ran ${name}`);
        },
        release: async () => {
          told.push(`release ${name}`);
        },
      };
    };
  return { told, load };
}

it('On demand, one tower at a time is loaded, and none while the decoder loads', async () => {
  const { told, load } = diary();
  const { vision, audio, decoder } = onDemandSessions({
    vision: load('vision'),
    audio: load('audio'),
    decoder: load('decoder'),
  });
  expect(told).toEqual([]);
  await vision.run({}, {});
  await vision.run({}, {});
  await audio.run({}, {});
  await decoder.run({}, {});
  await decoder.run({}, {});
  expect(told.filter((entry) => !entry.startsWith('ran'))).toEqual([
    'load vision',
    'run vision',
    'run vision',
    'release vision',
    'load audio',
    'run audio',
    'release audio',
    'load decoder',
    'run decoder',
    'run decoder',
  ]);
});

it('Picture and sound asked for at once take turns', async () => {
  const { told, load } = diary();
  const { vision, audio } = onDemandSessions({
    vision: load('vision'),
    audio: load('audio'),
    decoder: load('decoder'),
  });
  await Promise.all([vision.run({}, {}), audio.run({}, {})]);
  expect(told).toEqual([
    'load vision',
    'run vision',
    'ran vision',
    'release vision',
    'load audio',
    'run audio',
    'ran audio',
  ]);
});

it('A tower at work, or just resting between two parts, stays while others decode', async () => {
  const { told, load } = diary();
  const { vision, decoder } = onDemandSessions({
    vision: load('vision'),
    audio: load('audio'),
    decoder: load('decoder'),
  });
  await decoder.run({}, {});
  const encoding = vision.run({}, {});
  await decoder.run({}, {});
  await encoding;
  await decoder.run({}, {});
  await vision.run({}, {});
  expect(told).not.toContain('release vision');
  expect(told.filter((entry) => entry === 'load vision')).toHaveLength(1);
});

it('Nothing is loaded for a run that was cancelled before its turn', async () => {
  const { told, load } = diary();
  const { vision, audio } = onDemandSessions({
    vision: load('vision'),
    audio: load('audio'),
    decoder: load('decoder'),
  });
  const left = new AbortController();
  const first = vision.run({}, {});
  const second = audio.run({}, {}, { signal: left.signal });
  left.abort();
  await expect(second).rejects.toMatchObject({ code: 'aborted' });
  await first;
  expect(told).toEqual(['load vision', 'run vision', 'ran vision']);
});

it('A session that could not be loaded is tried again', async () => {
  const { told, load } = diary();
  let full = true;
  const { vision } = onDemandSessions({
    vision: load('vision', () => full),
    audio: load('audio'),
    decoder: load('decoder'),
  });
  await expect(vision.run({}, {})).rejects.toThrow('no memory');
  full = false;
  await vision.run({}, {});
  expect(told).toEqual(['load vision', 'run vision', 'ran vision']);
  await vision.release();
  expect(told.at(-1)).toBe('release vision');
});

it('Resident sessions are all loaded, or none stays', async () => {
  const { told, load } = diary();
  await residentSessions({ vision: load('vision'), audio: load('audio'), decoder: load('decoder') });
  expect(told).toEqual(['load vision', 'load audio', 'load decoder']);
  told.length = 0;
  await expect(
    residentSessions({ vision: load('vision'), audio: load('audio'), decoder: load('decoder', () => true) }),
  ).rejects.toThrow('no memory');
  expect(told.sort()).toEqual(['load audio', 'load vision', 'release audio', 'release vision']);
});
