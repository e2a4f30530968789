// The sample clips that came with a model, in the directory `examples` beside its weights.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

export interface Sample {
  readonly name: string;
  readonly path: string;
  /** what is special about it */
  readonly kind: string;
  /** what is in it, as its maker knows */
  readonly caption: string;
}

/** As `captions.json` tells of them, the one to begin with first; none when the model came without. */
export async function samplesOf(modelDirectory: string): Promise<Sample[]> {
  const directory = join(modelDirectory, 'examples');
  const text = await readFile(join(directory, 'captions.json'), 'utf8').catch(() => '{}');
  const told = JSON.parse(text) as Record<string, Pick<Sample, 'kind' | 'caption'>>;
  return Object.entries(told).map(([name, { kind, caption }]) => ({
    name,
    path: join(directory, name),
    kind,
    caption,
  }));
}
