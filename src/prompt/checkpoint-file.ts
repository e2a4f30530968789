import { join } from 'node:path';
import { readModelText } from '../base/bounded.ts';
import { AvocadoError } from '../base/errors.ts';
import { isJsonObject, parseJson, type JsonObject } from '../base/json.ts';

/**
 * A JSON file of a checkpoint; undefined when there is no such file.
 * @throws AvocadoError `checkpoint_invalid` when it cannot be read or is not a JSON object
 */
export async function readCheckpointJson(directory: string, name: string): Promise<JsonObject | undefined> {
  const text = await readModelText(join(directory, name));
  if (text === undefined) return undefined;
  const parsed = parseJson(text);
  if (isJsonObject(parsed)) return parsed;
  throw new AvocadoError('checkpoint_invalid', `${name} in ${directory} is not a JSON object: download it again.`);
}
