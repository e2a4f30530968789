import { join } from 'node:path';
import { readTextFile } from '../base/bounded.ts';
import { AvocadoError } from '../base/errors.ts';

export type JsonObject = Readonly<Record<string, unknown>>;

export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/**
 * Text of a file of a checkpoint, undefined when there is no such file.
 * @throws AvocadoError `checkpoint_invalid` when it cannot be read
 */
export async function readCheckpointText(directory: string, name: string): Promise<string | undefined> {
  try {
    return await readTextFile(join(directory, name));
  } catch (cause) {
    const reason = (cause as Error).message;
    throw new AvocadoError('checkpoint_invalid', `${name} in ${directory} cannot be read: ${reason}. Replace it.`, {
      cause,
    });
  }
}

/**
 * As readCheckpointText, parsed.
 * @throws AvocadoError `checkpoint_invalid` when it is not a JSON object
 */
export async function readCheckpointJson(directory: string, name: string): Promise<JsonObject | undefined> {
  const text = await readCheckpointText(directory, name);
  if (text === undefined) return undefined;
  let cause: unknown;
  try {
    const parsed: unknown = JSON.parse(text);
    if (isJsonObject(parsed)) return parsed;
  } catch (error) {
    cause = error;
  }
  throw new AvocadoError('checkpoint_invalid', `${name} in ${directory} is not a JSON object: download it again.`, {
    cause,
  });
}
