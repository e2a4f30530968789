// What the server costs: tokens/s through HTTP, event stream and engine process beside the same captioner in this
// process, and eight clients beside one. Usage:
// npx tsx test/bench/serve.ts [--rounds N] [--requests N] [--min-tokens N] [--max-tokens N] [--cached]
// [--temperature T] [--model DIR --precision NAME] [--keep]. With --cached both keep clips and prompts, so that what is
// measured is generation. Captions of avocado-nano have some 45 tokens, those of the published model hundreds:
// --min-tokens 256 --max-tokens 256 makes them as long. --keep appends the figures to history.jsonl.
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { captionRequest } from '../../src/captioner/caption-options.ts';
import { clipSender } from '../../src/lab/loadtest/caption-client.ts';
import { levelTable, runLevel, summarise, type LevelSummary, type SendClip } from '../../src/lab/loadtest/load-test.ts';
import { openCaptioner } from '../../src/captioner/open-captioner.ts';
import { captionEvents, type Captioner } from '../../src/captioner/captioner.ts';
import { readExampleClips, startServer } from './served.ts';
import { engineSettings, PRECISIONS } from '../../src/settings/engine-settings.ts';
import { NANO, NANO_EXAMPLES } from '../fixtures/nano.ts';
import { compareWithHistory } from './history.ts';
import { median } from './median.ts';

const SLOTS = 8;
const CLIENTS = [1, 8];

/** The same captioner without a server: no process line, no HTTP. */
function bareSender(captioner: Captioner, options: Record<string, number>): SendClip {
  return async ({ name }, _leaveAfterMs, signal) => {
    const startedMs = performance.now();
    let firstMs = 0;
    for await (const event of captionEvents(captioner, captionRequest(join(NANO_EXAMPLES, name), options), signal)) {
      if (event.type === 'text-delta' && firstMs === 0) firstMs = performance.now();
      if (event.type !== 'caption-end') continue;
      const seconds = (performance.now() - startedMs) / 1000;
      return {
        kind: 'caption',
        firstTokenSeconds: (firstMs - startedMs) / 1000,
        totalSeconds: seconds,
        tokenGapsSeconds: [],
        tokens: event.usage.completionTokens,
        mediaSeconds: event.media.durationSeconds,
      };
    }
    return { kind: 'failed', code: 'no_ending' };
  };
}

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5' },
    requests: { type: 'string', default: '8' },
    'max-tokens': { type: 'string' },
    'min-tokens': { type: 'string' },
    temperature: { type: 'string' },
    cached: { type: 'boolean', default: false },
    model: { type: 'string', default: NANO },
    precision: { type: 'string' },
    keep: { type: 'boolean', default: false },
  },
});
const rounds = Number(values.rounds);
const requests = Number(values.requests);
const clips = await readExampleClips();
const caches = values.cached
  ? { mediaCacheBytes: 2 ** 28, prefixSlots: clips.length }
  : { mediaCacheBytes: 0, prefixSlots: 0 };
const options: Record<string, number> = {
  ...(values['max-tokens'] === undefined ? {} : { max_tokens: Number(values['max-tokens']) }),
  ...(values['min-tokens'] === undefined ? {} : { min_tokens: Number(values['min-tokens']) }),
  ...(values.temperature === undefined ? {} : { temperature: Number(values.temperature), seed: 1 }),
};
const precision = PRECISIONS.find((name) => name === values.precision);
const server = await startServer([
  '--slots',
  String(SLOTS),
  '--media-cache-bytes',
  String(caches.mediaCacheBytes),
  '--prefix-slots',
  String(caches.prefixSlots),
  '--max-queue-seconds',
  '100000',
  '--model',
  values.model,
  ...(precision === undefined ? [] : ['--precision', precision]),
]);
const captioner = await openCaptioner(engineSettings({ modelDir: values.model, precision, slots: SLOTS, ...caches }));
const fields = Object.fromEntries(Object.entries(options).map(([name, value]) => [name, String(value)]));
const senders: Record<string, SendClip> = {
  bare: bareSender(captioner, options),
  served: clipSender({ url: server.url, apiKey: undefined, fields }),
};
const results: Record<string, LevelSummary[]> = {};
const never = new AbortController().signal;
/** since it was read last */
const longestStand = (): Promise<number> => server.metric('avocado_event_loop_delay_max_seconds');
let stand = 0;
for (let round = 0; round <= rounds; round++) {
  for (const concurrency of CLIENTS) {
    for (const [name, send] of Object.entries(senders)) {
      await longestStand();
      const level = summarise(
        await runLevel(clips, send, { concurrency, requests: requests * concurrency, leaving: 0, seed: round }, never),
      );
      if (round === 0) continue; // it warms both up
      (results[`${name} ${concurrency}`] ??= []).push(level);
      if (name === 'served') stand = Math.max(stand, await longestStand());
    }
  }
}
const rate = (name: string): number => median((results[name] ?? []).map(({ tokensPerSecond }) => tokensPerSecond));
const [one, many] = CLIENTS;
for (const [name, levels] of Object.entries(results)) console.log(`${name} clients\n${levelTable(levels)}`);
const figures = {
  served_over_bare_one: rate(`served ${one}`) / rate(`bare ${one}`),
  served_over_bare_eight: rate(`served ${many}`) / rate(`bare ${many}`),
  eight_over_one: rate(`served ${many}`) / rate(`served ${one}`),
  tokens_per_second_one: rate(`served ${one}`),
  tokens_per_second_eight: rate(`served ${many}`),
  event_loop_delay_max_seconds: stand,
};
console.log(JSON.stringify(figures));
if (values.model === NANO && precision === undefined && Object.keys(options).length === 0)
  compareWithHistory(values.cached ? 'serve --cached' : 'serve', figures, values.keep);
await server.close();
await captioner.close();
