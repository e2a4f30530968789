// Prefill and decode speed of the engine on a checkpoint, beside the Python reference on the same
// weights when it is at hand.
// usage:
// tsx test/bench/generate.ts [--model DIR] [--prompt 512] [--tokens 256] [--sequences 1] [--rounds 5]
//        [--precision fp32] [--runtime native] [--threads 2] [--spinning] [--reference SCRIPT] [--keep]
// --keep appends the figures to history.jsonl.
// SCRIPT is a Python program called with MODEL PROMPT_TOKENS NEW_TOKENS THREADS SEQUENCES that prints one JSON line
// with prefill_s and tokens_per_s; both sides run in turn, and the ratio is taken round by round.
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { Engine } from '../../src/engine/engine.ts';
import { loadThinker } from '../../src/model/execution/load-thinker.ts';
import { parsePrecision } from '../../src/model/export/export.ts';
import { compareWithHistory } from './history.ts';
import { median } from './median.ts';

const { values } = parseArgs({
  options: {
    model: { type: 'string', default: fileURLToPath(new URL('../../models/avocado-nano', import.meta.url)) },
    prompt: { type: 'string', default: '512' },
    tokens: { type: 'string', default: '256' },
    sequences: { type: 'string', default: '1' },
    rounds: { type: 'string', default: '5' },
    precision: { type: 'string', default: 'fp32' },
    runtime: { type: 'string' },
    threads: { type: 'string', default: '2' },
    spinning: { type: 'boolean', default: false },
    reference: { type: 'string' },
    keep: { type: 'boolean', default: false },
  },
});
const promptTokens = Number(values.prompt);
const newTokens = Number(values.tokens);
const sequences = Number(values.sequences);
const threads = Number(values.threads);

interface Speed {
  readonly prefillSeconds: number;
  readonly tokensPerSecond: number;
}

const loaded = await loadThinker({
  modelDir: values.model,
  precision: parsePrecision(values.precision),
  device: { type: 'cpu' },
  runtime: values.runtime === 'native' || values.runtime === 'node' ? values.runtime : undefined,
  threads,
  spinning: values.spinning,
  slots: sequences,
  capacity: promptTokens + newTokens + 8,
});
const engine = new Engine(loaded.thinker.decoder);

/** All sequences at once; seconds until the last of them has its first token, then tokens of all of them per second. */
async function ours(): Promise<Speed> {
  const started = performance.now();
  let prefilled = 0;
  let lastFirst = 0;
  let after = 0;
  const one = async (): Promise<void> => {
    const ids = Int32Array.from({ length: promptTokens }, (_, index) => (index * 7919 + 13) % 1000);
    const positions = Int32Array.from({ length: 3 * promptTokens }, (_, index) => index % promptTokens);
    const sampling = {
      temperature: 0,
      topP: 1,
      topK: 0,
      minP: 0,
      repetitionPenalty: 1,
      presencePenalty: 0,
      frequencyPenalty: 0,
      seed: undefined,
    };
    const noMedia = { mediaRows: new Int32Array(0), mediaEmbeds: new Float32Array(0) };
    const limits = {
      stopIds: [],
      maxTokens: newTokens + 1,
      priority: 'interactive',
      topLogprobs: 0,
      suppress: undefined,
      prefix: undefined,
    } as const;
    const request = { ids, positions, ropeDelta: 0, ...noMedia, sampling, ...limits };
    let first = true;
    await new Promise<void>((resolve, reject) => {
      engine.submit(request, (event) => {
        if (event.type === 'error') reject(event.error);
        if (event.type === 'end') resolve();
        if (event.type !== 'token') return;
        if (first) {
          first = false;
          prefilled += 1;
          lastFirst = performance.now();
        } else if (prefilled === sequences) after += 1;
      });
    });
  };
  await Promise.all(Array.from({ length: sequences }, one));
  return {
    prefillSeconds: (lastFirst - started) / 1000,
    tokensPerSecond: (after / (performance.now() - lastFirst)) * 1000,
  };
}

function reference(script: string): Speed {
  const output = execFileSync(
    'python3',
    [script, values.model, String(promptTokens), String(newTokens), String(threads), String(sequences)],
    { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] },
  );
  const line = JSON.parse(output.trim().split('\n').at(-1) ?? '{}') as { prefill_s: number; tokens_per_s: number };
  return { prefillSeconds: line.prefill_s, tokensPerSecond: line.tokens_per_s };
}

await ours(); // warm-up
const mine: Speed[] = [];
const theirs: Speed[] = [];
for (let round = 0; round < Number(values.rounds); round += 1) {
  mine.push(await ours());
  if (values.reference !== undefined) theirs.push(reference(values.reference));
}
await engine.close();
await loaded.thinker.close();

const summary = {
  model: values.model.split('/').at(-1),
  precision: values.precision,
  runtime: loaded.thinker.description['runtime'],
  promptTokens,
  newTokens,
  sequences,
  threads,
  spinning: values.spinning,
  prefillSeconds: median(mine.map((speed) => speed.prefillSeconds)),
  tokensPerSecond: median(mine.map((speed) => speed.tokensPerSecond)),
  ...(theirs.length === 0
    ? {}
    : {
        referencePrefillSeconds: median(theirs.map((speed) => speed.prefillSeconds)),
        referenceTokensPerSecond: median(theirs.map((speed) => speed.tokensPerSecond)),
        prefillRatio: median(mine.map((speed, index) => (theirs[index]?.prefillSeconds ?? NaN) / speed.prefillSeconds)),
        decodeRatio: median(
          mine.map((speed, index) => speed.tokensPerSecond / (theirs[index]?.tokensPerSecond ?? NaN)),
        ),
      }),
};
console.table(summary);
console.log(JSON.stringify(summary));
compareWithHistory(
  ['generate', summary.model, summary.precision, `${promptTokens}+${newTokens}`, `x${sequences}`, `t${threads}`].join(
    ' ',
  ),
  { 'prefill seconds': summary.prefillSeconds, 'tokens/s': summary.tokensPerSecond },
  values.keep,
);
