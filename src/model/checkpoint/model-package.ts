// What a model directory may contain besides the Hugging Face files: avocado.json, and sample clips in `examples`.
import { basename, join } from 'node:path';
import { Check, Errors, Type } from '../../base/schema.ts';
import { readTextFile } from '../../base/bounded.ts';
import { AvocadoError } from '../../base/errors.ts';

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
    maxTokens: Type.Optional(Type.Integer({ minimum: 1, maximum: 2 ** 31 - 1 })),
    systemPrompt: Type.Optional(Type.String()),
    /** replaces AVoCaDO's seven prompts; prompt ids are positions in this list, from 1 */
    prompts: Type.Optional(Type.Array(Type.String({ minLength: 1 }), { minItems: 1 })),
    /** one sentence: what the model can caption */
    world: Type.Optional(Type.String()),
  },
  { additionalProperties: false },
);

/** The content of avocado.json. */
export type ModelPackage = Type.Static<typeof SCHEMA> & { readonly name: string };

/** The directory's name. The Hugging Face cache keeps `org/name` in `models--org--name/snapshots/<revision>`. */
function nameOf(directory: string): string {
  const hub = /models--(.+?)[\\/]snapshots[\\/]/.exec(`${directory}/`)?.[1];
  return hub === undefined ? basename(directory) : hub.replace('--', '/');
}

/** @returns undefined when there is no such file */
async function readOptionalJson(path: string): Promise<unknown> {
  let text: string | undefined;
  try {
    text = await readTextFile(path);
  } catch (cause) {
    throw new AvocadoError('checkpoint_invalid', `${path} cannot be read: ${(cause as Error).message}. Replace it.`, {
      cause,
    });
  }
  if (text === undefined) return undefined;
  try {
    return JSON.parse(text);
  } catch (cause) {
    const problem = `is not JSON: ${(cause as Error).message}. Correct it or remove it.`;
    throw new AvocadoError('checkpoint_invalid', `${path} ${problem}`, { cause });
  }
}

/**
 * Reads `avocado.json` of a model directory. Without the file, only the name is known, from the directory.
 * @throws AvocadoError `checkpoint_invalid` when the file is not JSON or has unknown or wrong fields
 */
export async function readModelPackage(directory: string): Promise<ModelPackage> {
  const path = join(directory, 'avocado.json');
  const value = await readOptionalJson(path);
  if (value === undefined) return { name: nameOf(directory) };
  if (Check(SCHEMA, value)) return { ...value, name: value.name ?? nameOf(directory) };
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
