import { AvocadoError } from '../base/errors.ts';

/** Fields of a profile that a request or a model directory may set. */
export type ProfileOverrides = Readonly<
  Partial<
    Record<
      | 'fps'
      | 'nframes'
      | 'minFrames'
      | 'maxFrames'
      | 'minPixels'
      | 'maxPixels'
      | 'totalPixels'
      | 'processorMinPixels'
      | 'processorMaxPixels'
      | 'processorFps',
      number
    >
  >
>;

/** Every number that decides what the model sees. Pixels are per frame unless stated otherwise. */
export interface PreprocessProfile {
  readonly name: string;
  readonly version: number;
  /** sampling rate asked for, frames per second */
  readonly fps: number;
  /** fixed number of frames instead of fps */
  readonly nframes?: number | undefined;
  readonly minFrames: number;
  readonly maxFrames: number;
  /** stage A: first resize (qwen-omni-utils) */
  readonly minPixels: number;
  readonly maxPixels?: number | undefined;
  /** pixels of all frames together; at most totalPixels / nframes * 2 a frame */
  readonly totalPixels: number;
  /** stage B: second smart_resize inside the processor */
  readonly processorMinPixels: number;
  readonly processorMaxPixels: number;
  /**
   * limits of still pictures, set only where the processor's limits were overridden; else preprocessor_config.json
   * decides
   */
  readonly imageMinPixels?: number | undefined;
  readonly imageMaxPixels?: number | undefined;
  /** limits of a still picture's first resize, set only by a request's own min_pixels and max_pixels */
  readonly stillMinPixels?: number | undefined;
  readonly stillMaxPixels?: number | undefined;
  /** only sets second_per_grid = temporal_patch_size / processorFps */
  readonly processorFps: number;
}

/**
 * How AVoCaDO was trained: at most 512 merged patches a frame and 25,600 a clip (paper, appendix C; reference-model.md,
 * Pixel budget).
 */
const PAPER: PreprocessProfile = {
  name: 'paper',
  version: 1,
  fps: 2,
  minFrames: 4,
  maxFrames: 768,
  minPixels: 128 * 28 * 28,
  maxPixels: 512 * 28 * 28,
  totalPixels: 25_600 * 28 * 28,
  processorMinPixels: 128 * 28 * 28,
  processorMaxPixels: 768 * 28 * 28,
  processorFps: 2,
};

/**
 * What the authors' inference.py does: it sets the total budget too late to have an effect (reference-model.md, Pixel
 * budget).
 */
const REFERENCE_CLI: PreprocessProfile = { ...PAPER, name: 'reference-cli', totalPixels: 90_316_800 };

/** How CapRiCorn-1K's authors ran the models of this family: 256 merged patches a frame (arXiv 2606.21949, table 6). */
const CAPRICORN_EVAL: PreprocessProfile = {
  ...PAPER,
  name: 'capricorn-eval',
  maxFrames: 200,
  maxPixels: 256 * 28 * 28,
};

/** Named pre-processing. The version changes whenever a number does. */
const PROFILES: readonly PreprocessProfile[] = [PAPER, REFERENCE_CLI, CAPRICORN_EVAL];

/** A profile that a model directory defines (avocado.json): overrides of `paper` under its own name. */
interface ModelProfile extends ProfileOverrides {
  readonly name: string;
  readonly version: number;
}

/** As answers tell it. */
export function profileLabel({ name, version }: Pick<PreprocessProfile, 'name' | 'version'>): string {
  return `${name}@${version}`;
}

/**
 * The profile of a request: the named one (the model's own, else `paper`), with single fields replaced. The name may
 * have the version that answers tell, such as `paper@1`.
 * @throws AvocadoError `bad_request` for an unknown name, a field beyond its limits, or limits that exclude each
 *   other
 */
export function resolveProfile(
  name: string | undefined,
  overrides: ProfileOverrides = {},
  modelProfile?: ModelProfile,
): PreprocessProfile {
  const known = modelProfile === undefined ? PROFILES : [ownProfile(modelProfile), ...PROFILES];
  const wanted = name ?? modelProfile?.name ?? PAPER.name;
  const base = known.find((profile) => profile.name === wanted || profileLabel(profile) === wanted);
  if (base === undefined) {
    throw new AvocadoError(
      'bad_request',
      `There is no profile "${wanted}". Known: ${known.map(profileLabel).join(', ')}; the version may be left out.`,
      { param: 'profile' },
    );
  }
  const { minPixels: stillMinPixels, maxPixels: stillMaxPixels } = overrides;
  const profile = { ...withOverrides(base, overrides), stillMinPixels, stillMaxPixels };
  checkFields(profile);
  checkOrder(overrides);
  return profile;
}

