import { readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import Type from 'typebox';
import { Check, Errors } from 'typebox/value';
import { AvocadoError } from '../../base/errors.ts';

const positive = Type.Optional(Type.Number({ exclusiveMinimum: 0 }));

const SCHEMA = Type.Object(
  {
    name: Type.Optional(Type.String({ minLength: 1 })),
    /** overrides of the `paper` profile under a name of its own */
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
    maxTokens: Type.Optional(Type.Integer({ minimum: 1 })),
    systemPrompt: Type.Optional(Type.String()),
    /** replace AVoCaDO's seven; prompt ids count from 1 in this list */
    prompts: Type.Optional(Type.Array(Type.String({ minLength: 1 }), { minItems: 1 })),
    /** one sentence: what the model can caption */
    world: Type.Optional(Type.String()),
  },
  { additionalProperties: false },
);

/** What a model directory says about itself beyond the Hugging Face files (avocado.json, optional). */
export type ModelPackage = Type.Static<typeof SCHEMA> & { readonly name: string };

/** `models--org--name/snapshots/<revision>` is how the hub cache spells `org/name`. */
function nameOf(directory: string): string {
  const hub = /models--(.+?)[\\/]snapshots[\\/]/.exec(`${directory}/`)?.[1];
  return hub === undefined ? basename(directory) : hub.replace('--', '/');
}

/**
 * Reads `avocado.json` of a model directory; without one the directory's name is all there is.
 * @throws AvocadoError `checkpoint_invalid` when the file is not JSON or has unknown or wrong fields
 */
export async function readModelPackage(directory: string): Promise<ModelPackage> {
  const path = join(directory, 'avocado.json');
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return { name: nameOf(directory) };
    throw new AvocadoError('checkpoint_invalid', `${path} cannot be read: ${(cause as Error).message}.`, { cause });
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new AvocadoError(
      'checkpoint_invalid',
      `${path} is not JSON: ${(cause as Error).message}. Correct it or remove it.`,
      { cause },
    );
  }
  if (Check(SCHEMA, value)) return { ...value, name: value.name ?? nameOf(directory) };
  const first = Errors(SCHEMA, value)[0];
  throw new AvocadoError(
    'checkpoint_invalid',
    `${path}: ${first?.instancePath ?? '/'} ${first?.message ?? 'is not valid'}. Correct it or remove it.`,
  );
}
