import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { captionRequest } from '../../../src/captioner/caption-options.ts';
import type { Captioner } from '../../../src/captioner/captioner.ts';
import { EngineHost } from '../../../src/engine-process/engine-host.ts';
import type { EngineSettings, FromEngine } from '../../../src/engine-process/messages.ts';
import { AvocadoError } from '../../../src/base/errors.ts';
import { fakeCaptioner } from '../../fixtures/fake-captioner.ts';
import { MODEL } from './fake-engine.ts';

const SETTINGS: EngineSettings = {
  modelDir: '/models/fake',
  precision: undefined,
  device: { type: 'cpu' },
  runtime: undefined,
  threads: 0,
  spinning: false,
  slots: 2,
  context: undefined,
  cacheDir: undefined,
  warmUpFiles: ['/warm/picture.png', '/warm/sound.wav'],
};
const REQUEST = captionRequest('/clips/a.mp4', {});

let said: FromEngine[];
let ends: string[];
let host: EngineHost;

function hostOf(openCaptioner: () => Promise<Captioner>): EngineHost {
  return new EngineHost({
    describe: async () => MODEL,
    openCaptioner: async ({ onProgress }) => {
      onProgress?.('Loading decoder', 2, 3);
      return openCaptioner();
    },
    send: async (message) => {
      said.push(message);
    },
    exit: (code) => ends.push(`exit ${code}`),
    die: () => ends.push('die'),
  });
}

beforeEach(() => {
  said = [];
  ends = [];
});
afterEach(async () => {
  await host.close(); // the heartbeat's timer
});

/** types of all messages but heartbeats */
function saidTypes(): string[] {
  return said.map(({ type }) => type).filter((type) => type !== 'heartbeat');
}

function endings(id: number): string[] {
  return said
    .flatMap((message) => (message.type === 'events' ? message.batches : []))
    .filter((batch) => batch.id === id)
    .flatMap(({ events }) => events.map(({ type }) => type).filter((type) => type.startsWith('caption-')));
}

async function openWith(captioner: Captioner): Promise<void> {
  host = hostOf(async () => captioner);
  host.take({ type: 'open', settings: SETTINGS });
  await vi.waitFor(() => {
    expect(saidTypes()).toContain('ready');
  });
}

describe('an engine process that starts', () => {
  it('tells its model, its progress, warms up with every file, and then that it is ready', async () => {
    const captioner = fakeCaptioner();
    await openWith(captioner);
    expect(saidTypes()).toEqual(['described', 'progress', 'progress', 'ready']);
    expect(said.find(({ type }) => type === 'described')).toEqual({ type: 'described', model: MODEL });
    expect(said).toContainEqual({ type: 'progress', text: 'Warming up', done: 0, total: 1 });
    expect(captioner.seen.map(({ request }) => [request.path, request.maxTokens])).toEqual([
      ['/warm/picture.png', 2],
      ['/warm/sound.wav', 2],
    ]);
  });

  it('beats from its first moment, with numbers as soon as there are any', async () => {
    let opened: (captioner: Captioner) => void = () => undefined;
    host = hostOf(
      () =>
        new Promise((resolve) => {
          opened = resolve;
        }),
    );
    host.take({ type: 'open', settings: SETTINGS });
    await vi.waitFor(() => {
      expect(said).toContainEqual({ type: 'heartbeat', stats: undefined, lastStepAgeMs: undefined });
    }, 5000);
    const captioner = fakeCaptioner();
    opened(captioner);
    await vi.waitFor(() => {
      expect(said).toContainEqual({
        type: 'heartbeat',
        stats: captioner.numbers,
        lastStepAgeMs: expect.any(Number) as number,
      });
    }, 5000);
  });

  it('that cannot open its model says why and ends', async () => {
    host = hostOf(async () => {
      throw new AvocadoError('device_unavailable', 'CUDA cannot be used.', { param: 'device' });
    });
    host.take({ type: 'open', settings: SETTINGS });
    await vi.waitFor(() => {
      expect(ends).toEqual(['exit 1']);
    });
    expect(said.at(-1)).toEqual({
      type: 'failed',
      error: { code: 'device_unavailable', message: 'CUDA cannot be used.', param: 'device' },
    });
  });

  it('whose first caption fails is no engine', async () => {
    const captioner = fakeCaptioner({ error: { code: 'ffmpeg_missing', message: () => 'There is no ffmpeg.' } });
    host = hostOf(async () => captioner);
    host.take({ type: 'open', settings: SETTINGS });
    await vi.waitFor(() => {
      expect(ends).toEqual(['exit 1']);
    });
    expect(said.at(-1)).toMatchObject({
      type: 'failed',
      error: {
        code: 'ffmpeg_missing',
        message: expect.stringContaining('first caption failed: There is no ffmpeg.') as string,
      },
    });
    expect(captioner.closed).toBe(true);
  });

  it('dies at once when it is closed before its model is there', async () => {
    host = hostOf(() => new Promise(() => undefined));
    host.take({ type: 'open', settings: SETTINGS });
    host.take({ type: 'close' });
    await vi.waitFor(() => {
      expect(ends).toEqual(['die']);
    });
  });
});

