// What a caption depends on: the bytes of the media, and the settings that are hashed here.
import { createHash, hash } from 'node:crypto';
import { open, readdir, readFile, realpath } from 'node:fs/promises';
import { basename, extname, join } from 'node:path';
import type { CaptionerModel } from '../captioner/captioner.ts';
import type { CaptionRequest } from '../output/events.ts';
import { DEFAULT_PRESET } from '../settings/presets.ts';
import type { WorkSettings } from './types.ts';

/** Files of a model directory that are read in full: config, tokenizer, templates, prompts, lists of shards. */
const SMALL_FILE = /\.(json|jinja|txt|model)$/;
const WEIGHTS = /\.(safetensors|onnx|data|bin)$/;
const PIECE_BYTES = 64 * 1024;
/** Pieces of a file of weights that are read, its first and last among them. Training changes every one. */
const PIECES = 64;
/** A file of the Hugging Face cache is a link to a name that is its SHA-256. */
const CONTENT_NAME = /^[0-9a-f]{64}$/;

/**
 * Identifies the files of a model by what they hold: small ones in full, weights by their size and 64 pieces of them,
 * so that an 18 GB model takes a moment. Names of directories and times of files do not count.
 * @returns 16 hex digits
 */
export async function modelRevision(directory: string): Promise<string> {
  const names = (await readdir(directory)).filter((name) => SMALL_FILE.test(name) || WEIGHTS.test(name)).sort();
  const all = createHash('sha256');
  for (const name of names) all.update(`${name}\n${await fileRevision(join(directory, name))}\n`);
  return all.digest('hex').slice(0, 16);
}

async function fileRevision(path: string): Promise<string> {
  const target = basename(await realpath(path));
  if (CONTENT_NAME.test(target)) return target;
  return SMALL_FILE.test(path) ? hash('sha256', await readFile(path)) : await piecesHash(path, PIECES);
}

/** A hash of a file's size and of pieces at equal distances, the first and the last among them. */
async function piecesHash(path: string | Buffer, pieces: number): Promise<string> {
  const file = await open(path);
  try {
    const { size } = await file.stat();
    const sum = createHash('sha256').update(String(size));
    const last = Math.max(0, size - PIECE_BYTES);
    const bytes = Buffer.alloc(PIECE_BYTES);
    for (let index = 0; index < pieces; index++) {
      const at = pieces === 1 ? 0 : Math.floor((last * index) / (pieces - 1));
      const { bytesRead } = await file.read(bytes, 0, PIECE_BYTES, at);
      sum.update(bytes.subarray(0, bytesRead));
      if (last === 0) break;
    }
    return sum.digest('hex');
  } finally {
    await file.close();
  }
}

/** A cheap sign that two files may be equal: size, beginning and end. */
export async function likeness(path: string | Buffer): Promise<string> {
  return piecesHash(path, 2);
}

/** What of a model makes its captions. */
export interface ModelIdentity {
  /** name and revision */
  readonly model: string;
  readonly precision: string;
  /** its own profile, which a request may replace */
  readonly profile: string;
  /** whose prompts, limits and output form hold */
  readonly preset: string;
  readonly context: number;
  /** version of this program */
  readonly engine: string;
  /** how captions are checked after they are made; undefined = they are not */
  readonly check?: string | undefined;
  /** the text model that merges segments, and version of what it is asked; undefined: there is none */
  readonly merge?: string | undefined;
}

/** @param version of this program */
export async function modelIdentity(model: CaptionerModel, version: string): Promise<ModelIdentity> {
  const { name, precision, profile, preset, context } = model;
  const revision = await modelRevision(model.directory);
  return { model: `${name}@${revision}`, precision, profile, preset, context, engine: version };
}

/** Fields of a request that change nothing of its caption, and those that have a part of their own. */
const NOT_SAMPLING = ['path', 'contentHash', 'priority', 'prompt', 'promptId', 'systemPrompt'];
const PROFILE = ['profileName', 'profile', 'useAudio'];

/**
 * The settings of one caption, in parts that are compared one by one. Whatever of a request may change its caption is
 * in one of them, also fields that are new.
 */
export function workSettings(request: CaptionRequest, identity: ModelIdentity): WorkSettings {
  const { prompt, promptId, systemPrompt, useAudio, profileName, profile } = request;
  const { context, preset, merge, check, ...others } = identity;
  const own = [
    ...(preset === DEFAULT_PRESET ? [] : [preset]),
    ...(merge === undefined || request.segments === undefined || request.merge === false ? [] : [`merge ${merge}`]),
  ];
  const rest = Object.entries(request).filter(([name]) => !NOT_SAMPLING.includes(name) && !PROFILE.includes(name));
  return {
    ...others,
    profile: JSON.stringify([profileName ?? identity.profile, Object.entries(profile).sort(), useAudio]),
    prompt: JSON.stringify([prompt ?? null, promptId ?? null, systemPrompt ?? null, ...own]),
    sampling: JSON.stringify([
      context,
      ...rest.sort(([left], [right]) => (left < right ? -1 : 1)),
      ...(check === undefined ? [] : [['check', check]]),
    ]),
  };
}

const PARTS = ['model', 'precision', 'profile', 'prompt', 'sampling', 'engine'] as const;

export function settingsHash(settings: WorkSettings): string {
  return hash('sha256', JSON.stringify(PARTS.map((part) => settings[part]))).slice(0, 16);
}

/** Names of the parts in which two settings differ; those of unknown ones are not known either. */
export function changedParts(before: WorkSettings | undefined, now: WorkSettings): readonly string[] {
  if (before === undefined) return ['settings'];
  return PARTS.filter((part) => before[part] !== now[part]);
}

/** `.MP4` of a name, for a link to it: ffprobe's guess of a format depends on the extension too. */
export function plainExtension(path: string): string {
  return /^\.\w{1,8}$/.test(extname(path)) ? extname(path) : '';
}