function ownProfile(model: ModelProfile): PreprocessProfile {
  return withOverrides({ ...PAPER, name: model.name, version: model.version }, model);
}

function withOverrides(base: PreprocessProfile, fields: ProfileOverrides): PreprocessProfile {
  return {
    ...base,
    fps: fields.fps ?? base.fps,
    nframes: fields.nframes ?? base.nframes,
    minFrames: fields.minFrames ?? base.minFrames,
    maxFrames: fields.maxFrames ?? base.maxFrames,
    minPixels: fields.minPixels ?? base.minPixels,
    maxPixels: fields.maxPixels ?? base.maxPixels,
    totalPixels: fields.totalPixels ?? base.totalPixels,
    processorMinPixels: fields.processorMinPixels ?? base.processorMinPixels,
    processorMaxPixels: fields.processorMaxPixels ?? base.processorMaxPixels,
    processorFps: fields.processorFps ?? base.processorFps,
    imageMinPixels: fields.processorMinPixels ?? base.imageMinPixels,
    imageMaxPixels: fields.processorMaxPixels ?? base.imageMaxPixels,
  };
}

interface ProfileLimit {
  readonly type: 'integer' | 'number';
  readonly least: number;
  readonly most: number;
}

/** Per second: 10,000 s between two frames, or every frame of the fastest camera. */
const RATE: ProfileLimit = { type: 'number', least: 0.0001, most: 1000 };
/** An hour at 240 frames a second has fewer frames. */
const FRAMES: ProfileLimit = { type: 'integer', least: 1, most: 1_000_000 };
/** Of one frame: twice the largest picture that is taken. */
const PIXELS: ProfileLimit = { type: 'integer', least: 1, most: 100_000_000 };
/** More pixels than this do not fit the memory that frames may take. */
const ALL_PIXELS: ProfileLimit = { type: 'integer', least: 1, most: 1_000_000_000 };

/** What each field may be, wherever it is set: by a request, a flag or a model directory. */
export const PROFILE_LIMITS: Readonly<Record<keyof ProfileOverrides, ProfileLimit>> = {
  fps: RATE,
  nframes: FRAMES,
  minFrames: FRAMES,
  maxFrames: FRAMES,
  minPixels: PIXELS,
  maxPixels: PIXELS,
  totalPixels: ALL_PIXELS,
  processorMinPixels: PIXELS,
  processorMaxPixels: PIXELS,
  processorFps: RATE,
};

const ORDERED = [
  ['minFrames', 'maxFrames'],
  ['minPixels', 'maxPixels'],
  ['processorMinPixels', 'processorMaxPixels'],
] as const;

function checkFields(profile: PreprocessProfile): void {
  for (const [name, { type, least, most }] of Object.entries(PROFILE_LIMITS)) {
    const value = profile[name as keyof ProfileOverrides];
    if (value === undefined) continue;
    const fits = value >= least && value <= most && (type === 'number' || Number.isInteger(value));
    const kind = type === 'number' ? 'number' : 'whole number';
    if (!fits) throw badField(name, `must be a ${kind} from ${least} to ${most}, not ${value}`);
  }
}

/**
 * Compares only limits that were overridden together. A low maximum alone is fine: it wins over the profile's minimum,
 * as in the reference.
 */
function checkOrder(overrides: ProfileOverrides): void {
  for (const [low, high] of ORDERED) {
    const least = overrides[low];
    const most = overrides[high];
    if (least !== undefined && most !== undefined && least > most)
      throw badField(low, `is ${least}, which is more than ${requestName(high)} (${most})`);
  }
}

/** The name of a field in a request: `minFrames` is `min_frames` there. */
function requestName(field: string): string {
  return field.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

function badField(field: string, problem: string): AvocadoError {
  const name = requestName(field);
  return new AvocadoError('bad_request', `${name} ${problem}. Correct it or leave it out.`, { param: name });
}
