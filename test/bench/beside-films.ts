// The time between the tokens of a caption, alone and beside clients that send films without end. Usage:
// npx tsx test/bench/beside-films.ts [--clients 0,2,4] [--rounds N] [--tokens N] [--minutes N] [--model DIR]
// [--against DIRECTORY]; --against names another checkout, built, whose server is measured in turn with this one's.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { defaultModelDirectory } from '../../src/base/package-files.ts';
import { clipSender } from '../../src/lab/loadtest/caption-client.ts';
import { quantiles, type ClipFile } from '../../src/lab/loadtest/load-test.ts';
import { median } from './median.ts';
import { makeFilm, readExampleClips, startServer, type BenchServer } from './served.ts';

const { values } = parseArgs({
  options: {
    clients: { type: 'string', default: '0,2,4' },
    rounds: { type: 'string', default: '3' },
    tokens: { type: 'string', default: '1000' },
    minutes: { type: 'string', default: '1' },
    model: { type: 'string', default: defaultModelDirectory() },
    against: { type: 'string' },
  },
});
const FILMS = 4;
const WARM_UP_MS = 1500;
const never = new AbortController().signal;

interface Figures {
  readonly firstToken: number;
  readonly tokensPerSecond: number;
  readonly gapP95: number;
  readonly filmsPerSecond: number;
  readonly filmFirstToken: number;
}

/** One caption of `--tokens` tokens beside `clients` that send films, each the next when one is answered. */
async function measure(server: BenchServer, clip: ClipFile, films: readonly ClipFile[], clients: number) {
  const sender = (tokens: string): ReturnType<typeof clipSender> =>
    clipSender({ url: server.url, apiKey: undefined, fields: { min_tokens: tokens, max_tokens: tokens } });
  const [sendFilm, sendClip] = [sender('8'), sender(values.tokens)];
  const waits: number[] = [];
  let isOver = false;
  const senders = Array.from({ length: clients }, async (_, client) => {
    for (let turn = client; !isOver; turn++) {
      const result = await sendFilm(films[turn % FILMS] ?? clip, undefined, never);
      if (result.kind !== 'caption') throw new Error(`A film ended as ${JSON.stringify(result)}.`);
      waits.push(result.firstTokenSeconds);
    }
  });
  await sleep(WARM_UP_MS);
  waits.length = 0;
  const started = performance.now();
  const result = await sendClip(clip, undefined, never);
  const seconds = (performance.now() - started) / 1000;
  const told = waits.slice();
  isOver = true;
  await Promise.all(senders);
  if (result.kind !== 'caption') throw new Error(`The caption ended as ${JSON.stringify(result)}.`);
  const figures: Figures = {
    firstToken: result.firstTokenSeconds,
    tokensPerSecond: result.tokens / (result.totalSeconds - result.firstTokenSeconds),
    gapP95: quantiles(result.tokenGapsSeconds).p95,
    filmsPerSecond: told.length / seconds,
    filmFirstToken: median(told),
  };
  return figures;
}

function tableRow(figures: readonly Figures[]): Record<string, number> {
  const of = (value: (figures: Figures) => number): number => Number(median(figures.map(value)).toPrecision(3));
  return {
    'tokens/s': of(({ tokensPerSecond }) => tokensPerSecond),
    'gap p95 ms': of(({ gapP95 }) => gapP95 * 1000),
    'first token ms': of(({ firstToken }) => firstToken * 1000),
    'films/s': of(({ filmsPerSecond }) => filmsPerSecond),
    'first token of a film ms': of(({ filmFirstToken }) => filmFirstToken * 1000),
  };
}

const roots = [undefined, ...(values.against === undefined ? [] : [resolve(values.against)])];
const caches = ['--media-cache-bytes', '0', '--prefix-slots', '0'];
const flags = ['--slots', '8', ...caches, '--max-queue-seconds', '100000', '--model', values.model];
const directory = await mkdtemp(join(tmpdir(), 'avocado-beside-'));
try {
  const films: ClipFile[] = [];
  for (let seed = 1; seed <= FILMS; seed++) films.push(await makeFilm(directory, seed, Number(values.minutes)));
  const [clip] = await readExampleClips();
  if (clip === undefined) throw new Error('There are no example clips.');
  const rows: Record<string, Record<string, number>> = {};
  for (const clients of values.clients.split(',').map(Number)) {
    const found = roots.map((): Figures[] => []);
    for (let round = 0; round < Number(values.rounds); round++) {
      for (const [index, root] of roots.entries()) {
        const server = await startServer(flags, root);
        found[index]?.push(await measure(server, clip, films, clients));
        await server.close();
      }
    }
    for (const [index, figures] of found.entries())
      rows[`beside ${clients}${index === 0 ? '' : ', there'}`] = tableRow(figures);
  }
  console.table(rows);
} finally {
  await rm(directory, { recursive: true, force: true });
}
