import { expect, it } from 'vitest';
import { WorkClock } from '../../../src/base/work-clock.ts';
import { FakeDecoder } from './fake-decoder.ts';
import { collect, requestOf, StreamingEngine } from './requests.ts';

it.each([
  ['a caption that somebody waits for goes on after each', 'interactive', 'interactive', 1000, 3],
  ['batches share among themselves too', 'batch', 'batch', 1000, 3],
  ['no batch holds up a first token that somebody waits for', 'batch', 'interactive', 1000, 1],
  ['short ones are not noticed', 'interactive', 'interactive', 100, 1],
] as const)('long chunks leave decode steps an eighth of the time: %s', async (_, running, reading, chunkMs, steps) => {
  let nowMs = 0;
  const decoder = new FakeDecoder({
    fails: (run) => {
      nowMs += run === 'prefill' ? chunkMs : 45; // of 1000 ms come (1000 - 100) / 8 = 112 ms of decode steps
      return false;
    },
  });
  const engine = new StreamingEngine(decoder, { prefillChunk: 8, clock: new WorkClock(() => nowMs) });
  let long: Promise<unknown> | undefined;
  for await (const event of engine.stream(requestOf({ length: 8, maxTokens: 90, priority: running }))) {
    if (event.type === 'token')
      long ??= collect(engine.stream(requestOf({ length: 32, maxTokens: 2, salt: 1, priority: reading })));
  }
  await long;
  // after the first prompt, and after each chunk of the long one
  const decodes = decoder.order
    .join(' ')
    .split('prefill')
    .map((part) => part.split('decode').length - 1);
  expect(decodes.slice(2, -1)).toEqual([steps, steps, steps]);
  expect(decoder.violations).toEqual([]);
});
