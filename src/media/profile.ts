import { AvocadoError } from '../base/errors.ts';
import type { PreprocessProfile, ProfileOverrides } from './types.ts';

/** The regime AVoCaDO was trained in: at most 512 merged patches a frame and 25,600 of them a clip (paper, appendix C; reference-model 3.3). */
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

/** What the authors' inference.py does literally: its total budget comes too late to have an effect (reference-model 3.3). */
const REFERENCE_CLI: PreprocessProfile = { ...PAPER, name: 'reference-cli', totalPixels: 90_316_800 };

/** Named, versioned pre-processing; a version changes whenever a number does. */
export const PROFILES: readonly PreprocessProfile[] = [PAPER, REFERENCE_CLI];

/** A profile that a model directory brings (avocado.json): overrides of `paper` under a name of its own. */
export interface ModelProfile extends ProfileOverrides {
  readonly name: string;
  readonly version: number;
}

/**
 * The profile of a request: the named one (the model's own, else `paper`), with single fields replaced.
 * @throws AvocadoError `bad_request` for an unknown name, a field that is not positive, or limits that exclude each other
 */
export function resolveProfile(
  name: string | undefined,
  overrides: ProfileOverrides = {},
  modelProfile?: ModelProfile,
): PreprocessProfile {
  const known = modelProfile === undefined ? PROFILES : [ownProfile(modelProfile), ...PROFILES];
  const wanted = name ?? modelProfile?.name ?? PAPER.name;
  const base = known.find((profile) => profile.name === wanted);
  if (base === undefined) {
    throw new AvocadoError(
      'bad_request',
      `There is no profile "${wanted}". Known: ${known.map((profile) => profile.name).join(', ')}.`,
      { param: 'profile' },
    );
  }
  const profile = withOverrides(base, overrides);
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

const COUNTS = [
  'nframes',
  'minFrames',
  'maxFrames',
  'minPixels',
  'maxPixels',
  'totalPixels',
  'processorMinPixels',
  'processorMaxPixels',
] as const;
const RATES = ['fps', 'processorFps'] as const;
const ORDERED = [
  ['minFrames', 'maxFrames'],
  ['minPixels', 'maxPixels'],
  ['processorMinPixels', 'processorMaxPixels'],
] as const;

function checkFields(profile: PreprocessProfile): void {
  for (const field of RATES) {
    if (!(Number.isFinite(profile[field]) && profile[field] > 0))
      throw badField(field, `must be a positive number, not ${profile[field]}`);
  }
  for (const field of COUNTS) {
    const value = profile[field];
    if (value !== undefined && !(Number.isSafeInteger(value) && value > 0))
      throw badField(field, `must be a positive whole number, not ${value}`);
  }
}

/** Only of what was asked for in one breath: a low maximum alone is fine, it wins over the profile's minimum as in the reference. */
function checkOrder(overrides: ProfileOverrides): void {
  for (const [low, high] of ORDERED) {
    const least = overrides[low];
    const most = overrides[high];
    if (least !== undefined && most !== undefined && least > most)
      throw badField(low, `is ${least}, which is more than ${requestName(high)} (${most})`);
  }
}

/** The name people give a field by: `minFrames` is `min_frames` in a request. */
function requestName(field: string): string {
  return field.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

function badField(field: string, problem: string): AvocadoError {
  const name = requestName(field);
  return new AvocadoError('bad_request', `${name} ${problem}. Correct it or leave it out.`, { param: name });
}
