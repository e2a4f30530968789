import { expect, it } from 'vitest';
import type { Session } from '../../../../src/model/runtime/runtime.ts';
import { onDemandSessions, residentSessions } from '../../../../src/model/execution/tower-residency.ts';

/** Fake sessions that log what happens to them, in order. */
function loggingSessions(): { log: string[]; load: (name: string, fails?: () => boolean) => () => Promise<Session> } {
  const log: string[] = [];
  const load =
    (name: string, fails = () => false) =>
    async (): Promise<Session> => {
      await Promise.resolve();
      if (fails()) throw new Error(`no memory for ${name}`);
      log.push(`load ${name}`);
      return {
        inputs: [],
        outputs: [],
        run: async () => {
          log.push(`run ${name}`);
          await new Promise((resolve) => setTimeout(resolve, 5));
          log.push(`ran ${name}`);
        },
        release: async () => {
          log.push(`release ${name}`);
        },
      };
    };
  return { log, load };
}

it('On demand, one tower at a time is loaded, and none while the decoder loads', async () => {
  const { log, load } = loggingSessions();
  const { vision, audio, decoder } = onDemandSessions({
    vision: load('vision'),
    audio: load('audio'),
    decoder: load('decoder'),
  });
  expect(log).toEqual([]);
  await vision.run({}, {});
  await vision.run({}, {});
  await audio.run({}, {});
  await decoder.run({}, {});
  await decoder.run({}, {});
  expect(log.filter((entry) => !entry.startsWith('ran'))).toEqual([
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

it('Pictures and sound encoded at the same time run one after the other', async () => {
  const { log, load } = loggingSessions();
  const { vision, audio } = onDemandSessions({
    vision: load('vision'),
    audio: load('audio'),
    decoder: load('decoder'),
  });
  await Promise.all([vision.run({}, {}), audio.run({}, {})]);
  expect(log).toEqual([
    'load vision',
    'run vision',
    'ran vision',
    'release vision',
    'load audio',
    'run audio',
    'ran audio',
  ]);
});

it('A tower that works, or is idle only briefly, stays loaded while others decode', async () => {
  const { log, load } = loggingSessions();
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
  expect(log).not.toContain('release vision');
  expect(log.filter((entry) => entry === 'load vision')).toHaveLength(1);
});

it('Nothing is loaded for a run that was cancelled while it waited', async () => {
  const { log, load } = loggingSessions();
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
  expect(log).toEqual(['load vision', 'run vision', 'ran vision']);
});

it('After a failed load, the next run tries again', async () => {
  const { log, load } = loggingSessions();
  let full = true;
  const { vision } = onDemandSessions({
    vision: load('vision', () => full),
    audio: load('audio'),
    decoder: load('decoder'),
  });
  await expect(vision.run({}, {})).rejects.toThrow('no memory');
  full = false;
  await vision.run({}, {});
  expect(log).toEqual(['load vision', 'run vision', 'ran vision']);
  await vision.release();
  expect(log.at(-1)).toBe('release vision');
});

it('Resident sessions are all loaded, or all released', async () => {
  const { log, load } = loggingSessions();
  await residentSessions({ vision: load('vision'), audio: load('audio'), decoder: load('decoder') });
  expect(log).toEqual(['load vision', 'load audio', 'load decoder']);
  log.length = 0;
  await expect(
    residentSessions({ vision: load('vision'), audio: load('audio'), decoder: load('decoder', () => true) }),
  ).rejects.toThrow('no memory');
  expect(log.sort()).toEqual(['load audio', 'load vision', 'release audio', 'release vision']);
});
