// What a model directory may contain besides the Hugging Face files: avocado.json, and sample clips in `examples`. And
// which model of the family it is, whose defaults then hold.
import { basename, join } from 'node:path';
import { Check, Errors, Type } from '../../base/schema.ts';
import { readModelText } from '../../base/bounded.ts';
import { AvocadoError } from '../../base/errors.ts';
import {
  DEFAULT_PRESET,
  defaultsOf,
  OUTPUT_FORMS,
  PRESET_NAMES,
  recognisePreset,
  type CaptionDefaults,
  type PresetName,
} from '../../settings/presets.ts';

const positive = Type.Optional(Type.Number({ exclusiveMinimum: 0 }));

const SCHEMA = Type.Object(
  {
    name: Type.Optional(Type.String({ minLength: 1 })),
    /** changes to the `paper` profile, under a name of its own */
    profile: Type.Optional(
      Type.Object(
        {
          name: Type.String({ minLength: 1 }),
          version: Type.Integer({ minimum: 1 }),
          fps: positive,
          minFrames: positive,
          maxFrames: positive,
          minPixels: positive,
          maxPixels: positive,
          totalPixels: positive,
          processorMinPixels: positive,
          processorMaxPixels: positive,
          processorFps: positive,
        },
        { additionalProperties: false },
      ),
    ),
    /** whose defaults hold where this file names none */
    preset: Type.Optional(Type.Enum([...PRESET_NAMES])),
    maxTokens: Type.Optional(Type.Integer({ minimum: 1, maximum: 2 ** 31 - 1 })),
    systemPrompt: Type.Optional(Type.Union([Type.String(), Type.Null()])),
    /** replaces the preset's prompts; prompt ids are positions in this list, from 1 */
    prompts: Type.Optional(Type.Array(Type.String({ minLength: 1 }), { minItems: 1 })),
    textFirst: Type.Optional(Type.Boolean()),
    repetitionPenalty: Type.Optional(Type.Number({ minimum: 0.01, maximum: 100 })),
    output: Type.Optional(Type.Enum([...OUTPUT_FORMS])),
    /** one sentence: what the model can caption */
    world: Type.Optional(Type.String()),
  },
  { additionalProperties: false },
);

type PackageFile = Type.Static<typeof SCHEMA>;

/** A model's name and defaults: of avocado.json, then of its preset. */
export interface ModelPackage extends Omit<CaptionDefaults, 'profile'> {
  readonly name: string;
  readonly preset: PresetName;
  readonly profile?: PackageFile['profile'];
  readonly world?: string | undefined;
}

/** The directory's name. The Hugging Face cache keeps `org/name` in `models--org--name/snapshots/<revision>`. */
function nameOf(directory: string): string {
  const hub = /models--(.+?)[\\/]snapshots[\\/]/.exec(`${directory}/`)?.[1];
  return hub === undefined ? basename(directory) : hub.replace('--', '/');
}

/** @returns undefined when there is no such file */
async function readOptionalJson(path: string): Promise<unknown> {
  const text = await readModelText(path);
  if (text === undefined) return undefined;
  try {
    return JSON.parse(text);
  } catch (cause) {
    const problem = `is not JSON: ${(cause as Error).message}. Correct it or remove it.`;
    throw new AvocadoError('checkpoint_invalid', `${path} ${problem}`, { cause });
  }
}

/**
 * Names that a model directory gives the model, most telling first: the directory's own, `_name_or_path` of
 * config.json, and of the model card its `model_name` and its first heading.
 */
async function namesOf(directory: string): Promise<readonly string[]> {
  const read = (name: string): Promise<string | undefined> =>
    readModelText(join(directory, name)).catch(() => undefined); // what is needed of it is reported by who needs it
  const config = /"_name_or_path"\s*:\s*"([^"]+)"/.exec((await read('config.json')) ?? '')?.[1];
  const card = (await read('README.md')) ?? '';
  const modelName = /^model_name:\s*["']?([^"'\n]+)/m.exec(/^---\n(.*?)\n---/s.exec(card)?.[1] ?? '')?.[1];
  const heading = /^#\s+(.+)$|<h1[^>]*>(.+?)<\/h1>/m.exec(card);
  const title = (heading?.[1] ?? heading?.[2])?.replace(/<[^>]*>/g, '').replace(/^[^\p{L}\p{N}]+/u, '');
  return [nameOf(directory), config, modelName, title].filter((name) => name !== undefined);
}

/**
 * What is known of a model before its config is read: avocado.json, and below it the defaults of a preset. A preset
 * that is asked for goes before avocado.json; else it is the one named there, or the one that the model's name implies.
 * @throws AvocadoError `checkpoint_invalid` when avocado.json is not JSON or has unknown or wrong fields
 */
export async function readModelPackage(directory: string, asked: PresetName | 'auto' = 'auto'): Promise<ModelPackage> {
  const { preset: named, ...file } = await readPackageFile(directory);
  const name = file.name ?? nameOf(directory);
  if (asked !== 'auto') return { world: file.world, ...defaultsOf(asked), name, preset: asked };
  const preset = named ?? recognisePreset(await namesOf(directory)) ?? DEFAULT_PRESET;
  return { ...defaultsOf(preset), ...file, name, preset };
}

async function readPackageFile(directory: string): Promise<PackageFile> {
  const path = join(directory, 'avocado.json');
  const value = await readOptionalJson(path);
  if (value === undefined) return {};
  if (Check(SCHEMA, value)) return value;
  const first = Errors(SCHEMA, value)[0];
  throw new AvocadoError(
    'checkpoint_invalid',
    `${path}: ${first?.instancePath ?? '/'} ${first?.message ?? 'is not valid'}. Correct it or remove it.`,
  );
}

/** A sample clip that came with a model. */
interface SampleClip {
  readonly name: string;
  readonly path: string;
  /** what is special about it */
  readonly kind: string;
  /** its true content */
  readonly caption: string;
}

/**
 * The sample clips that `examples/captions.json` lists, in its order. Empty when the model came without.
 * @throws AvocadoError `checkpoint_invalid` when the file cannot be read or is not JSON
 */
export async function readSampleClips(modelDirectory: string): Promise<SampleClip[]> {
  const directory = join(modelDirectory, 'examples');
  const listed = (await readOptionalJson(join(directory, 'captions.json'))) ?? {};
  return Object.entries(listed as Record<string, Pick<SampleClip, 'kind' | 'caption'>>).map(
    ([name, { kind, caption }]) => ({ name, path: join(directory, name), kind, caption }),
  );
}
