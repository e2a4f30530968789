// Produces training data of the hard level: shards of clips of one geometry, with captions in pieces, where each piece
// can be seen or heard, and dense targets. hard.py reads them.
//
// usage: npx tsx models/avocado-nano/recipe/hard-shards.ts BANK ACCENTS DIRECTORY FIRST_SEED SHARDS [--held-out]
//        [--steps N,N] [--clips N]
// BANK and ACCENTS are made by speech.py. A shard is named by its seed, which alone determines its contents. Existing
// shards are kept.
import { existsSync, mkdirSync, openSync, readFileSync, readSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { resizeStill } from '../../../src/features/resize.ts';
import { captionPieces } from '../../../src/lab/synthetic/hard/hard-caption.ts';
import { HardPainter } from '../../../src/lab/synthetic/hard/hard-painter.ts';
import { sampleHardScript, type HardScript } from '../../../src/lab/synthetic/hard/hard-script.ts';
import { hardSoundTrack } from '../../../src/lab/synthetic/hard/hard-sound.ts';
import { Rng } from '../../../src/lab/synthetic/rng.ts';
import type { Geometry } from '../../../src/lab/synthetic/script.ts';
import { WORLD } from '../../../src/lab/synthetic/vocabulary.ts';
import type { Recording } from '../../../src/lab/synthetic/voices.ts';
import { frameCount, frameIndices, smartResize, type FrameSize } from '../../../src/media/sampling.ts';
import { writeSafetensors, type DumpTensor } from '../../../src/model/checkpoint/safetensors.ts';
import { HardTargets, TABLES, type Grid, type Shown } from './hard-targets.ts';

const FACTOR = 28;
const LIMITS = { minPixels: 3136, maxPixels: 14112 };
const RULES = { fps: 2, nframes: undefined, minFrames: 4, maxFrames: 768 };
/** Samples; a decoded track is padded to whole blocks. */
const AAC_BLOCK = 1024;
/** Distance between the seeds of shards; clip k has the seed of its shard + k. */
const SEED_STEP = 1000;
/** Whole seconds of a clip: mostly short, since a clip costs as much as it is long. */
const STEPS = [6, 7, 8, 9, 10, 12, 14, 16, 20, 26, 34, 44, 60];
const STEP_WEIGHTS = [10, 14, 16, 14, 12, 10, 8, 6, 5, 2, 1, 1, 1];
/** Clips times steps of a shard. */
const SHARD_STEPS = 640;
const LEAST_CLIPS = 8;

const readJson = (path: string): unknown => JSON.parse(readFileSync(path, 'utf8'));

interface Bank {
  readonly recording: (rng: Rng) => Recording;
  readonly trained: readonly string[];
  readonly heldOut: readonly string[];
}

/** Recordings are read from the file one by one: a bank is larger than what a process should hold. */
function openBank(path: string): Bank {
  const file = openSync(`${path}.npy`, 'r');
  const read = (from: number, bytes: number): Buffer => {
    const buffer = Buffer.alloc(bytes);
    readSync(file, buffer, 0, bytes, from);
    return buffer;
  };
  const start = 10 + read(8, 2).readUInt16LE(0);
  const spans = new Map<string, [number, number][]>();
  for (const [speaker, line, from, to] of readJson(`${path}.json`) as [string, string, number, number][]) {
    const key = `${speaker} ${line}`;
    spans.set(key, [...(spans.get(key) ?? []), [from, to]]);
  }
  const recording =
    (rng: Rng): Recording =>
    (speaker, line) => {
      const [from, to] = rng.pick(spans.get(`${speaker} ${line}`) ?? []);
      const piece = read(start + 2 * from, 2 * (to - from));
      return Float32Array.from({ length: to - from }, (_, index) => piece.readInt16LE(2 * index) / 32768);
    };
  return { recording, ...(readJson(`${path}.lines.json`) as Pick<Bank, 'trained' | 'heldOut'>) };
}

interface Clip {
  /** [2 * steps, height, width, 3] */
  readonly frames: Buffer;
  readonly wave: Int16Array;
  readonly cells: Buffer;
  readonly scenes: Int8Array;
  readonly steps: number;
  /** as hard.py reads it: the caption with and without sound, and all sounds */
  readonly said: { readonly on: Shown[]; readonly off: Shown[]; readonly sounds: string[] };
}

function makeClip(script: HardScript, voices: readonly Recording[], grid: Grid, target: FrameSize): Clip {
  const total = Math.round(script.duration * script.fps);
  const times = frameIndices(total, frameCount(total, script.fps, RULES)).map((frame) => frame / script.fps);
  const painter = new HardPainter(script);
  const [width, height] = script.size;
  const { wave, spans } = hardSoundTrack(script, voices);
  const padded = new Int16Array(Math.ceil(wave.length / AAC_BLOCK) * AAC_BLOCK);
  for (const [index, level] of wave.entries()) padded[index] = Math.trunc(level * 32767);
  const targets = new HardTargets(script, times, spans, grid);
  return {
    frames: Buffer.concat(times.map((time) => resizeStill(painter.frameAt(time), { width, height }, target))),
    wave: padded,
    cells: targets.cells(),
    scenes: targets.scenes(),
    steps: times.length / 2,
    said: {
      on: targets.shown(captionPieces(script, true)),
      off: targets.shown(captionPieces(script, false)),
      sounds: targets.sounds(),
    },
  };
}

interface ShardOptions {
  readonly heldOut: boolean;
  /** whole seconds, of which each shard draws one */
  readonly steps: readonly number[] | undefined;
  readonly clips: number | undefined;
}

function makeShard(seed: number, banks: readonly Bank[], options: ShardOptions): { clips: Clip[]; target: FrameSize } {
  const rng = new Rng(seed, 'shard');
  const duration = options.steps === undefined ? rng.weighted(STEPS, STEP_WEIGHTS) : rng.pick(options.steps);
  const size = { fps: rng.pick(WORLD.frameRates), size: rng.weighted(Object.values(WORLD.sizes), [2, 1, 1]) };
  const geometry: Geometry = { duration, ...size };
  const [width, height] = geometry.size;
  const target = smartResize({ width, height }, FACTOR, LIMITS);
  const grid = { rows: target.height / FACTOR, columns: target.width / FACTOR, width, height };
  const count = options.clips ?? Math.max(LEAST_CLIPS, Math.round(SHARD_STEPS / duration));
  const lines = banks.flatMap((bank) => (options.heldOut ? bank.heldOut : bank.trained));
  const clips = Array.from({ length: count }, (_, index) => {
    const script = sampleHardScript(seed + index, new Rng(seed + index, 'training script'), lines, geometry);
    const voices = banks.map(({ recording }) => recording(new Rng(seed + index, 'recordings')));
    return makeClip(script, voices, grid, target);
  });
  return { clips, target };
}

/** Written whole or not at all. */
async function writeShard(path: string, { clips, target }: ReturnType<typeof makeShard>): Promise<void> {
  const [{ steps, wave, cells } = { steps: 0, wave: [], cells: [] }] = clips;
  const count = clips.length;
  const tensors: DumpTensor[] = [
    {
      name: 'frames',
      dtype: 'U8',
      shape: [count, 2 * steps, target.height, target.width, 3],
      data: clips.map(({ frames }) => frames),
    },
    { name: 'wave', dtype: 'I16', shape: [count, wave.length], data: clips.map((clip) => clip.wave) },
    {
      name: 'cells',
      dtype: 'I8',
      shape: [count, steps, cells.length / steps / 4, 4],
      data: clips.map((clip) => clip.cells),
    },
    { name: 'scene', dtype: 'I8', shape: [count, steps, 4], data: clips.map(({ scenes }) => scenes) },
  ];
  const metadata = { clips: JSON.stringify(clips.map(({ said }) => said)), tables: JSON.stringify(TABLES) };
  await writeSafetensors(`${path}.part`, tensors, metadata);
  renameSync(`${path}.part`, path);
}

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: { 'held-out': { type: 'boolean', default: false }, steps: { type: 'string' }, clips: { type: 'string' } },
});
const [bank, accents, directory, first, shards] = positionals;
if (bank === undefined || accents === undefined || directory === undefined || shards === undefined)
  throw new Error('Usage: hard-shards.ts BANK ACCENTS DIRECTORY FIRST_SEED SHARDS');
mkdirSync(directory, { recursive: true });
const banks = [openBank(bank), openBank(accents)];
const options = {
  heldOut: values['held-out'],
  steps: values.steps?.split(',').map(Number),
  clips: values.clips === undefined ? undefined : Number(values.clips),
};
for (let index = 0; index < Number(shards); index++) {
  const seed = Number(first) + index * SEED_STEP;
  const path = join(directory, `${String(seed).padStart(9, '0')}.safetensors`);
  if (!existsSync(path)) await writeShard(path, makeShard(seed, banks, options));
}
