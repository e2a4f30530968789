// A running server in the place of a captioner: each caption is an item of a job there. Files that the server sees are
// named to it, others are uploaded for the time of their caption.
import { hash } from 'node:crypto';
import { openAsBlob } from 'node:fs';
import { basename, isAbsolute, relative } from 'node:path';
import { withSignal } from '../base/abort.ts';
import { AvocadoError } from '../base/errors.ts';
import { contentHash } from '../base/file-memo.ts';
import { Places } from '../base/places.ts';
import type { ModelIdentity } from '../batch/identity.ts';
import type { Captioner, CaptionerModel, CaptionerStatus, SubmitOptions } from '../captioner/captioner.ts';
import { optionsOf, type CaptionOptions } from '../captioner/caption-options.ts';
import { openMediaFile } from '../media/media-file.ts';
import { endingOf } from '../output/ending.ts';
import type { CaptionEnd, CaptionRequest } from '../output/events.ts';
import { captionEndOf } from '../output/read-answer.ts';
import { JobClient, pages, type ItemLine, type Library } from './job-client.ts';
import { isCode, type ServerClient } from './server-client.ts';

/** Files below a directory of this machine that the server has as media://NAME/… */
export interface SharedRoot {
  readonly name: string;
  /** absolute */
  readonly directory: string;
}

/** What a server says about its model. */
export interface RemoteModel {
  readonly model: CaptionerModel;
  readonly identity: ModelIdentity;
  /** lines of jobs carry it: another one means another model */
  readonly fingerprint: string;
}

export interface RemoteOptions {
  readonly client: ServerClient;
  readonly served: RemoteModel;
  readonly roots: readonly SharedRoot[];
  readonly library: Library;
  readonly pollMs?: number | undefined;
}

interface ModelCard {
  readonly id: string;
  readonly max_model_len: number;
  readonly avocado?: {
    readonly revision: string;
    readonly precision: string;
    readonly profile: string;
    readonly preset: string;
    readonly merge?: string;
    readonly engine: string;
    readonly slots: number;
    readonly fingerprint: string;
  };
}

interface FileAnswer {
  readonly id: string;
  readonly filename: string;
}

/** How names of uploads begin. */
const MARK = 'avocado-batch';
/** Captions under way at a time: jobs wait on the server, so that several servers behind one address have work. */
const AT_A_TIME = 60;
const UPLOADS_AT_A_TIME = 4;
/** What a process that is killed leaves on the server goes after a week. */
const UPLOAD_SECONDS = 7 * 24 * 3600;
/** How long an upload that is given up may still be answered: only its answer names the file to remove. */
const LATE_ANSWER_MS = 5000;
/** The server does not see the file that was named to it. */
const NOT_SEEN = ['media_not_found', 'media_forbidden_path', 'media_not_a_file'];

/** @throws AvocadoError `engine_unavailable`, `unauthorized` … */
export async function askModel(client: ServerClient, signal: AbortSignal): Promise<RemoteModel> {
  const { data } = await client.json<{ readonly data?: readonly ModelCard[] }>(
    { method: 'GET', path: '/v1/models' },
    signal,
  );
  const card = data?.[0];
  if (card?.avocado === undefined) {
    const what = `The server at ${client.url} does not tell what makes its captions`;
    throw new AvocadoError('bad_request', `${what}: it is no avocado server, or an older one.`, { param: 'server' });
  }
  const { id: name, max_model_len: context, avocado } = card;
  const { revision, precision, profile, preset, merge, engine, slots, fingerprint } = avocado;
  return {
    model: { name, directory: '', precision, device: client.url, runtime: '', context, slots, profile, preset },
    identity: { model: revision, precision, profile, preset, context, engine, merge },
    fingerprint,
  };
}

export class RemoteCaptioner implements Pick<Captioner, 'submit' | 'model' | 'status' | 'close'> {
  readonly model: CaptionerModel;
  readonly #options: RemoteOptions;
  readonly #jobs: JobClient;
  readonly #uploading = new Places({ places: UPLOADS_AT_A_TIME });
  /** ids of files on the server that are ours to remove */
  readonly #uploads = new Set<string>();
  readonly #underWay = new Set<Promise<string>>();
  /** an upload was given up or sent again without an answer: the server may have its file */
  #isUnsure = false;

