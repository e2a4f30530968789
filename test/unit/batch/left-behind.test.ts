// Files that a run makes beside its results: gone after it, and no hindrance when somebody else removes them.
import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { afterEach, expect, it, vi } from 'vitest';
import { itemsOfArgument } from '../../../src/batch/inputs.ts';
import { Layout } from '../../../src/batch/layout.ts';
import { extensionFilter } from '../../../src/batch/list-files.ts';
import { Batch } from '../../../src/batch/run-batch.ts';
import type { Captioner } from '../../../src/captioner/captioner.ts';
import { isEnding } from '../../../src/output/ending.ts';
import type { CaptionEvent } from '../../../src/output/events.ts';
import { fakeCaptioner } from '../../fixtures/fake-captioner.ts';
import { scratchDirectory } from '../../fixtures/scratch.ts';

const scratch = scratchDirectory();
afterEach(() => {
  vi.unstubAllEnvs();
});

async function run(directory: string, captioner: Captioner = fakeCaptioner()): Promise<number> {
  const batch = await Batch.open({
    layout: new Layout({ root: directory, out: undefined, shortNames: false }),
    identity: { model: 'm@1', precision: 'fp32', profile: 'p@1', preset: 'avocado', context: 4096, engine: '1' },
    formats: [],
    rateOf: 'here',
    options: {},
    retryFailed: false,
    listing: () => itemsOfArgument(directory, { takes: extensionFilter(['mp4']), onPassedOver: () => undefined }),
    openCaptioner: () => Promise.resolve(captioner),
    fetch: () => Promise.reject(new Error('not here')),
    signal: new AbortController().signal,
  });
  let captioned = 0;
  try {
    const options = { keepsOthers: false, total: 8, toCaption: 8, onProgress: () => undefined };
    await batch.run(options, async ({ outcomes }) => {
      captioned = outcomes.captioned;
    });
  } finally {
    await batch.close();
  }
  return captioned;
}

it('captions files with names of any bytes while a cleaner empties the temporary directory', async () => {
  const [directory, temporary] = [scratch('odd'), scratch('tmp')];
  for (const path of [directory, temporary]) mkdirSync(path);
  vi.stubEnv('TMPDIR', temporary);
  for (let byte = 0xe0; byte < 0xe8; byte++)
    writeFileSync(Buffer.concat([Buffer.from(`${directory}/`), Buffer.of(byte), Buffer.from('.mp4')]), String(byte));
  const inner = fakeCaptioner();
  const captioner: Captioner = {
    ...inner,
    model: { ...inner.model, slots: 1 },
    submit: (request, options) => {
      const onEvent = (event: CaptionEvent): void => {
        if (isEnding(event)) rmSync(dirname(request.path), { recursive: true, force: true });
        options.onEvent(event);
      };
      return inner.submit(request, { ...options, onEvent });
    },
  };
  expect(await run(directory, captioner)).toBe(8);
  expect(readdirSync(temporary)).toEqual([]);
});

it('removes the unfinished list of failures of a run that was killed', async () => {
  const directory = scratch('killed');
  const state = join(directory, '.avocado');
  mkdirSync(state, { recursive: true });
  writeFileSync(join(state, 'failures-killed.part'), '{}\n');
  writeFileSync(join(directory, 'a.mp4'), 'a');
  expect(await run(directory)).toBe(1);
  expect(readdirSync(state).filter((name) => name.endsWith('.part'))).toEqual([]);
});
