// A process on the stub: loads one model, runs its parts, prints what the CUDA provider asked of the device, as JSON.
//   trace.ts CHECKPOINT PRECISION LOG [BYTES OF THE KV CACHE, or ''] [AttentionOptions as JSON] [CARD]
import { appendFileSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { newFloats } from '../../../src/base/floats.ts';
import { loadThinker } from '../../../src/model/execution/load-thinker.ts';
import { audioTokens } from '../../../src/model/execution/tower-inputs.ts';
import type { AttentionOptions } from '../../../src/model/graphs/decoder-attention.ts';
import type { Precision } from '../../../src/settings/engine-settings.ts';
import { textPositions } from '../check/parity.ts';

const [checkpoint = '', precision = 'bf16', log = '', cacheBytes = '', attention = '{}', card = '0'] =
  process.argv.slice(2);
const SLOTS = 4;
const CAPACITY = 128;
const MEDIA_ROWS = 16;
/** Rows and columns of patches of one step, and frames of sound. */
const GRID = [10, 22] as const;
const FRAMES = 200;

/** What the provider asked while `work` ran: the lines of the stub's log. */
async function during(part: string, work: () => Promise<unknown>): Promise<[string, string[]]> {
  appendFileSync(log, `PART ${part}\n`);
  await work();
  const text = readFileSync(log, 'utf8');
  return [
    part,
    text
      .slice(text.lastIndexOf(`PART ${part}\n`))
      .split('\n')
      .slice(1, -1),
  ];
}

/** The last step that was recorded as a CUDA graph, one of all slots. */
function recorded(): [string, string[]] {
  const lines = readFileSync(log, 'utf8').split('\n');
  const last = (start: string): number => lines.findLastIndex((line) => line.startsWith(start));
  return ['recording', lines.slice(last('GRAPH begin') + 1, Math.max(0, last('GRAPH end')))];
}

const cacheDir = mkdtempSync(join(tmpdir(), 'avocado-trace-'));
try {
  const { thinker, config } = await loadThinker({
    modelDir: checkpoint,
    cacheDir,
    precision: precision as Precision,
    device: { type: 'cuda', index: Number(card) },
    runtime: 'native',
    runtimeLog: 'verbose',
    threads: 1,
    spinning: false,
    slots: SLOTS,
    prefixSlots: 1,
    capacity: CAPACITY,
    kvCacheBytes: cacheBytes === '' ? undefined : Number(cacheBytes),
    decoder: JSON.parse(attention) as AttentionOptions,
  });
  const { decoder, towers } = thinker;
  const prefill = (slot: number, start: number, count: number, media = 0) =>
    decoder.prefill({
      slot,
      start,
      ids: new Int32Array(count),
      positions: textPositions(start, count),
      mediaRows: Int32Array.from({ length: media }, (_, row) => row),
      mediaEmbeds: newFloats(towers.dtype, media * decoder.hiddenSize),
      wantLogits: true,
    });
  const decode = () => decoder.decode(Array.from({ length: SLOTS }, (_, slot) => ({ slot, token: 1, position: 40 })));
  let failure = '';
  const { vision, audio } = config;
  const columns = vision.channels * vision.temporalPatchSize * vision.patchSize ** 2;
  const sound = () => towers.encodeAudio(new Float32Array(FRAMES * audio.melBins), FRAMES);
  for (let slot = 1; slot <= SLOTS; slot++) await decoder.allocate(slot, CAPACITY);
  for (let slot = 1; slot < SLOTS; slot++) await prefill(slot, 0, 20);
  const parts = [
    recorded(),
    await during('allocate', () => decoder.allocate(0, CAPACITY)),
    await during('prompt', () => prefill(0, 0, 20)),
    await during('chunk', () => prefill(0, 20, 20)),
    await during('media chunk', () => prefill(0, 40, 20, MEDIA_ROWS)),
    await during('step', () => decode().catch((error: unknown) => (failure = (error as Error).message))),
    await during('logits', () => decoder.logits(SLOTS - 1)),
    await during('prefix copy', () => decoder.copyPrefix(0, SLOTS, 16)),
    await during('free', () => decoder.free(SLOTS)),
    await during('vision', () => towers.encodeVision(new Float32Array(GRID[0] * GRID[1] * columns), 1, ...GRID)),
    await during('first sound', sound),
    await during('sound', sound),
  ];
  const { layers, kvHeads, vocabSize, hiddenSize } = config.text;
  const tokens = {
    media: MEDIA_ROWS,
    vision: (GRID[0] * GRID[1]) / vision.mergeSize ** 2,
    sound: audioTokens(FRAMES, audio.chunkFrames),
  };
  const shape = { layers, kvHeads, vocabSize, hiddenSize, slots: SLOTS, tokens };
  process.stdout.write(JSON.stringify({ ...shape, failure, parts: Object.fromEntries(parts) }));
  await thinker.close();
} catch (error) {
  const { code, message } = error as Error & { code?: string };
  process.stdout.write(JSON.stringify({ code, message }));
} finally {
  rmSync(cacheDir, { recursive: true, force: true });
}
