// First phase: one caption of every clip, made here, by another server, or read from a file made elsewhere.
import { readFile } from 'node:fs/promises';
import { extname } from 'node:path';
import { withoutMark } from '../../base/byte-order-mark.ts';
import { AvocadoError } from '../../base/errors.ts';
import { captionEvents, type Captioner, type CaptionerModel } from '../../captioner/captioner.ts';
import { captionRequest } from '../../captioner/caption-options.ts';
import type { Json } from '../../output/caption-answer.ts';
import type { CaptionEnd, CaptionRequest } from '../../output/events.ts';
import type { ChatEndpoint } from '../rewards/judges/chat-endpoint.ts';
import { isRow, textField, type Benchmark, type Item, type Row } from './benchmark.ts';
import { rowsOf, stem, videoOf } from './dataset-files.ts';
import { Journal } from './journal.ts';
import { sha256 } from './judge-session.ts';

/** A caption with what is known of its making; also a line of captions.jsonl. */
export interface CaptionRow {
  readonly key: string;
  readonly benchmark: string;
  readonly video_id: string;
  readonly video: string;
  readonly prompt_sha256: string;
  readonly caption: string;
  readonly finish_reason?: string | undefined;
  readonly completion_tokens?: number | undefined;
  readonly model: string;
  readonly settings_sha256: string;
  readonly verification?: Json | undefined;
}

interface MadeCaption {
  readonly caption: string;
  readonly verification?: Json | undefined;
  readonly finishReason?: string | undefined;
  readonly completionTokens?: number | undefined;
}

/** What makes captions. */
export interface CaptionSource {
  readonly model: string;
  /** everything beside clip and prompt that a caption depends on */
  readonly settings: string;
  readonly concurrency: number;
  /** @throws AvocadoError */
  caption(path: string, prompt: string, signal: AbortSignal): Promise<MadeCaption>;
}

interface PhaseOptions {
  readonly benchmark: Benchmark;
  readonly items: readonly Item[];
  readonly directory: string;
  readonly journal: string;
  readonly signal: AbortSignal;
  readonly onProgress: (done: number, total: number) => void;
  readonly onFailure: (id: string, error: AvocadoError) => void;
}

/**
 * Captions by item id; an item whose clip cannot be captioned has none. Goes on where an earlier run of the same
 * source and prompts stopped.
 * @throws AvocadoError `bad_request` when clips are missing; `aborted`; `directory_unwritable`
 */
export async function makeCaptions(source: CaptionSource, options: PhaseOptions): Promise<Map<string, CaptionRow>> {
  const { benchmark, items, directory, signal } = options;
  const journal = new Journal<CaptionRow>(options.journal, (row) => row);
  try {
    const captions = new Map<string, CaptionRow>();
    const keyOf = (item: Item): string => sha256([benchmark.name, item.id, item.prompt, source.model, source.settings]);
    const todo: { readonly item: Item; readonly path: string }[] = [];
    const missing: Item[] = [];
    for (const item of items) {
      const kept = journal.get(keyOf(item));
      if (kept !== undefined) captions.set(item.id, kept);
      else {
        const path = await videoOf(item, directory);
        if (path === undefined) missing.push(item);
        else todo.push({ item, path });
      }
    }
    refuseMissing(missing, items.length, options);
    let done = captions.size;
    options.onProgress(done, items.length);
    await inParallel(todo, source.concurrency, async ({ item, path }) => {
      signal.throwIfAborted();
      const made = await source.caption(path, item.prompt, signal).catch((thrown: unknown) => {
        signal.throwIfAborted();
        if (!(thrown instanceof AvocadoError) || thrown.code === 'engine_unavailable') throw thrown;
        options.onFailure(item.id, thrown);
        return undefined;
      });
      done += 1;
      options.onProgress(done, items.length);
      if (made === undefined) return;
      captions.set(item.id, journal.add(rowOf(made, { item, path, key: keyOf(item), benchmark, source })));
    });
    return captions;
  } finally {
    journal.close();
  }
}

function rowOf(
  { caption, finishReason, completionTokens, verification }: MadeCaption,
  made: {
    readonly item: Item;
    readonly path: string;
    readonly key: string;
    readonly benchmark: Benchmark;
    readonly source: CaptionSource;
  },
): CaptionRow {
  return {
    key: made.key,
    benchmark: made.benchmark.name,
    video_id: made.item.id,
    video: made.path,
    prompt_sha256: sha256(made.item.prompt),
    caption,
    finish_reason: finishReason,
    completion_tokens: completionTokens,
    model: made.source.model,
    settings_sha256: sha256(made.source.settings),
    verification,
  };
}

