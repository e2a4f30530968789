// Produces training data of the hard level: shards of clips of one geometry, with captions in pieces, where each piece
// can be seen or heard, and dense targets. hard.py reads them.
//
// usage: npx tsx models/avocado-nano/recipe/hard-shards.ts BANK ACCENTS DIRECTORY FIRST_SEED SHARDS [--held-out]
//        [--steps N,N] [--clips N]
// BANK and ACCENTS are made by speech.py. A shard is named by its steps and its seed, and the seed alone determines its
// contents. Existing shards are kept.
import { existsSync, mkdirSync, openSync, readFileSync, readSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { resizeStill } from '../../../src/features/resize.ts';
import { captionPieces, type Piece, type Subject } from '../../../src/lab/synthetic/hard/hard-caption.ts';
import { HardPainter, placesAt, shotNumberAt, type Place } from '../../../src/lab/synthetic/hard/hard-painter.ts';
import { isHeard, sampleHardScript, type HardScript, type Shot } from '../../../src/lab/synthetic/hard/hard-script.ts';
import { hardSoundTrack, type HeardSpan } from '../../../src/lab/synthetic/hard/hard-sound.ts';
import { objectStates } from '../../../src/lab/synthetic/frame-painter.ts';
import { Rng } from '../../../src/lab/synthetic/rng.ts';
import type { Geometry } from '../../../src/lab/synthetic/script.ts';
import { WORLD } from '../../../src/lab/synthetic/vocabulary.ts';
import type { Recording } from '../../../src/lab/synthetic/voices.ts';
import { smartResize } from '../../../src/media/sampling.ts';

const FACTOR = 28;
const LIMITS = { minPixels: 3136, maxPixels: 14112 };
const TOKENS_PER_SECOND = 25;
/** Samples; a decoded track is padded to whole blocks. */
const AAC_BLOCK = 1024;
/** Distance between the seeds of shards; clip k has the seed of its shard + k. */
const SEED_STEP = 1000;
/** Whole seconds of a clip: mostly short, since a clip costs as much as it is long. */
const STEPS = [6, 7, 8, 9, 10, 12, 14, 16, 20, 26, 34, 44, 60];
const STEP_WEIGHTS = [10, 14, 16, 14, 12, 10, 8, 6, 5, 2, 1, 1, 1];
/** Clips times steps of a shard. */
const SHARD_STEPS = 640;
/** Share of an event between a step's two frames: below the first no event, above the second an event, else unclear. */
const SEEN_FROM = 0.03;
const CLEAR_FROM = 0.13;
const UNCLEAR = -100;
/** Seconds of an event that must lie between a step's two frames. */
const ACTING_FROM = 0.05;
const CLEARLY_FADING = 0.45;
const STEP_SECONDS = 1;
/** Seconds. */
const WORD_MARGIN = 0.12;

const SHAPES = ['none', ...WORLD.shapes, ...Object.keys(WORLD.hard.figures)];
const COLORS = ['none', ...Object.keys(WORLD.colors)];
const ACTIONS = ['none', ...Object.keys(WORLD.verbs), 'front', 'behind', 'figure', 'speech'];
const SIZES = ['none', ...Object.keys(WORLD.radii)];
const CAMERAS = ['none', ...Object.keys(WORLD.hard.cameras)];
const TRANSITIONS = ['none', ...Object.keys(WORLD.hard.transitions)];
const BETWEEN_SIZES = Object.values(WORLD.radii).reduce((sum, radius) => sum + radius, 0) / 2;

/** [text, cells as step * cells + cell, first and last token of sound] */
type Shown = readonly [text: string, see: readonly number[], hear: readonly [number, number] | null];

interface Grid {
  readonly rows: number;
  readonly columns: number;
  readonly width: number;
  readonly height: number;
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
  for (const [speaker, line, from, to] of readJson<[string, string, number, number][]>(`${path}.json`)) {
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
  return { recording, ...readJson<Pick<Bank, 'trained' | 'heldOut'>>(`${path}.lines.json`) };
}

interface Bank {
  readonly recording: (rng: Rng) => Recording;
  readonly trained: readonly string[];
  readonly heldOut: readonly string[];
}

const readJson = <T>(path: string): T => JSON.parse(readFileSync(path, 'utf8')) as T;

/** Two frames a second, an even number, from the first to the last. */
function frameTimes({ duration, fps }: Geometry): number[] {
  const total = Math.round(duration * fps);
  const count = Math.floor(Math.min(Math.max((total / fps) * 2, 4), total) / 2) * 2;
  return Array.from({ length: count }, (_, index) => Math.round((index * (total - 1)) / (count - 1)) / fps);
}

/** One step: its two frames in one shot, as seconds from the start of that shot. */
interface Step {
  readonly shot: number;
  readonly first: number;
  readonly second: number;
  /** its first frame is of the shot before */
  readonly spansCut: boolean;
}

function stepsOf(script: HardScript, times: readonly number[]): Step[] {
  return Array.from({ length: times.length / 2 }, (_, step) => {
    const [first = 0, second = 0] = [times[2 * step], times[2 * step + 1]];
    const shot = shotNumberAt(script, second);
    const { start } = script.shots[shot]!;
    const spansCut = shotNumberAt(script, first) !== shot;
    return { shot, first: Math.max(0, first - start), second: second - start, spansCut };
  });
}

const shareIn = (step: Step, event: { readonly start: number; readonly end: number }): number =>
  (Math.min(step.second, event.end) - Math.max(step.first, event.start)) / (event.end - event.start);

function actionOf(step: Step, event: { readonly start: number; readonly end: number } | undefined, name: string): number {
  const share = event === undefined ? 0 : shareIn(step, event);
  if (share <= SEEN_FROM) return 0;
  return share > CLEAR_FROM ? ACTIONS.indexOf(name) : UNCLEAR;
}

function cellOf({ x, y }: Place, grid: Grid): number {
  const column = Math.min(Math.max(Math.floor((x / grid.width) * grid.columns), 0), grid.columns - 1);
  const row = Math.min(Math.max(Math.floor((y / grid.height) * grid.rows), 0), grid.rows - 1);
  return row * grid.columns + column;
}

function nearestColor(color: readonly number[]): number {
  const distance = (rgb: readonly number[]): number => rgb.reduce((sum, level, index) => sum + Math.abs(level - color[index]!), 0);
  const distances = Object.values(WORLD.colors).map(distance);
  return 1 + distances.indexOf(Math.min(...distances));
}

/** What each cell of a step shows, [cells, 4] of shape, colour, action and size, and where everything is. */
function cellsOf(script: HardScript, step: Step, grid: Grid): { cells: Int8Array; objects: number[]; figure: number } {
  const shot = script.shots[step.shot]!;
  const middle = (step.first + step.second) / 2;
  const places = placesAt(shot, script.size, middle);
  const changes = shot.events.filter((event) => event.kind === 'visual');
  const states = objectStates({ size: script.size, objects: shot.objects, events: changes }, middle);
  const cells = new Int8Array(grid.rows * grid.columns * 4);
  const figure = places.figure === null ? -1 : cellOf(places.figure, grid);
  if (shot.figure !== null) {
    const act = shot.events.find((event) => event.kind === 'figure' && shareIn(step, event) > SEEN_FROM);
    const line = shot.events.find((event) => event.kind === 'speech' && event.view === 'on' && shareIn(step, event) > SEEN_FROM);
    const action = act !== undefined && 'end' in act ? actionOf(step, act, 'figure') : line !== undefined && 'end' in line ? ACTIONS.indexOf('speech') : 0;
    cells.set([SHAPES.indexOf(shot.figure.kind), 0, action, 0], figure * 4);
  }
  const objects = places.objects.map((place, index) => {
    if (place.opacity < 0.2) return -1;
    const cell = cellOf(place, grid);
    const { color, radius } = states[index]!;
    const event = shot.events.find((one) => (one.kind === 'visual' || one.kind === 'pass') && one.object === index && shareIn(step, one) > SEEN_FROM);
    const name = event?.kind === 'visual' ? event.verb : event?.kind === 'pass' ? event.how : '';
    const action = event !== undefined && 'end' in event ? actionOf(step, event, name) : 0;
    const size = SIZES.indexOf(radius > BETWEEN_SIZES ? 'large' : 'small');
    cells.set([SHAPES.indexOf(shot.objects[index]!.shape), nearestColor(color), action, size], cell * 4);
    return cell;
  });
  return { cells, objects, figure };
}

/** Background with texture, word, camera and transition of a step, as class numbers. */
function sceneOf(script: HardScript, step: Step): number[] {
  const shot = script.shots[step.shot]!;
  const background = Object.keys(WORLD.backgrounds).indexOf(shot.background) * WORLD.textures.length + WORLD.textures.indexOf(shot.texture);
  const change = shot.events.find((event) => event.kind === 'word');
  const word = change?.kind === 'word' && step.second > (change.start + change.end) / 2 ? change.to : shot.text;
  const camera = shot.events.find((event) => event.kind === 'camera');
  const share = camera?.kind === 'camera' ? shareIn(step, camera) : 0;
  const move = camera?.kind === 'camera' && share > SEEN_FROM ? (share > CLEAR_FROM ? CAMERAS.indexOf(camera.move) : UNCLEAR) : 0;
  return [background, word === null ? 0 : 1 + WORLD.screenWords.indexOf(word), move, transitionIn(shot, step)];
}

/** A single step shows a cut only where it lies between its two frames. */
function transitionIn(shot: Shot, { first, spansCut }: Step): number {
  if (shot.transition === null) return 0;
  if (spansCut || (shot.transition === 'fade' && first <= CLEARLY_FADING)) return TRANSITIONS.indexOf(shot.transition);
  return first < STEP_SECONDS / 2 ? UNCLEAR : 0;
}

interface Where {
  readonly script: HardScript;
  readonly steps: readonly Step[];
  readonly shown: readonly ReturnType<typeof cellsOf>[];
  readonly spans: readonly HeardSpan[];
  readonly grid: Grid;
}

function seeOf({ script, steps, shown, grid }: Where, subject: Subject): number[] {
  const cells = grid.rows * grid.columns;
  const all = (step: number): number[] => Array.from({ length: cells }, (_, cell) => step * cells + cell);
  const of = [...steps.keys()].filter((step) => steps[step]!.shot === subject.shot);
  const one = (step: number, cell: number | undefined): number[] => (cell === undefined || cell < 0 ? [] : [step * cells + cell]);
  switch (subject.kind) {
    case 'background':
      return of.slice(0, 2).flatMap(all);
    case 'transition':
      return of.slice(0, 1).flatMap(all);
    case 'screen-word':
      return of.slice(0, 2).flatMap((step) => one(step, Math.floor(grid.columns / 2)));
    case 'object':
      return of.slice(0, 2).flatMap((step) => one(step, shown[step]!.objects[subject.object]));
    case 'figure':
      return of.slice(0, 2).flatMap((step) => one(step, shown[step]!.figure));
    default: {
      const event = script.shots[subject.shot]!.events[subject.event]!;
      if (isHeard(event)) return [];
      const acting = of.filter((step) => Math.min(steps[step]!.second, event.end) - Math.max(steps[step]!.first, event.start) > ACTING_FROM);
      if (event.kind === 'camera') return acting.flatMap(all);
      if (event.kind === 'word') return acting.flatMap((step) => one(step, Math.floor(grid.columns / 2)));
      return acting.flatMap((step) => one(step, event.kind === 'figure' ? shown[step]!.figure : shown[step]!.objects[event.object]));
    }
  }
}

function hearOf({ script, spans }: Where, subject: Subject): [number, number] | null {
  if (subject.kind !== 'event' && subject.kind !== 'words') return null;
  const event = script.shots[subject.shot]!.events[subject.event]!;
  const span = spans.find((one) => one.shot === subject.shot && one.event === subject.event);
  if (span === undefined || !isHeard(event)) return null;
  let { start, end } = span;
  if (subject.kind === 'words' && event.kind === 'speech') {
    const pace = (end - start) / event.text.length;
    [start, end] = [start + pace * subject.from - WORD_MARGIN, start + pace * subject.to + WORD_MARGIN];
  }
  return [Math.max(0, Math.floor(start * TOKENS_PER_SECOND)), Math.floor(end * TOKENS_PER_SECOND) + 1];
}

const shownPieces = (where: Where, pieces: readonly Piece[]): Shown[] =>
  pieces.map(({ text, subject }) => (subject === undefined ? [text, [], null] : [text, seeOf(where, subject), hearOf(where, subject)]));

/** All sounds in their order: the name of a sound, or a speaker followed by every word. */
function soundsOf({ script, spans }: Where): string[] {
  return [...spans]
    .sort((one, other) => one.start - other.start)
    .flatMap(({ shot, event }) => {
      const what = script.shots[shot]!.events[event]!;
      if (what.kind === 'sound') return [what.sound];
      return what.kind === 'speech' ? [what.speaker, ...what.text.split(' ')] : [];
    });
}

function makeClip(script: HardScript, voices: readonly Recording[], grid: Grid, target: { width: number; height: number }) {
  const times = frameTimes(script);
  const steps = stepsOf(script, times);
  const painter = new HardPainter(script);
  const [width, height] = script.size;
  const frames = times.map((time) => resizeStill(painter.frameAt(time), { width, height }, target));
  const { wave, spans } = hardSoundTrack(script, voices);
  const padded = new Int16Array(Math.ceil(wave.length / AAC_BLOCK) * AAC_BLOCK);
  for (const [index, level] of wave.entries()) padded[index] = Math.trunc(level * 32767);
  const shown = steps.map((step) => cellsOf(script, step, grid));
  const where = { script, steps, shown, spans, grid };
  const [on, off] = [true, false].map((sound) => shownPieces(where, captionPieces(script, sound)));
  const cells = Buffer.concat(shown.map((one) => Buffer.from(one.cells.buffer)));
  const scene = Int8Array.from(steps.flatMap((step) => sceneOf(script, step)));
  return { frames: Buffer.concat(frames), wave: padded, cells, scene, said: { on, off, sounds: soundsOf(where) }, steps: steps.length };
}

function writeShard(path: string, seed: number, banks: readonly Bank[], options: { heldOut: boolean; steps: number[] | undefined; clips: number | undefined }): void {
  const rng = new Rng(seed, 'shard');
  const duration = options.steps === undefined ? rng.weighted(STEPS, STEP_WEIGHTS) : rng.pick(options.steps);
  const geometry = { duration, fps: rng.pick(WORLD.frameRates), size: rng.weighted(Object.values(WORLD.sizes), [2, 1, 1]) };
  const [width, height] = geometry.size;
  const target = smartResize({ width, height }, FACTOR, LIMITS);
  const grid = { rows: target.height / FACTOR, columns: target.width / FACTOR, width, height };
  const count = options.clips ?? Math.max(8, Math.round(SHARD_STEPS / duration));
  const lines = banks.flatMap((bank) => (options.heldOut ? bank.heldOut : bank.trained));
  const clips = Array.from({ length: count }, (_, index) => {
    const script = sampleHardScript(seed + index, new Rng(seed + index, 'training script'), lines, geometry);
    return makeClip(script, banks.map(({ recording }) => recording(new Rng(seed + index, 'recordings'))), grid, target);
  });
  const { steps, wave } = clips[0]!;
  const tensors: [string, string, number[], Buffer[]][] = [
    ['frames', 'U8', [count, 2 * steps, target.height, target.width, 3], clips.map(({ frames }) => frames)],
    ['wave', 'I16', [count, wave.length], clips.map((clip) => Buffer.from(clip.wave.buffer))],
    ['cells', 'I8', [count, steps, grid.rows * grid.columns, 4], clips.map(({ cells }) => cells)],
    ['scene', 'I8', [count, steps, 4], clips.map(({ scene }) => Buffer.from(scene.buffer))],
  ];
  const tables = { shapes: SHAPES, colors: COLORS, actions: ACTIONS, sizes: SIZES, cameras: CAMERAS, transitions: TRANSITIONS };
  const metadata = { clips: JSON.stringify(clips.map(({ said }) => said)), tables: JSON.stringify(tables) };
  const header: Record<string, unknown> = { __metadata__: metadata };
  let at = 0;
  for (const [name, dtype, shape, pieces] of tensors) {
    const bytes = pieces.reduce((sum, piece) => sum + piece.length, 0);
    header[name] = { dtype, shape, data_offsets: [at, at + bytes] };
    at += bytes;
  }
  const json = Buffer.from(JSON.stringify(header));
  const head = Buffer.concat([json, Buffer.alloc((8 - (json.length % 8)) % 8, ' ')]);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(head.length));
  writeFileSync(`${path}.part`, Buffer.concat([length, head, ...tensors.flatMap(([, , , pieces]) => pieces)]));
  renameSync(`${path}.part`, path);
}

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: { 'held-out': { type: 'boolean', default: false }, steps: { type: 'string' }, clips: { type: 'string' } },
});
const [bank, accents, directory, first, shards] = positionals;
if (shards === undefined) throw new Error('Usage: hard-shards.ts BANK ACCENTS DIRECTORY FIRST_SEED SHARDS');
mkdirSync(directory!, { recursive: true });
const banks = [openBank(bank!), openBank(accents!)];
const steps = values.steps?.split(',').map(Number);
for (let index = 0; index < Number(shards); index++) {
  const seed = Number(first) + index * SEED_STEP;
  const path = join(directory!, `${String(seed).padStart(9, '0')}.safetensors`);
  if (!existsSync(path)) writeShard(path, seed, banks, { heldOut: values['held-out'], steps, clips: values.clips === undefined ? undefined : Number(values.clips) });
}
