// The golden cases as inputs of the model: pixel rows and log-mel from what golden stores, embeddings it stores whole.
import { readFileSync, readdirSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { logMel } from '../../src/features/log-mel.ts';
import { cutPatches, temporalSteps } from '../../src/features/patches.ts';
import { createResizer } from '../../src/features/resize.ts';
import { golden, goldenJson, goldenPath, goldenTensors, type GoldenTensor } from '../fixtures/golden.ts';

interface InputFacts {
  readonly video_grid_thw?: [number, number, number];
  readonly image_grid_thw?: [number, number, number];
  readonly stage_a_height?: number;
  readonly stage_a_width?: number;
  readonly final_height?: number;
  readonly final_width?: number;
  readonly resized_file?: string;
  readonly frames_file?: string;
  readonly frames_shape_thwc?: [number, number, number, number];
  readonly nframes?: number;
  readonly valid_mel_frames?: number;
  readonly vision_tokens?: number;
  readonly audio_tokens?: number;
  readonly clip: string;
  readonly media?: string;
}

export interface CaseFacts {
  readonly id: string;
  readonly input: string;
  readonly length: number;
  readonly first_decode_position: number;
}

export interface Pixels {
  readonly patches: Float32Array<ArrayBuffer>;
  readonly grid: readonly [steps: number, gridH: number, gridW: number];
}

export interface Mel {
  readonly mel: Float32Array<ArrayBuffer>;
  readonly frames: number;
}

export interface ModelCase {
  readonly facts: CaseFacts;
  readonly input: InputFacts;
  readonly tensors: Record<string, GoldenTensor>;
}

/** Ids of a checkpoint's cases whose prompts are stored whole (the two long films have every 16th token only). */
export function caseIds(checkpoint: string): string[] {
  const names = readdirSync(golden('cases')).filter(
    (name) => name.startsWith(`${checkpoint}.`) && name.endsWith('.json'),
  );
  return names
    .map((name) => name.slice(0, -'.json'.length))
    .filter((id) => goldenJson<CaseFacts>(`cases/${id}.json`).length <= 10_000);
}

export function modelCase(id: string): ModelCase {
  const facts = goldenJson<CaseFacts>(`cases/${id}.json`);
  return {
    facts,
    input: goldenJson<InputFacts>(`inputs/${facts.input}.json`),
    tensors: goldenTensors(`cases/${id}.safetensors`),
  };
}

function gunzipped(name: string): Uint8Array {
  return gunzipSync(readFileSync(golden(name)));
}

/** Frames after the first resize, [frames, height, width, 3]. */
function resizedFrames({ input }: ModelCase): Uint8Array | undefined {
  const { resized_file: resized, frames_file: source, frames_shape_thwc: shape } = input;
  if (resized !== undefined && goldenPath(resized) !== undefined) return gunzipped(resized);
  if (source === undefined || shape === undefined || goldenPath(source) === undefined) return undefined;
  const [count, height, width] = shape;
  const target = { height: input.stage_a_height!, width: input.stage_a_width! };
  const frames = gunzipped(source);
  const resize = createResizer({ height, width }, target);
  const size = target.height * target.width * 3;
  const result = new Uint8Array(count * size);
  for (let frame = 0; frame < count; frame += 1) {
    resize(
      frames.subarray(frame * height * width * 3, (frame + 1) * height * width * 3),
      result.subarray(frame * size, (frame + 1) * size),
    );
  }
  return result;
}

/** The picture of an image case, [height, width, 3]. */
function picture({ facts }: ModelCase): Uint8Array | undefined {
  const planes =
    goldenPath(`inputs/${facts.input}.safetensors`) === undefined
      ? undefined
      : goldenTensors(`inputs/${facts.input}.safetensors`)['resized_uint8'];
  if (planes === undefined) return undefined;
  const size = planes.data.length / 3;
  return Uint8Array.from({ length: 3 * size }, (_, at) => Number(planes.data[(at % 3) * size + Math.floor(at / 3)]));
}

/** Pixel rows of the case, or undefined when golden does not hold its frames. */
export function pixelsOf(source: ModelCase): Pixels | undefined {
  const { input } = source;
  const grid = input.video_grid_thw ?? input.image_grid_thw;
  if (grid === undefined) return undefined;
  const frames = input.image_grid_thw === undefined ? resizedFrames(source) : picture(source);
  if (frames === undefined) return undefined;
  const data = new Uint8Array(frames.length);
  data.set(frames);
  const normalisation = {
    imageMean: [0.48145466, 0.4578275, 0.40821073],
    imageStd: [0.26862954, 0.26130258, 0.27577711],
  } as const;
  const final = { height: 14 * grid[1], width: 14 * grid[2] };
  const [height, width] = [input.stage_a_height ?? final.height, input.stage_a_width ?? final.width];
  const stack = { data, frames: frames.length / (height * width * 3), height, width, final, normalisation };
  return { patches: cutPatches(stack, 0, temporalSteps(stack)), grid };
}

/** 16-bit mono PCM at 16 kHz needs no resampling, so the file itself is the waveform. */
function pcmOf(clip: string): Float32Array | undefined {
  if (!clip.endsWith('-16k.wav')) return undefined;
  const bytes = readFileSync(golden(`clips/${clip}`));
  const start = bytes.indexOf('data') + 8;
  return Float32Array.from(
    { length: bytes.readUInt32LE(start - 4) / 2 },
    (_, sample) => bytes.readInt16LE(start + 2 * sample) / 32_768,
  );
}

/** Log-mel of the case, or undefined when golden holds only a part of it. */
export function melOf({ input }: ModelCase): Mel | undefined {
  const frames = input.valid_mel_frames;
  if (frames === undefined || input.media === undefined) return undefined;
  const stored = goldenTensors(input.media);
  const mel = stored['input_features'];
  if (mel?.shape[1] === frames) return { mel: mel.data as Float32Array<ArrayBuffer>, frames };
  const wave = stored['waveform_16k'];
  const whole =
    wave !== undefined && Math.ceil(wave.data.length / 160) === frames
      ? (wave.data as Float32Array)
      : pcmOf(input.clip);
  return whole === undefined ? undefined : logMel(whole);
}

/** Embeddings that golden stores whole. */
export function storedEmbeds(
  { tensors, input }: ModelCase,
  kind: 'vision_embeds' | 'audio_embeds',
): Float32Array | undefined {
  const total = kind === 'vision_embeds' ? input.vision_tokens : input.audio_tokens;
  const rows = tensors[kind];
  return rows !== undefined && rows.shape[0] === total ? (rows.data as Float32Array) : undefined;
}

/** Largest distance to the stored rows of `kind`, all or sampled. */
export function rowsDistance(
  { tensors }: ModelCase,
  kind: 'vision_embeds' | 'audio_embeds',
  embeds: Float32Array,
  hidden: number,
): number {
  const rows = tensors[kind]!;
  const index = tensors[`${kind}_row_index`]?.data;
  let distance = 0;
  for (let row = 0; row < rows.shape[0]!; row += 1) {
    const at = Number(index?.[row] ?? row) * hidden;
    distance = Math.max(
      distance,
      maxDistance(
        embeds.subarray(at, at + hidden),
        (rows.data as Float32Array).subarray(row * hidden, (row + 1) * hidden),
      ),
    );
  }
  return distance;
}

/** Largest |a - b|; NaN anywhere gives NaN, which no tolerance admits. */
export function maxDistance(a: Float32Array, b: Float32Array): number {
  if (a.length !== b.length) return Number.NaN;
  return a.reduce((worst, value, index) => {
    const distance = Math.abs(value - b[index]!);
    return distance <= worst ? worst : distance;
  }, 0);
}