function refuseMissing(missing: readonly Item[], total: number, { benchmark, directory }: PhaseOptions): void {
  const [first] = missing;
  if (first === undefined) return;
  throw new AvocadoError(
    'bad_request',
    `${missing.length} of ${total} clips of ${benchmark.title} are not in ${directory}, such as ` +
      `${first.videos[0] ?? first.id}. Get them from ${benchmark.source.from}, or give captions made elsewhere ` +
      'with --captions.',
    { param: 'data' },
  );
}

export async function inParallel<T>(
  all: readonly T[],
  concurrency: number,
  work: (one: T) => Promise<void>,
): Promise<void> {
  const remaining = all.values();
  const worker = async (): Promise<void> => {
    for (const one of remaining) await work(one);
  };
  await Promise.all(Array.from({ length: Math.max(1, Math.min(concurrency, all.length)) }, worker));
}

/** Checks a caption before it is kept, and may change it. */
export interface CaptionCheck {
  /** what the result depends on beside the caption */
  readonly identity: string;
  readonly check: (
    captioner: Pick<Captioner, 'submit'>,
    request: CaptionRequest,
    end: CaptionEnd,
    signal: AbortSignal,
  ) => Promise<{ readonly end: CaptionEnd; readonly verification: Json }>;
}

/**
 * A model of this program.
 * @param open is called when the first caption is needed: a run that only judges loads no model
 */
export function engineSource(
  model: Pick<CaptionerModel, 'name' | 'slots'>,
  open: () => Promise<Pick<Captioner, 'submit'>>,
  identity: string,
  options: {
    readonly listens: boolean;
    readonly maxTokens: number;
    readonly check?: CaptionCheck | undefined;
  },
): CaptionSource {
  const fields = { audio: options.listens, max_tokens: options.maxTokens, temperature: 0 };
  const { check } = options;
  let opened: ReturnType<typeof open> | undefined;
  return {
    model: model.name,
    settings: JSON.stringify([identity, fields, ...(check === undefined ? [] : [check.identity])]),
    concurrency: Math.max(1, model.slots),
    caption: async (path, prompt, signal) => {
      const captioner = await (opened ??= open());
      const request = captionRequest(path, { ...fields, prompt });
      for await (const event of captionEvents(captioner, request, signal)) {
        if (event.type === 'caption-end') {
          const checked = await check?.check(captioner, request, event, signal);
          return {
            caption: (checked?.end ?? event).caption,
            finishReason: event.finishReason,
            completionTokens: event.usage.completionTokens,
            verification: checked?.verification,
          };
        }
        if (event.type === 'caption-error') throw new AvocadoError(event.code, event.message);
      }
      throw new AvocadoError('aborted', 'The caption was cancelled.');
    },
  };
}

const MEDIA_TYPES: Readonly<Record<string, string>> = {
  '.mp4': 'video/mp4',
  '.mkv': 'video/x-matroska',
  '.webm': 'video/webm',
  '.mov': 'video/quicktime',
  '.wav': 'audio/wav',
};

/**
 * A clip as an OpenAI-compatible server takes it: in the request, since the server may not see this disk.
 * @throws AvocadoError `media_too_large`, `media_not_a_file`
 */
export async function videoPart(path: string): Promise<Readonly<Record<string, unknown>>> {
  const type = MEDIA_TYPES[extname(path).toLowerCase()] ?? 'video/mp4';
  try {
    const text = await readFile(path, 'base64');
    return { type: 'video_url', video_url: { url: `data:${type};base64,${text}` } };
  } catch (cause) {
    const { code = String(cause) } = cause as NodeJS.ErrnoException;
    throw ['ERR_FS_FILE_TOO_LARGE', 'ERR_STRING_TOO_LONG'].includes(code)
      ? new AvocadoError('media_too_large', `${path} is too large for a request: cut it or re-encode it.`, { cause })
      : new AvocadoError('media_not_a_file', `${path} cannot be read (${code}).`, { cause });
  }
}

/** Any OpenAI-compatible server that sees video. */
export function serverSource(
  endpoint: Pick<ChatEndpoint, 'chat'>,
  identity: { readonly url: string; readonly model: string; readonly concurrency: number },
  options: { readonly listens: boolean; readonly maxTokens: number },
): CaptionSource {
  const sampling = {
    temperature: 0,
    max_tokens: options.maxTokens,
    mm_processor_kwargs: { use_audio_in_video: options.listens },
  };
  return {
    model: identity.model,
    settings: JSON.stringify([identity.url, sampling]),
    concurrency: identity.concurrency,
    caption: async (path, prompt, signal) => {
      const content = [await videoPart(path), { type: 'text', text: prompt }];
      const reply = await endpoint
        .chat({ messages: [{ role: 'user', content }], sampling }, signal)
        .catch((cause: unknown) => {
          signal.throwIfAborted();
          throw new AvocadoError('engine_error', `${path}: ${(cause as Error).message}`, { cause });
        });
      return {
        caption: reply.text,
        finishReason: reply.finishReason,
        completionTokens: reply.usage?.completionTokens,
      };
    },
  };
}

