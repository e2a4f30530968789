import { describe, expect, it } from 'vitest';
import type { EngineProcess } from '../../../src/engine-process/open-engine-process.ts';
import type { EngineSettings } from '../../../src/settings/engine-settings.ts';
import { AvocadoError } from '../../../src/base/errors.ts';
import { runCli } from '../../fixtures/cli-run.ts';
import { fakeCaptioner } from '../../fixtures/fake-captioner.ts';

/** An engine that is asked for and does not come. */
async function askedFor(args: readonly string[]): Promise<EngineSettings & { readonly stallMs: number }> {
  const asked: (EngineSettings & { readonly stallMs: number })[] = [];
  const { exitCode, stderr } = await runCli(['serve', ...args], {
    environment: {
      openEngineProcess: async ({ settings, stallMs = 0 }) => {
        asked.push({ ...settings, stallMs });
        throw new AvocadoError('device_unavailable', 'There is no such device.');
      },
    },
  });
  expect([exitCode, stderr]).toEqual([5, 'error [device_unavailable]: There is no such device.\n']);
  return asked[0]!;
}

describe('avocado serve', () => {
  it('keeps prompts and clips for the next request, but no prompts where they cost memory at once', async () => {
    expect(await askedFor([])).toMatchObject({
      slots: 4,
      prefixSlots: 2,
      mediaCacheBytes: 256 * 1024 ** 2,
      stallMs: 120_000,
    });
    expect(await askedFor(['--device', 'cuda:1'])).toMatchObject({
      device: [{ type: 'cuda', index: 1 }],
      prefixSlots: 0,
    });
    expect(
      await askedFor(['--prefix-slots', '7', '--media-cache-bytes', '0', '--stall-seconds', '1.5', '--slots', '9']),
    ).toMatchObject({ slots: 9, prefixSlots: 7, mediaCacheBytes: 0, stallMs: 1500 });
  });

  it('closes the door and ends with the engine’s error when its first start fails', async () => {
    const captioner = fakeCaptioner();
    const engine: EngineProcess = Object.assign(captioner, {
      ready: () => Promise.reject(new AvocadoError('tensor_missing', 'A tensor is missing.')),
    });
    const { exitCode, stdout, stderr } = await runCli(['serve', '--port', '0', '--drain-seconds', '0'], {
      environment: { openEngineProcess: async () => engine },
    });
    expect([exitCode, stdout]).toEqual([4, '']);
    expect(stderr).toContain('error [tensor_missing]: A tensor is missing.\n');
    expect(captioner.closed).toBe(true);
  });

  it.each([
    [['--max-timeout', '0']],
    [['--rate-limit', '-1']],
    [['--log-level', 'loud']],
    [['--metrics-compat', 'sglang']],
    [['--drain-seconds', 'x']],
    [['--max-temp-bytes', '0']],
    [['--url-host', 'https://a/']],
    [['--allow-cidr', '10/8']],
    [['--webhook-url', 'http://10.0.0.5/hook', '--webhook-secret', 'secret']],
    [['--webhook-url', 'hook.example', '--webhook-secret', 'secret']],
    [['--webhook-url', 'https://hook.example/', '--webhook-secret', 'secret', '--url-host', 'off']],
  ])('refuses %j before anything is started', async (args) => {
    const { exitCode, stderr } = await runCli(['serve', ...args]);
    expect(exitCode).toBe(2);
    expect(stderr).toMatch(/^error \[bad_request\]: [^\n]+\n$/);
    expect(stderr).toContain(args[0]);
  });
});

describe('settings of avocado serve', () => {
  it('come from variables where no flag says otherwise', async () => {
    const asked: EngineSettings[] = [];
    const { exitCode, stderr } = await runCli(['serve', '--threads', '3'], {
      variables: { AVOCADO_SLOTS: '7', AVOCADO_THREADS: '2', AVOCADO_SLOT: '1' },
      environment: {
        openEngineProcess: async ({ settings }) => {
          asked.push(settings);
          throw new AvocadoError('device_unavailable', 'There is no such device.');
        },
      },
    });
    expect(exitCode).toBe(5);
    expect(asked[0]).toMatchObject({ slots: 7, threads: 3 });
    expect(stderr).toMatch(/^warning: The variable AVOCADO_SLOT is not a setting\. Did you mean AVOCADO_SLOTS\?\n/);
  });

  it('and their mistakes are reported with those of keys and directories, before a model is loaded', async () => {
    const { exitCode, stderr, opened } = await runCli(
      ['serve', '--media-root', 'x', '--slots', '0', '--jobs-dir', `${import.meta.filename}/x`],
      {
        variables: { AVOCADO_PORT: 'http', AVOCADO_API_KEYS: 'carl:short' },
      },
    );
    expect([exitCode, opened]).toEqual([2, []]);
    expect(stderr).toMatch(/^error \[bad_request\]: [^\n]+\n$/);
    for (const name of ['--media-root x', '--slots', '--jobs-dir', 'AVOCADO_PORT', 'AVOCADO_API_KEYS, line 1'])
      expect(stderr).toContain(name);
  });
});