  private constructor(options: RemoteOptions) {
    const { client, served, library, pollMs } = options;
    this.#options = options;
    this.#jobs = new JobClient({ client, library, enough: 2 * served.model.slots + 4, pollMs });
    this.model = { ...served.model, slots: Math.max(AT_A_TIME, 4 * served.model.slots) };
  }

  /** @throws AvocadoError `not_found` for a server without jobs, `engine_unavailable` */
  static async open(options: RemoteOptions, signal: AbortSignal): Promise<RemoteCaptioner> {
    const captioner = new RemoteCaptioner(options);
    await captioner.#jobs.takeOver(signal);
    await captioner.#takeOverUploads(signal);
    return captioner;
  }

  status(): CaptionerStatus {
    const { failure } = this.#jobs;
    const state = failure === undefined ? 'ready' : 'stopped';
    return { state, text: failure?.message ?? '', done: 1, total: 1, restarts: 0, pid: undefined };
  }

  async submit(request: CaptionRequest, { signal, onEvent }: SubmitOptions): Promise<void> {
    try {
      onEvent(await this.#caption(request, signal));
    } catch (thrown) {
      onEvent(endingOf(thrown, signal));
    }
  }

  /** Stops what is in work, and leaves nothing on the server. */
  async close(): Promise<void> {
    await this.#jobs.close();
    await Promise.allSettled(this.#underWay);
    if (this.#isUnsure) await this.#findUnanswered();
    await Promise.all([...this.#uploads].map((id) => this.#removeUpload(id)));
  }

  async #caption(request: CaptionRequest, signal: AbortSignal): Promise<CaptionEnd> {
    const { path } = request;
    await openMediaFile(path, Number.MAX_SAFE_INTEGER); // says what is wrong with a file that cannot be sent
    const content = request.contentHash ?? (await contentHash(path, signal));
    const options = optionsOf(request);
    const id = hash('sha256', JSON.stringify([content, options, this.#options.served.fingerprint]));
    const known = await withSignal(this.#jobs.known(id), signal);
    if (known !== undefined && isOf(known, content)) return this.#endOf(known, path, content);
    const shared = this.#sharedName(path);
    if (shared !== undefined) {
      const line = await withSignal(this.#jobs.send({ id, media: shared, options }), signal);
      if (isOf(line, content)) return this.#endOf(line, path, content);
    }
    return await this.#uploaded(request, { id, content, options }, signal);
  }

  async #uploaded(
    { path }: CaptionRequest,
    { id, content, options }: { readonly id: string; readonly content: string; readonly options: CaptionOptions },
    signal: AbortSignal,
  ): Promise<CaptionEnd> {
    const file = await this.#uploading.run(() => this.#upload(path, signal), signal);
    const line = await withSignal(this.#jobs.send({ id, media: file, options }), signal);
    void this.#removeUpload(file);
    return this.#endOf(line, path, content);
  }

  /** Uploads carry the names of their library and process: those of a process that died are removed at the end. */
  async #takeOverUploads(signal: AbortSignal): Promise<void> {
    const { client, library } = this.#options;
    await this.#findUploads(client, signal, (worker) => library.isDead(worker));
  }

  /** Uploads of this process that were given up before they were answered. */
  async #findUnanswered(): Promise<void> {
    const { client, library } = this.#options;
    await this.#findUploads(client.impatient(), AbortSignal.timeout(5000), (worker) => worker === library.worker).catch(
      () => undefined, // the next run on this library removes them
    );
  }

  async #findUploads(client: ServerClient, signal: AbortSignal, isOurs: (worker: string) => boolean): Promise<void> {
    const { library } = this.#options;
    const path = '/v1/files?purpose=user_data';
    for await (const { id, filename } of pages<FileAnswer>(client, path, signal, ({ id: last }) => last)) {
      const [mark, name, worker = ''] = filename.split('.');
      if (mark === MARK && name === library.id && isOurs(worker)) this.#uploads.add(id);
    }
  }

  /**
   * Ends at once when the signal aborts; {@link close} waits for what the server still answers.
   * @returns the id of the file on the server
   */
  async #upload(path: string, signal: AbortSignal): Promise<string> {
    const sent = this.#send(path, signal);
    this.#underWay.add(sent);
    const done = (): boolean => this.#underWay.delete(sent);
    sent.then(done, done);
    return await withSignal(sent, signal);
  }

  async #send(path: string, signal: AbortSignal): Promise<string> {
    const { client, library } = this.#options;
    let tries = 0;
    const form = async (): Promise<FormData> => {
      tries += 1;
      await openMediaFile(path, Number.MAX_SAFE_INTEGER); // it may have gone since
      const data = new FormData();
      data.append('purpose', 'user_data');
      data.append('expires_after[anchor]', 'created_at');
      data.append('expires_after[seconds]', String(UPLOAD_SECONDS));
      data.append('file', await openAsBlob(path), `${MARK}.${library.id}.${library.worker}.${basename(path)}`);
      return data;
    };
    const call = { method: 'POST', path: '/v1/files', form, graceMs: LATE_ANSWER_MS } as const;
    try {
      const { id } = await client.json<FileAnswer>(call, signal);
      this.#uploads.add(id);
      if (signal.aborted) await this.#removeUpload(id);
      return id;
    } catch (thrown) {
      this.#isUnsure ||= signal.aborted;
      // A file that is at fault is refused alone; anything else would be refused for every file.
      if (!signal.aborted && thrown instanceof AvocadoError && !thrown.code.startsWith('media_'))
        this.#jobs.fail(new AvocadoError('engine_unavailable', thrown.message, { cause: thrown }));
      throw this.#jobs.failure ?? thrown;
    } finally {
      this.#isUnsure ||= tries > 1;
    }
  }

  async #removeUpload(id: string): Promise<void> {
    const call = { method: 'DELETE', path: `/v1/files/${id}` } as const;
    await this.#options.client
      .impatient()
      .text(call, AbortSignal.timeout(5000))
      .catch(() => undefined); // it goes after its time
    this.#uploads.delete(id);
  }

  #sharedName(path: string): string | undefined {
    for (const { name, directory } of this.#options.roots) {
      const inside = relative(directory, path);
      if (inside === '' || inside.startsWith('..') || isAbsolute(inside)) continue;
      return `media://${name}/${inside.split('/').map(encodeURIComponent).join('/')}`;
    }
    return undefined;
  }

  /** @throws AvocadoError of an item that failed */
  #endOf(line: ItemLine, path: string, content: string): CaptionEnd {
    if (line['status'] !== 'completed') throw failureOf(line, path);
    if (line['fingerprint'] !== this.#options.served.fingerprint) {
      const what = 'The server has another model or version than when the run began';
      this.#jobs.fail(
        new AvocadoError('engine_unavailable', `${what}: run the same command again to see what changes.`),
      );
      throw this.#jobs.failure ?? new Error('A failure was not kept. This is a bug.');
    }
    if (line['content'] !== content)
      throw new AvocadoError(
        'engine_error',
        `${path} was written to while it was sent. It is sent again when it rests.`,
      );
    return captionEndOf(line);
  }
}

/** Whether the server saw the file that was meant. */
function isOf(line: ItemLine, content: string): boolean {
  if (line['status'] === 'completed') return line['content'] === content;
  return !NOT_SEEN.includes(errorOf(line).code);
}

function errorOf(line: ItemLine): { readonly code: string; readonly message: string } {
  const { code, message } = (line['error'] ?? {}) as { readonly code?: unknown; readonly message?: unknown };
  return { code: String(code), message: String(message) };
}

/** The server calls the file as it was named to it, this program by its path. */
function failureOf(line: ItemLine, path: string): AvocadoError {
  const { code, message } = errorOf(line);
  const source = line['source'];
  const told = typeof source === 'string' && source !== '' ? message.replaceAll(source, () => path) : message;
  return new AvocadoError(isCode(code) ? code : 'engine_error', told);
}