describe('an engine process at work', () => {
  it('streams captions and aborts the one it is told to', async () => {
    const captioner = fakeCaptioner((request) => (request.path === '/clips/slow.mp4' ? { wordDelayMs: 60_000 } : {}));
    await openWith(captioner);
    host.take({ type: 'caption', id: 1, request: REQUEST });
    host.take({ type: 'caption', id: 2, request: { ...REQUEST, path: '/clips/slow.mp4' } });
    await vi.waitFor(() => {
      expect(endings(1)).toEqual(['caption-end']);
    });
    expect(endings(2)).toEqual([]);
    host.take({ type: 'abort', id: 2 });
    host.take({ type: 'abort', id: 99 });
    await vi.waitFor(() => {
      expect(endings(2)).toEqual(['caption-aborted']);
    });
  });

  it('ends a caption also when the captioner breaks its promise never to throw', async () => {
    await openWith(fakeCaptioner((request) => (request.path === REQUEST.path ? { throws: new Error('boom') } : {})));
    host.take({ type: 'caption', id: 1, request: REQUEST });
    await vi.waitFor(() => {
      expect(endings(1)).toEqual(['caption-error']);
    });
  });

  it('answers estimates, and tells what they throw', async () => {
    const captioner = fakeCaptioner();
    const estimate = await captioner.estimate(REQUEST);
    await openWith({
      ...captioner,
      estimate: async ({ path }) => {
        if (path === REQUEST.path) return estimate;
        throw new AvocadoError('media_empty', 'The file is empty.');
      },
    });
    host.take({ type: 'estimate', id: 3, request: REQUEST });
    host.take({ type: 'estimate', id: 4, request: { ...REQUEST, path: '/clips/empty.mp4' } });
    await vi.waitFor(() => {
      expect(said).toContainEqual({ type: 'estimated', id: 3, estimate });
    });
    await vi.waitFor(() => {
      expect(said).toContainEqual({
        type: 'estimate-failed',
        id: 4,
        error: { code: 'media_empty', message: 'The file is empty.' },
      });
    });
  });

  it('when closed lets the captioner end everything, tells its last numbers, and exits', async () => {
    const captioner = fakeCaptioner();
    await openWith(captioner);
    host.take({ type: 'caption', id: 1, request: REQUEST });
    host.take({ type: 'close' });
    host.take({ type: 'close' });
    await vi.waitFor(() => {
      expect(ends).toEqual(['exit 0']);
    });
    expect(captioner.closed).toBe(true);
    expect(endings(1)).toHaveLength(1);
    expect(said.at(-1)?.type).toBe('heartbeat');
  });
});
