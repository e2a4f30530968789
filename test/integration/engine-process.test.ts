// The bundled model in a process of its own: the same captions, and whatever happens to that process,
// everybody gets an ending.
import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { once } from 'node:events';
import process from 'node:process';
import type { Readable } from 'node:stream';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { nativeStatus } from '../../src/base/native.ts';
import { captionRequest } from '../../src/captioner/caption-options.ts';
import { captionEvents } from '../../src/captioner/captioner.ts';
import type { Captioner } from '../../src/captioner/captioner.ts';
import { openEngineProcess, type EngineProcess } from '../../src/engine-process/open-engine-process.ts';
import { openCaptioner } from '../../src/captioner/open-captioner.ts';
import type { CaptionEnd, CaptionEvent, TextDelta } from '../../src/output/events.ts';
import { captionAll, CLIPS, endingsOf, nanoOptions, processesOfGroup } from '../fixtures/engine-processes.ts';
import { scratchDirectory } from '../fixtures/scratch.ts';

const scratch = scratchDirectory();
const CLIP = CLIPS[0]!;
/** A caption that cannot end before it is aborted, however slow this process is to tell the engine. */
const LONG = { ignore_eos: true, max_tokens: 4000 };
const STARTED = { timeout: 45_000, interval: 20 };

/** Numbers that measure time differ from run to run. */
function told({ timings, ...end }: CaptionEnd): object {
  return { ...end, stages: Object.keys(timings.stages).sort() };
}

function endOf(events: readonly CaptionEvent[]): CaptionEnd {
  const end = events.at(-1);
  if (end?.type !== 'caption-end') throw new Error(`It ended in ${JSON.stringify(end)}.`);
  return end;
}

describe('an engine process', () => {
  let engine: EngineProcess;
  let inside: Captioner;

  beforeAll(async () => {
    inside = await openCaptioner(nanoOptions().settings);
    engine = await openEngineProcess(nanoOptions());
  });
  afterAll(async () => {
    await Promise.all([engine.close(), inside.close()]);
  });

  it('tells its model before it is ready, and all of it after', async () => {
    expect(engine.model).toEqual({ ...inside.model, runtime: engine.model.runtime });
    await engine.ready();
    expect(engine.model).toEqual(inside.model);
    expect(engine.status()).toMatchObject({ state: 'ready', text: '', restarts: 0 });
    expect(engine.status().pid).not.toBe(process.pid);
    expect(engine.stats()).toMatchObject({ running: 0, waiting: 0, freeSlots: 4, slots: 4 });
  });

  it.each(CLIPS)('captions %s as the model in this process does', async (clip) => {
    const [here, there] = [await captionAll(inside, clip), await captionAll(engine, clip)];
    expect(told(endOf(there))).toEqual(told(endOf(here)));
    const deltas = there.filter((event): event is TextDelta => event.type === 'text-delta');
    expect(deltas.map(({ text }) => text).join('')).toBe(endOf(there).caption);
    expect(deltas.flatMap(({ tokenIds }) => tokenIds)).toEqual(endOf(there).tokenIds);
    expect(deltas.flatMap(({ logprobs }) => logprobs)).toEqual(endOf(there).logprobs);
    const kinds = (events: readonly CaptionEvent[]): string[] => [
      ...new Set(events.map((event) => (event.type === 'stage' ? event.stage : event.type))),
    ];
    expect(kinds(there)).toEqual(kinds(here));
  });

  it('estimates, and refuses media, as the model in this process does', async () => {
    const request = captionRequest(CLIP, {});
    expect(await engine.estimate(request)).toEqual(await inside.estimate(request));
    const missing = captionRequest(scratch('missing.mp4'), {});
    await expect(engine.estimate(missing)).rejects.toMatchObject({ code: 'media_not_found' });
    expect(endingsOf(await captionAll(engine, missing.path))).toEqual(['caption-error media_not_found']);
  });

  it('ends an aborted caption as such, and its slot is free again', async () => {
    const controller = new AbortController();
    const events: CaptionEvent[] = [];
    for await (const event of captionEvents(engine, captionRequest(CLIP, LONG), controller.signal)) {
      events.push(event);
      if (event.type === 'text-delta') controller.abort();
    }
    expect(endingsOf(events)).toEqual(['caption-aborted']);
    await vi.waitFor(() => {
      expect(engine.stats()).toMatchObject({ running: 0, freeSlots: 4 });
    }, STARTED);
  });

  it('killed amid captions ends each of them once; those who come meanwhile are captioned by the next one', async () => {
    const before = engine.status();
    const running = [0, 1, 2].map(async (n) => {
      const events: CaptionEvent[] = [];
      for await (const event of captionEvents(engine, captionRequest(CLIPS[n]!, {}))) {
        events.push(event);
        if (event.type === 'media') process.kill(-before.pid!, 'SIGKILL');
      }
      return events;
    });
    for (const events of await Promise.all(running))
      expect(endingsOf(events)).toEqual(['caption-error engine_unavailable']);
    expect(engine.status()).toMatchObject({ state: 'restarting', restarts: before.restarts + 1 });
    expect(engine.stats()).toMatchObject({ running: 0, freeSlots: 0, busy: false });
    const queued = await Promise.all([captionAll(engine, CLIP), engine.estimate(captionRequest(CLIP, {}))]);
    expect(told(endOf(queued[0]))).toEqual(told(endOf(await captionAll(inside, CLIP))));
    expect(queued[1].fits).toBe(true);
    expect(engine.status()).toMatchObject({ state: 'ready', restarts: before.restarts + 1 });
    expect(processesOfGroup(before.pid!)).toEqual([]);
  });

  it('ignores the signals that a terminal or a service manager sends to everybody: the server decides', async () => {
    const { pid, restarts } = engine.status();
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.kill(pid!, signal);
    expect(endingsOf(await captionAll(engine, CLIP))).toEqual(['caption-end']);
    expect(engine.status()).toMatchObject({ pid, restarts });
  });
});

