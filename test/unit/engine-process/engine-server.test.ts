import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { captionRequest } from '../../../src/captioner/caption-options.ts';
import type { Captioner } from '../../../src/captioner/captioner.ts';
import { EngineServer } from '../../../src/engine-process/engine-server.ts';
import type { FromEngine, ToEngine } from '../../../src/engine-process/messages.ts';
import { engineSettings } from '../../../src/settings/engine-settings.ts';
import { AvocadoError } from '../../../src/base/errors.ts';
import { fakeCaptioner } from '../../fixtures/fake-captioner.ts';
import { MODEL } from './fake-engine.ts';

const SETTINGS = engineSettings({ modelDir: '/models/fake', slots: 2 });
const OPEN: ToEngine = {
  type: 'open',
  settings: SETTINGS,
  warmUpFile: '/warm/video.mkv',
};
const REQUEST = captionRequest('/clips/a.mp4', {});

let said: FromEngine[];
let ends: string[];
let server: EngineServer;

function serverOf(openCaptioner: () => Promise<Captioner>): EngineServer {
  return new EngineServer({
    openCaptioner: async (_settings, onProgress, onDescribed) => {
      onDescribed(MODEL);
      onProgress('Loading decoder', 2, 3);
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
  await server.close(); // the heartbeat's timer
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
  server = serverOf(async () => captioner);
  server.take(OPEN);
  await vi.waitFor(() => {
    expect(saidTypes()).toContain('ready');
  });
}

describe('an engine process that starts', () => {
  it('tells its model, its progress, warms up, and then that it is ready', async () => {
    const captioner = fakeCaptioner();
    await openWith(captioner);
    expect(saidTypes()).toEqual(['described', 'progress', 'progress', 'ready']);
    expect(said.find(({ type }) => type === 'described')).toEqual({ type: 'described', model: MODEL });
    expect(said).toContainEqual({ type: 'progress', text: 'Warming up', done: 0, total: 1 });
    expect(captioner.seen.map(({ request }) => [request.path, request.maxTokens])).toEqual([['/warm/video.mkv', 2]]);
  });

  it('beats from its first moment, with numbers as soon as there are any', async () => {
    let opened: (captioner: Captioner) => void = () => undefined;
    server = serverOf(
      () =>
        new Promise((resolve) => {
          opened = resolve;
        }),
    );
    server.take(OPEN);
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
    server = serverOf(async () => {
      throw new AvocadoError('device_unavailable', 'CUDA cannot be used.', { param: 'device' });
    });
    server.take(OPEN);
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
    server = serverOf(async () => captioner);
    server.take(OPEN);
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
    server = serverOf(() => new Promise(() => undefined));
    server.take(OPEN);
    server.take({ type: 'close' });
    await vi.waitFor(() => {
      expect(ends).toEqual(['die']);
    });
  });
});

describe('an engine process at work', () => {
  it('streams captions and aborts the one it is told to', async () => {
    const captioner = fakeCaptioner((request) => (request.path === '/clips/slow.mp4' ? { wordDelayMs: 60_000 } : {}));
    await openWith(captioner);
    server.take({ type: 'caption', id: 1, request: REQUEST, gated: false });
    server.take({ type: 'caption', id: 2, request: { ...REQUEST, path: '/clips/slow.mp4' }, gated: false });
    await vi.waitFor(() => {
      expect(endings(1)).toEqual(['caption-end']);
    });
    expect(endings(2)).toEqual([]);
    server.take({ type: 'abort', id: 2 });
    server.take({ type: 'abort', id: 99 });
    await vi.waitFor(() => {
      expect(endings(2)).toEqual(['caption-aborted']);
    });
  });

  it('plans a gated caption, and decodes nothing before it may start', async () => {
    const captioner = fakeCaptioner();
    await openWith(captioner);
    server.take({ type: 'caption', id: 1, request: REQUEST, gated: true });
    await vi.waitFor(() => {
      expect(saidTypes()).toContain('estimated');
    });
    const before = captioner.seen.length;
    server.take({ type: 'start', id: 1 });
    await vi.waitFor(() => {
      expect(endings(1)).toEqual(['caption-end']);
    });
    expect(captioner.seen).toHaveLength(before + 1);
  });

  it('says that it is broken when a caption finds the device failed, and gives the caption no other ending', async () => {
    const healthy = fakeCaptioner();
    const message = 'The run failed: CUDA failure 700.';
    const broken = fakeCaptioner({ error: { code: 'device_unavailable', message: () => message } });
    await openWith({
      ...healthy,
      submit: (request, options) => (request.path === REQUEST.path ? broken : healthy).submit(request, options),
    });
    server.take({ type: 'caption', id: 5, request: REQUEST, gated: false });
    await vi.waitFor(() => {
      expect(said).toContainEqual({ type: 'broken', why: message });
    });
    expect(endings(5)).toEqual([]);
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
    server.take({ type: 'estimate', id: 3, request: REQUEST });
    server.take({ type: 'estimate', id: 4, request: { ...REQUEST, path: '/clips/empty.mp4' } });
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
    server.take({ type: 'caption', id: 1, request: REQUEST, gated: false });
    server.take({ type: 'close' });
    server.take({ type: 'close' });
    await vi.waitFor(() => {
      expect(ends).toEqual(['exit 0']);
    });
    expect(captioner.closed).toBe(true);
    expect(endings(1)).toHaveLength(1);
    expect(said.at(-1)?.type).toBe('heartbeat');
  });
});