/**
 * Captions made elsewhere: ours (`video_id`, `caption`), results of `avocado caption --json` and `batch` (`file`,
 * `caption`), and the shapes of the authors' scripts.
 * @throws AvocadoError `bad_request`
 */
export async function readCaptions(path: string, items: readonly Item[]): Promise<Map<string, CaptionRow>> {
  const text = await readFile(path, 'utf8').catch((cause: unknown) => {
    throw new AvocadoError('bad_request', `--captions ${path} cannot be read: ${(cause as Error).message}.`, {
      param: 'captions',
      cause,
    });
  });
  const itemOf = itemFinder(items);
  const captions = new Map<string, CaptionRow>();
  for (const row of captionRows(withoutMark(text), path)) {
    const found = captionOf(row);
    const item = itemOf(found?.names ?? []);
    if (found === undefined || item === undefined) continue;
    captions.set(item.id, {
      key: item.id,
      benchmark: '',
      video_id: item.id,
      video: item.videos[0] ?? '',
      prompt_sha256: textField(row, 'prompt_sha256') ?? '',
      caption: found.caption,
      finish_reason: textField(row, 'finish_reason'),
      completion_tokens: tokensOf(row),
      model: textField(row, 'model') ?? '',
      settings_sha256: textField(row, 'settings_sha256') ?? '',
    });
  }
  if (captions.size === 0)
    throw new AvocadoError(
      'bad_request',
      `None of the captions in ${path} belongs to a clip of this benchmark: lines need video_id and caption.`,
      { param: 'captions' },
    );
  return captions;
}

/** An object of captions by id is one row for each. */
function captionRows(text: string, path: string): readonly Row[] {
  if (!text.trimStart().startsWith('{')) return rowsOf(text, path);
  try {
    const whole: unknown = JSON.parse(text);
    if (isRow(whole) && captionOf(whole) === undefined && Object.values(whole).every((one) => typeof one === 'string'))
      return Object.entries(whole).map(([id, caption]) => ({ video_id: id, caption }));
  } catch {
    // JSON lines
  }
  return rowsOf(text, path);
}

function tokensOf(row: Row): number | undefined {
  const tokens = row['completion_tokens'] ?? (isRow(row['usage']) ? row['usage']['completion_tokens'] : undefined);
  return typeof tokens === 'number' ? tokens : undefined;
}

function captionOf(row: Row): { readonly names: readonly string[]; readonly caption: string } | undefined {
  const dream = dreamCaption(row);
  const first = (value: unknown): unknown => (Array.isArray(value) ? (value as unknown[])[0] : value);
  const caption = dream ?? first(row['caption'] ?? row['pred'] ?? row['output'] ?? row['predicted_caption']);
  if (typeof caption !== 'string') return undefined;
  const given = [row['video_id'], first(row['id']), row['vid'], row['uuid'], row['file'], row['path'], row['video']];
  const names = [...given, row['video_path']].flatMap((name) =>
    typeof name === 'string' || typeof name === 'number' ? [String(name)] : [],
  );
  return { names, caption };
}

/** DREAM-1K's own rows carry the caption in the assistant's turn. */
function dreamCaption(row: Row): string | undefined {
  const messages = row['messages'];
  const turn: unknown = Array.isArray(messages) ? messages[1] : undefined;
  const content: unknown = isRow(turn) ? turn['content'] : undefined;
  const part: unknown = Array.isArray(content) ? content[0] : undefined;
  return isRow(part) ? textField(part, 'text') : undefined;
}

/** An id, the path of its file, and the file's name alone or with its folder stand for the same clip. */
function namesOfId(id: string): string[] {
  const [name = '', folder] = id.split('/').reverse();
  const short = stem(name).replace(/_video$/, '');
  return [id, ...(folder === undefined ? [] : [`${folder}/${name}`]), name, stem(name), short];
}

/** Finds the item that one of these ids, file names or paths means, the first that is known. */
export function itemFinder(items: readonly Item[]): (ids: readonly string[]) => Item | undefined {
  const byName = namesOf(items);
  return (ids) =>
    ids
      .flatMap(namesOfId)
      .map((name) => byName.get(name))
      .find((one) => one !== undefined);
}

/** A name that fits several items is nobody's, but an item's own id is always its own. */
function namesOf(items: readonly Item[]): ReadonlyMap<string, Item | undefined> {
  const names = new Map<string, Item | undefined>();
  for (const item of items)
    for (const name of new Set([item.id, ...item.videos].flatMap(namesOfId)))
      names.set(name, names.has(name) ? undefined : item);
  for (const item of items) names.set(item.id, item);
  return names;
}
