// What the server costs: tokens/s through HTTP, event stream and engine process beside the same captioner in this process, and
// eight clients beside one. Usage: npx tsx test/bench/serve.ts [rounds]
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { captionRequest } from '../../src/caption-options.ts';
import { runLevel } from '../../src/load/closed-loop.ts';
import { clipSender } from '../../src/load/send-clip.ts';
import { levelTable, summarise, type LevelSummary } from '../../src/load/summary.ts';
import type { Clip, Send } from '../../src/load/types.ts';
import { openCaptioner } from '../../src/open-captioner.ts';
import type { Captioner } from '../../src/captioner.ts';
import { startServer } from './served.ts';

const MODEL = fileURLToPath(new URL('../../models/avocado-nano', import.meta.url));
const EXAMPLES = join(MODEL, 'examples');
const SLOTS = 8;
const REQUESTS = 8;
const CLIENTS = [1, 8];

/** The same captioner without a server: no process line, no HTTP. */
function bareSender(captioner: Captioner): Send {
  return async ({ name }, _leaveAfterMs, signal) => {
    const startedMs = performance.now();
    let firstMs = 0;
    for await (const event of captioner.caption(captionRequest(join(EXAMPLES, name), {}), signal)) {
      if (event.type === 'text-delta' && firstMs === 0) firstMs = performance.now();
      if (event.type !== 'caption-end') continue;
      const seconds = (performance.now() - startedMs) / 1000;
      return { kind: 'caption', firstTokenSeconds: (firstMs - startedMs) / 1000, totalSeconds: seconds, tokenGapsSeconds: [], tokens: event.usage.completionTokens, mediaSeconds: event.media.durationSeconds };
    }
    return { kind: 'failed', code: 'no_ending' };
  };
}

function median(values: readonly number[]): number {
  return [...values].sort((left, right) => left - right)[Math.floor(values.length / 2)] ?? NaN;
}

async function readClips(): Promise<Clip[]> {
  const names = (await readdir(EXAMPLES)).filter((name) => name.endsWith('.mp4'));
  return Promise.all(names.map(async (name) => ({ name, bytes: Uint8Array.from(await readFile(join(EXAMPLES, name))) })));
}

const rounds = Number(process.argv[2] ?? 5);
const clips = await readClips();
const server = await startServer(['--slots', String(SLOTS), '--media-cache-bytes', '0', '--prefix-slots', '0']);
const captioner = await openCaptioner({ modelDir: MODEL, precision: undefined, device: { type: 'cpu' }, runtime: undefined, threads: 0, spinning: false, slots: SLOTS, context: undefined, cacheDir: undefined });
const senders: Record<string, Send> = { bare: bareSender(captioner), served: clipSender({ url: server.url, apiKey: undefined, fields: {} }) };
const results: Record<string, LevelSummary[]> = {};
const never = new AbortController().signal;
for (let round = 0; round <= rounds; round++) {
  for (const concurrency of CLIENTS) {
    for (const [name, send] of Object.entries(senders)) {
      const level = summarise(await runLevel(clips, send, { concurrency, requests: REQUESTS * concurrency, leaving: 0, seed: round }, never));
      if (round > 0) (results[`${name} ${concurrency}`] ??= []).push(level); // the first round warms both up
    }
  }
}
const rate = (name: string): number => median((results[name] ?? []).map(({ tokensPerSecond }) => tokensPerSecond));
const [one, many] = CLIENTS;
for (const [name, levels] of Object.entries(results)) console.log(`${name} clients\n${levelTable(levels)}`);
console.log(JSON.stringify({
  served_over_bare_one: rate(`served ${one}`) / rate(`bare ${one}`),
  served_over_bare_eight: rate(`served ${many}`) / rate(`bare ${many}`),
  eight_over_one: rate(`served ${many}`) / rate(`served ${one}`),
  tokens_per_second_one: rate(`served ${one}`),
  tokens_per_second_eight: rate(`served ${many}`),
  event_loop_delay_max_seconds: await server.metric('avocado_event_loop_delay_max_seconds'),
}));
await server.close();
await captioner.close();
