// Two checkouts of this project against each other: both servers run, and the same requests go to each in turn. Usage:
// npx tsx test/bench/compare-servers.ts OTHER_CHECKOUT [--rounds N] [--requests N]
// The other checkout must be built. Clips and prompts are cached, so that what is compared is the request path and
// generation. Prints this checkout over the other one: tokens/s, and CPU time of both event loops per token.
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { clipSender } from '../../src/lab/loadtest/caption-client.ts';
import { runLevel, summarise, type ClipFile } from '../../src/lab/loadtest/load-test.ts';
import { readExampleClips, startServer, type BenchServer } from './served.ts';
import { median } from './median.ts';

const CLIENTS = [1, 8];
const WARM_ROUNDS = 2;
const HERE = fileURLToPath(new URL('../..', import.meta.url));
/** A temperature of 2 makes captions as long as max_tokens allows. */
const FIELDS = { temperature: '2', seed: '1', max_tokens: '128' };

interface Measured {
  readonly tokensPerSecond: number;
  /** microseconds of CPU time per token */
  readonly serverLoop: number;
  readonly engineLoop: number;
}

async function measure(server: BenchServer, clips: readonly ClipFile[], concurrency: number): Promise<Measured> {
  const send = clipSender({ url: server.url, apiKey: undefined, fields: FIELDS });
  const before = server.eventLoops();
  const options = { concurrency, requests: requests * concurrency, leaving: 0, seed: 1 };
  const level = await runLevel(clips, send, options, new AbortController().signal);
  const after = server.eventLoops();
  const tokens = level.results.reduce((sum, result) => sum + (result.kind === 'caption' ? result.tokens : 0), 0);
  return {
    tokensPerSecond: summarise(level).tokensPerSecond,
    serverLoop: ((after.server - before.server) / tokens) * 1000,
    engineLoop: ((after.engine - before.engine) / tokens) * 1000,
  };
}

const { values, positionals } = parseArgs({
  options: { rounds: { type: 'string', default: '12' }, requests: { type: 'string', default: '16' } },
  allowPositionals: true,
});
const [other] = positionals;
if (other === undefined) throw new Error('Give the directory of the other checkout.');
const requests = Number(values.requests);
const clips = await readExampleClips();
const flags = ['--slots', '8', '--media-cache-bytes', String(2 ** 28), '--prefix-slots', '4'];
const servers = {
  here: await startServer([...flags, '--max-queue-seconds', '100000'], HERE),
  other: await startServer([...flags, '--max-queue-seconds', '100000'], other),
};
for (const concurrency of CLIENTS) {
  const ratios: Record<keyof Measured, number[]> = { tokensPerSecond: [], serverLoop: [], engineLoop: [] };
  for (let round = -WARM_ROUNDS; round < Number(values.rounds); round++) {
    const results = { here: undefined as Measured | undefined, other: undefined as Measured | undefined };
    const order = round % 2 === 0 ? (['here', 'other'] as const) : (['other', 'here'] as const);
    for (const name of order) results[name] = await measure(servers[name], clips, concurrency);
    if (round < 0) continue;
    for (const key of Object.keys(ratios) as (keyof Measured)[])
      ratios[key].push((results.here?.[key] ?? NaN) / (results.other?.[key] ?? NaN));
  }
  const medians = Object.fromEntries(Object.entries(ratios).map(([key, all]) => [key, median(all).toFixed(3)]));
  console.log(JSON.stringify({ clients: concurrency, ...medians }));
}
await servers.here.close();
await servers.other.close();
