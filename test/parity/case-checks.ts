// A golden case from its file to its last token, as a person asks for it: every number of the dry run,
// and both greedy captions.
// Tolerances: exactness.md, Tolerances.
import { createHash } from 'node:crypto';
import { rmSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { captionEvents, type Captioner } from '../../src/captioner/captioner.ts';
import { openInspector, type Inspector } from '../../src/captioner/inspect.ts';
import { loadNative } from '../../src/base/native.ts';
import { openCaptioner } from '../../src/captioner/open-captioner.ts';
import { engineSettings } from '../../src/settings/engine-settings.ts';
import type { CaptionEnd, CaptionRequest } from '../../src/output/events.ts';
import { largestDifference } from '../fixtures/compare-numbers.ts';
import { goldenInput, requestOf, type GoldenCase } from '../fixtures/golden-cases.ts';
import { golden, goldenJson, goldenPath, goldenTensors, type GoldenTensor } from '../fixtures/golden.ts';
import { scratchDirectory } from '../fixtures/scratch.ts';
import { TensorFile } from '../fixtures/tensor-file.ts';

type Tensors = Record<string, GoldenTensor>;

/** Bit for bit with this machine's ffmpeg; another build of libsoxr may round otherwise. */
const WAVEFORM_TOLERANCE = 1e-7;
const PIXEL_TOLERANCE = 1e-5;
const MEL_TOLERANCE = { largest: 1e-4, mean: 1e-5 };
const VISION_TOLERANCE = 1e-4;
/** From the file: what the log-mel's own tolerance becomes behind the tower. */
const AUDIO_TOLERANCE = 5e-4;
const LOGITS_TOLERANCE = 5e-4;
/** Where the two best scores are nearer than this, two correct programs may choose differently. */
const SMALLEST_MARGIN = 2e-3;

/** Largest distances met so far, told when the file's tests are done. */
type Worst = Record<string, number>;

function within(worst: Worst, name: string, difference: number, tolerance: number): void {
  worst[name] = Math.max(worst[name] ?? 0, difference);
  expect(difference, name).toBeLessThanOrEqual(tolerance);
}

function tensorsAt(name: string): Tensors {
  return goldenPath(name) === undefined ? {} : goldenTensors(name);
}

/** The stored rows of a tensor of two axes: all, or those that its `_row_index` names. */
function rowsDifference(
  dump: TensorFile,
  name: string,
  stored: GoldenTensor,
  rowIndex: GoldenTensor | undefined,
): number {
  const [count = 0, columns = 0] = stored.shape;
  if (rowIndex === undefined) expect(dump.shape(name), name).toEqual(stored.shape);
  const rows = Array.from({ length: count }, (_, row) => Number(rowIndex?.data[row] ?? row));
  const stored32 = stored.data as Float32Array;
  return Math.max(
    ...rows.map((row, at) =>
      largestDifference(dump.rows(name, row, row + 1), stored32.subarray(at * columns, (at + 1) * columns)),
    ),
  );
}

/** Mean and population deviation of each temporal step, one step in memory at a time. */
function stepsDifference(dump: TensorFile, name: string, stored: Tensors): number {
  const mean = stored['step_mean']!.data;
  const deviation = stored['step_std']!.data;
  const rowsPerStep = dump.shape(name)[0]! / mean.length;
  let largest = 0;
  for (let step = 0; step < mean.length; step++) {
    const values = dump.rows(name, step * rowsPerStep, (step + 1) * rowsPerStep);
    let sum = 0;
    for (const value of values) sum += value;
    const centre = sum / values.length;
    let squares = 0;
    for (const value of values) squares += (value - centre) ** 2;
    largest = Math.max(
      largest,
      Math.abs(centre - Number(mean[step])),
      Math.abs(Math.sqrt(squares / values.length) - Number(deviation[step])),
    );
  }
  return largest;
}

function checkPictures(source: GoldenCase, dump: TensorFile, worst: Worst): void {
  const input = goldenInput(source);
  const stored = tensorsAt(`inputs/${source.input}.safetensors`);
  const still = source.mode === 'image';
  const name = still ? 'pixel_values' : 'pixel_values_videos';
  expect([...dump.values(still ? 'image_grid_thw' : 'video_grid_thw')]).toEqual(
    still ? input.image_grid_thw : input.video_grid_thw,
  );
  if (!still) {
    expect([...dump.values('frame_indices')]).toEqual(input.frame_indices);
    expect([...dump.values('second_per_grid')]).toEqual([input.second_per_grid]);
  }
  within(
    worst,
    'pixels',
    rowsDifference(dump, name, stored[`${name}_rows`] ?? stored[name]!, stored[`${name}_row_index`]),
    PIXEL_TOLERANCE,
  );
  within(worst, 'step statistics', stepsDifference(dump, name, stored), PIXEL_TOLERANCE);
}

function checkSound({ clip }: GoldenCase, dump: TensorFile, worst: Worst): void {
  const facts = goldenJson<{ audio: { samples_16k: number; valid_mel_frames: number } }>(`media/${clip}.json`).audio;
  const stored = goldenTensors(`media/${clip}.safetensors`);
  const waveform = dump.values('waveform');
  const head = stored['waveform_16k']!.data as Float32Array;
  expect(waveform).toHaveLength(facts.samples_16k);
  within(worst, 'waveform', largestDifference(waveform.subarray(0, head.length), head), WAVEFORM_TOLERANCE);
  const frames = facts.valid_mel_frames;
  expect(dump.shape('input_features')).toEqual([128, frames]);
  const mel = dump.values('input_features');
  const kept = stored['mel_frames']!.data as Int32Array;
  const ours = Float32Array.from(
    { length: 128 * kept.length },
    (_, at) => mel[Math.trunc(at / kept.length) * frames + kept[at % kept.length]!]!,
  );
  const expected = stored['input_features']!.data as Float32Array;
  within(worst, 'log-mel', largestDifference(ours, expected), MEL_TOLERANCE.largest);
  within(
    worst,
    'log-mel mean',
    ours.reduce((sum, value, at) => sum + Math.abs(value - expected[at]!), 0) / ours.length,
    MEL_TOLERANCE.mean,
  );
}

/**
 * Ids and positions exactly: by their hash, and by value where golden stores them, which says more when they differ.
 */
function checkPrompt(source: GoldenCase, tensors: Tensors, dump: TensorFile): void {
  const sha256 = (values: ArrayBufferView): string =>
    createHash('sha256').update(new Uint8Array(values.buffer)).digest('hex');
  const [ids, positions] = [dump.values('input_ids') as Int32Array, dump.values('position_ids') as Int32Array];
  const every16th = (values: Int32Array): Int32Array => values.filter((_, at) => (at % source.length) % 16 === 0);
  expect(ids).toHaveLength(source.length);
  expect(ids.length > 10_000 ? every16th(ids) : ids).toEqual(
    (tensors['input_ids'] ?? tensors['input_ids_stride16'])!.data,
  );
  expect(ids.length > 10_000 ? every16th(positions) : positions).toEqual(
    (tensors['position_ids'] ?? tensors['position_ids_stride16'])!.data,
  );
  expect([sha256(ids), sha256(positions)]).toEqual([source.input_ids_sha256, source.position_ids_sha256]);
  expect([...dump.values('rope_delta')]).toEqual([source.rope_delta]);
}

/** Runs the dry run down to a stage and compares every tensor of its dump. */
async function checkInspect(
  source: GoldenCase,
  inspector: Inspector,
  target: { readonly stage: 'features' | 'logits'; readonly dump: string },
  worst: Worst,
): Promise<void> {
  const tensors = goldenTensors(`cases/${source.id}.safetensors`);
  const report = await inspector.inspect(requestOf(source), target);
  const { run_lengths: runLengths, rope_delta: ropeDelta, length: total } = source;
  expect(report).toMatchObject({ warnings: [], runLengths, ropeDelta, tokens: { total }, tokensExact: true });
  const dump = new TensorFile(target.dump);
  try {
    expect(dump.names).toEqual(report.dump!.tensors);
    if (source.mode !== 'audio') checkPictures(source, dump, worst);
    if (source.mode === 'av' || source.mode === 'audio') checkSound(source, dump, worst);
    checkPrompt(source, tensors, dump);
    if (target.stage === 'features') return;
    for (const [name, tolerance] of [
      ['vision_embeds', VISION_TOLERANCE],
      ['audio_embeds', AUDIO_TOLERANCE],
    ] as const) {
      const stored = tensors[name];
      expect(dump.names.includes(name), name).toBe(stored !== undefined);
      if (stored !== undefined)
        within(worst, name, rowsDifference(dump, name, stored, tensors[`${name}_row_index`]), tolerance);
    }
    within(
      worst,
      'logits',
      largestDifference(dump.values('logits_last'), tensors['logits_last']!.data as Float32Array),
      LOGITS_TOLERANCE,
    );
  } finally {
    dump.close();
    rmSync(target.dump);
  }
}

async function endOf(captioner: Captioner, request: CaptionRequest): Promise<CaptionEnd> {
  for await (const event of captionEvents(captioner, request)) {
    if (event.type === 'caption-end') return event;
    if (event.type === 'caption-error') throw new Error(`${event.code}: ${event.message}`);
  }
  throw new Error('The caption was aborted.');
}

/** @returns tokens compared before the first step where two correct programs may part */
async function checkGreedy(
  source: GoldenCase,
  captioner: Captioner,
  kind: 'greedy' | 'greedy_rp1.1',
  worst: Worst,
): Promise<number> {
  const tensors = goldenTensors(`cases/${source.id}.safetensors`);
  const { stopped_at_eos: stopped, text } = source[kind];
  const tokens = [...(tensors[`${kind}.tokens`]!.data as Int32Array)];
  const logprobs = tensors[`${kind}.logprob`]!.data as Float32Array;
  const request = requestOf(source, {
    max_tokens: stopped ? 64 : tokens.length,
    repetition_penalty: kind === 'greedy' ? 1 : 1.1,
  });
  const end = await endOf(captioner, request);
  const parted = tokens.findIndex((token, step) => end.tokenIds[step] !== token);
  if (parted === -1) {
    expect({ tokens: end.tokenIds, reason: end.finishReason, caption: end.caption }).toEqual({
      tokens,
      reason: stopped ? 'stop' : 'length',
      caption: text,
    });
  } else {
    expect(
      tensors[`${kind}.margin`]!.data[parted],
      `step ${parted} chose ${end.tokenIds[parted]}, the reference ${tokens[parted]}`,
    ).toBeLessThan(SMALLEST_MARGIN);
  }
  const same = parted === -1 ? tokens.length : parted;
  within(
    worst,
    'log-probabilities',
    largestDifference(end.logprobs.slice(0, same), logprobs.subarray(0, same)),
    LOGITS_TOLERANCE,
  );
  return same;
}

export interface CasesUnderTest {
  readonly checkpoint: 'tiny-a' | 'tiny-b';
  readonly runtime: 'native' | 'node';
  readonly cases: readonly GoldenCase[];
  /** default 1: test files run beside each other */
  readonly threads?: number;
  /** default 32,768; the portable runtime copies the whole KV cache in every step, which a small one makes cheap */
  readonly context?: number;
  /**
   * Compares every stage of the dry run down to this one. Default: none, for what another checkpoint or runtime has
   * shown already; the tokens of the captions tell the rest.
   */
  readonly stages?: 'features' | 'logits';
  /** false: prompts so long that two captions would cost minutes */
  readonly captions?: boolean;
}

/**
 * Declares the tests of some cases of one checkpoint on one runtime; none for no cases, whose
 * absence goldenCases has told.
 */
export function describeCases({
  checkpoint,
  runtime,
  cases,
  threads = 1,
  context,
  stages,
  captions = true,
}: CasesUnderTest): void {
  if (cases.length === 0) return;
  const missing = runtime === 'native' && loadNative() === undefined;
  const scratch = scratchDirectory();
  describe.skipIf(missing)(
    `${checkpoint} on the ${runtime} runtime${missing ? ' (skipped: the native addon is not built here)' : ''}`,
    () => {
      const worst: Worst = {};
      const compared: number[] = [];
      const settings = engineSettings({
        modelDir: golden(`checkpoints/${checkpoint}`),
        runtime,
        threads,
        context,
        slots: 2,
        prefixSlots: 0,
        mediaCacheBytes: 2 ** 26, // the two captions of a case share its encoded media
      });
      let inspector: Inspector | undefined;
      let captioner: Captioner | undefined;

      beforeAll(async () => {
        if (stages !== undefined) inspector = await openInspector(settings);
        if (captions) captioner = await openCaptioner(settings);
      });
      afterAll(async () => {
        await captioner?.close();
        await inspector?.close();
        const told = Object.entries(worst).map(([name, difference]) => `${name} ${difference.toExponential(1)}`);
        console.info(
          `${checkpoint}, ${runtime}, ${cases.length} cases, largest differences: ${told.join(', ')}; ${compared.reduce((sum, count) => sum + count, 0)} greedy tokens`,
        );
      });

      it.each(stages === undefined ? [] : cases.map((source) => [source.id, source] as const))(
        "%s gives the reference's numbers at every stage",
        async (id, source) => {
          await checkInspect(source, inspector!, { stage: stages!, dump: scratch(`${id}.safetensors`) }, worst);
        },
      );

      if (!captions) return;

      // Both at once: they share decoding steps, each in its own slot.
      it.each(cases.map((source) => [source.id, source] as const))(
        "%s is captioned with the reference's tokens, words and log-probabilities",
        async (_, source) => {
          compared.push(
            ...(await Promise.all(
              (['greedy', 'greedy_rp1.1'] as const).map((kind) => checkGreedy(source, captioner!, kind, worst)),
            )),
          );
        },
      );

      it('hardly any caption parts from the reference', () => {
        const whole = cases.reduce(
          (sum, source) => sum + source.greedy.tokens.length + source['greedy_rp1.1'].tokens.length,
          0,
        );
        expect(compared.reduce((sum, count) => sum + count, 0)).toBeGreaterThan(0.9 * whole);
      });
    },
  );
}
