// The bundled model on a device: the engine captions all sample clips at once, four times each, and its tokens are
// compared with those of fp32 on the CPU.
import { existsSync, readFileSync } from 'node:fs';
import { deserialize } from 'node:v8';
import { Engine } from '../../../src/engine/engine.ts';
import type { SequenceRequest } from '../../../src/engine/types.ts';
import { loadThinker } from '../../../src/model/execution/load-thinker.ts';
import type { Place } from './parity.ts';
import type { Finding } from './report.ts';

export interface SampleRequest {
  readonly clip: string;
  readonly request: SequenceRequest;
  /** greedy tokens in fp32 on the CPU, the stop token included */
  readonly tokens: readonly number[];
  readonly caption: string;
}

/** Its name beside the small checkpoints on the card. */
export const SAMPLES = 'sample-requests.bin';

const COPIES = 4;
const CONTEXT = 2048;

interface SamplesPlace extends Place {
  /** from writeSampleRequests() */
  readonly samples: string;
}

function tokensOf(engine: Engine, request: SequenceRequest): Promise<number[]> {
  return new Promise((resolve, reject) => {
    const tokens: number[] = [];
    engine.submit(request, (event) => {
      if (event.type === 'token') tokens.push(event.id);
      else if (event.type === 'end') resolve(tokens);
      else if (event.type === 'error') reject(event.error);
      else if (event.type === 'aborted') reject(new Error('A sequence was aborted.'));
    });
  });
}

/** @returns nothing where the samples were not carried */
export async function captionSamples(place: SamplesPlace): Promise<Finding[]> {
  const { checkpoint: modelDir, samples: file, cacheDir, device, precision, kvCacheBytes } = place;
  if (!existsSync(file)) return [];
  const samples = deserialize(readFileSync(file)) as SampleRequest[];
  const wanted = Array.from({ length: COPIES }, () => samples).flat();
  const cache = { slots: wanted.length, capacity: CONTEXT, kvCacheBytes };
  const threads = { threads: 0, spinning: false };
  const { thinker } = await loadThinker({
    modelDir,
    cacheDir,
    device,
    precision,
    runtime: 'native',
    ...threads,
    ...cache,
  });
  try {
    const engine = new Engine(thinker.decoder);
    const started = performance.now();
    const all = await Promise.all(wanted.map(({ request }) => tokensOf(engine, request)));
    const seconds = (performance.now() - started) / 1000;
    await engine.close();
    const same = all.map((tokens, index) => tokens.join() === wanted[index]?.tokens.join());
    const different = new Set(wanted.filter((_, index) => same[index] !== true).map(({ clip }) => clip));
    const tokens = all.reduce((sum, { length }) => sum + length, 0);
    const counts = { captions: all.length, same: same.filter(Boolean).length, tokens, seconds };
    return [{ kind: 'captions', precision, ...counts, different: [...different] }];
  } finally {
    await thinker.close();
  }
}