describe('two engines', () => {
  it('caption as one does, and one that is killed leaves the other', async () => {
    const engine = await openEngineProcess(nanoOptions({ device: [{ type: 'cpu' }, { type: 'cpu' }] }));
    try {
      await engine.ready();
      const [first, second] = engine.status().engines!.map(({ pid }) => pid!);
      const [one, other] = await Promise.all([captionAll(engine, CLIP), captionAll(engine, CLIP)]);
      expect(endOf(one).caption).toBe(endOf(other).caption);
      const long: CaptionEvent[] = []; // the first engine has it: the clip is in its caches
      for await (const event of captionEvents(engine, captionRequest(CLIP, LONG))) {
        if (event.type === 'text-delta' && long.at(-1)?.type !== 'text-delta') process.kill(first!, 'SIGKILL');
        long.push(event);
      }
      expect(endingsOf(long)).toEqual(['caption-error engine_unavailable']);
      expect(endOf(await captionAll(engine, CLIP)).caption).toBe(endOf(one).caption);
      expect(engine.status()).toMatchObject({ state: 'ready', restarts: 1 });
      expect(engine.status().engines![1]).toMatchObject({ state: 'ready', restarts: 0, pid: second });
    } finally {
      await engine.close();
    }
  });
});

describe('an engine process that', () => {
  it('hangs is killed and replaced; closed amid a caption it ends it, and leaves no process', async () => {
    const engine = await openEngineProcess(nanoOptions({}, { heartbeatTimeoutMs: 4000 }));
    try {
      await engine.ready();
      const { pid: hung } = engine.status();
      process.kill(hung!, 'SIGSTOP');
      const caught = await captionAll(engine, CLIP);
      expect(endingsOf(caught)).toEqual(['caption-error engine_unavailable']);
      expect(caught.at(-1)).toMatchObject({
        message: expect.stringMatching(/gave no sign of life for \d\.\d s, and was killed/) as string,
      });
      await engine.ready();
      expect(engine.status()).toMatchObject({ state: 'ready', restarts: 1 });
      expect(processesOfGroup(hung!)).toEqual([]);

      const { pid } = engine.status();
      let closing: Promise<void> | undefined;
      const events: CaptionEvent[] = [];
      for await (const event of captionEvents(engine, captionRequest(CLIP, {}))) {
        events.push(event);
        if (event.type === 'media') closing = engine.close();
      }
      await closing;
      expect(endingsOf(events)).toHaveLength(1);
      expect(processesOfGroup(pid!)).toEqual([]);
    } finally {
      await engine.close();
    }
  });

  it('is closed while it loads is gone at once', async () => {
    const engine = await openEngineProcess(nanoOptions());
    const { pid } = engine.status();
    const ready = expect(engine.ready()).rejects.toMatchObject({ code: 'engine_unavailable' });
    await engine.close();
    await ready;
    expect(processesOfGroup(pid!)).toEqual([]);
  });

  it('cannot start says why, and is not started again', async () => {
    await expect(openEngineProcess(nanoOptions({ modelDir: scratch('nothing') }))).rejects.toMatchObject({
      code: 'checkpoint_not_found',
    });
    const engine = await openEngineProcess(nanoOptions({ precision: 'bf16' }));
    await expect(engine.ready()).rejects.toMatchObject({ code: 'precision_unsupported', param: 'precision' });
    expect(engine.status()).toMatchObject({ state: 'stopped', restarts: 0, pid: undefined });
    expect(endingsOf(await captionAll(engine, CLIP))).toEqual(['caption-error engine_unavailable']);
  });

  it('lost its server ends too, amid a caption', async () => {
    // A server reduced to its engine process, which captions without end.
    const code = `const { captionRequest } = await import(${compiled('captioner/caption-options')});
      const { captionEvents } = await import(${compiled('captioner/captioner')});
      const { openEngineProcess } = await import(${compiled('engine-process/open-engine-process')});
      const engine = await openEngineProcess(${JSON.stringify(nanoOptions())});
      await engine.ready();
      process.stdout.write(String(engine.status().pid));
      for (;;)
        for await (const event of captionEvents(engine, captionRequest(${JSON.stringify(CLIP)}, { temperature: 1 })))
          if (event.type === 'caption-error') throw new Error(event.message);`;
    await expectDeath(spawnParent(['--input-type=module', '-e', code]));
  });

  it('lost its server before the first message ends too', async () => {
    const code = `const { forkEngine } = await import(${compiled('engine-process/fork-engine')});
      process.stdout.write(String(forkEngine().pid));
      setInterval(() => {}, 1000);`;
    await expectDeath(spawnParent(['--input-type=module', '-e', code]));
  });

  it.runIf(nativeStatus().loaded).each(['busy for ever', 'stopped'])('that is %s ends with its server', async (how) => {
    const status = nativeStatus();
    const addon = JSON.stringify(status.loaded ? status.path : '');
    const busy = `require(${addon}).dieWithParent(Number(process.argv[1]));
      require('node:child_process').spawn('sleep', ['600'], { stdio: 'ignore' });
      process.send('busy'); for (;;);`;
    const code = `const child = require('node:child_process').spawn(process.execPath,
        ['-e', ${JSON.stringify(busy)}, String(process.pid)], { detached: true, stdio: ['ipc', 'ignore', 'inherit'] });
      child.once('message', () => process.stdout.write(String(child.pid)));`;
    await expectDeath(spawnParent(['-e', code]), how === 'stopped' ? 'SIGSTOP' : undefined);
  });
});

/** The address of a compiled module, as a string literal. */
function compiled(module: string): string {
  return JSON.stringify(new URL(`../../dist/${module}.js`, import.meta.url).href);
}

/** A process that starts another, which leads a group, and writes its process id. */
function spawnParent(args: readonly string[]): ChildProcessByStdio<null, Readable, null> {
  return spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
}

/** @param first what the whole group gets before its server dies */
async function expectDeath(parent: ChildProcessByStdio<null, Readable, null>, first?: NodeJS.Signals): Promise<void> {
  const [text] = (await once(parent.stdout.setEncoding('utf8'), 'data')) as [string];
  const pid = Number(text);
  expect(processesOfGroup(pid)).toContain(pid);
  if (first !== undefined) process.kill(-pid, first);
  parent.kill('SIGKILL');
  await vi.waitFor(() => {
    expect(processesOfGroup(pid)).toEqual([]);
  }, STARTED);
}
