// The recorded lines that come with the model: 60 lines, each by a man and by a woman, and once more in accents.
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { AvocadoError } from '../../base/errors.ts';
import { runFfmpeg } from '../../media/ffmpeg.ts';
import { modelFile, WORLD } from './vocabulary.ts';

/** The recording of a line by a speaker: mono at WORLD.sampleRate, at full scale. */
export type Recording = (speaker: string, line: string) => Float32Array;

/** `from` to `to` in samples of the decoded file */
type IndexedLine = readonly [line: string, speaker: string, from: number, to: number];

const DECODE_SECONDS = 30;

/** Two sets of the same lines; those in accents are of the hard level only. */
export type VoiceSet = 'voices' | 'accents';

function readIndex(set: VoiceSet): readonly IndexedLine[] {
  return JSON.parse(readFileSync(modelFile(`world/${set}.json`), 'utf8')) as readonly IndexedLine[];
}

/** The lines that can be said. */
export function recordedLines(): string[] {
  return [...new Set(readIndex('voices').map(([line]) => line))];
}

/**
 * Decodes all recordings of a set.
 * @throws AvocadoError `media_undecodable` when this ffmpeg has no Opus decoder, `ffmpeg_missing`, `aborted`
 */
export async function openVoices(signal: AbortSignal, set: VoiceSet = 'voices'): Promise<Recording> {
  const path = fileURLToPath(modelFile(`world/${set}.ogg`));
  const pieces: Uint8Array[] = [];
  await runFfmpeg({
    path,
    logLevel: 'error',
    outputOptions: ['-map', '0:a:0', '-ac', '1', '-ar', String(WORLD.sampleRate), '-c:a', 'pcm_f32le', '-f', 'f32le'],
    maxPixels: 1,
    timeoutSeconds: DECODE_SECONDS,
    signal,
    onChunk: (chunk) => {
      pieces.push(Uint8Array.from(chunk));
      return 'more';
    },
  });
  const bytes = Uint8Array.from(Buffer.concat(pieces)); // a copy, so that it is aligned to floats
  const samples = new Float32Array(bytes.buffer, 0, Math.floor(bytes.length / 4));
  const index = readIndex(set);
  if (samples.length < Math.max(...index.map(([, , , to]) => to)))
    throw new AvocadoError(
      'media_undecodable',
      `This ffmpeg cannot decode ${path} (Opus). Use a complete build, or --no-sound.`,
    );
  return (speaker, line) => {
    const found = index.find(([text, by]) => text === line && by === speaker);
    if (found === undefined) throw new Error(`There is no recording of "${line}" by a ${speaker}. This is a bug.`);
    return samples.subarray(found[2], found[3]);
  };
}
