// One try at one item, from its bytes to its line in the results and its sidecars.
import { hash } from 'node:crypto';
import { dirname } from 'node:path';
import { asAvocadoError, AvocadoError, directoryUnwritable } from '../base/errors.ts';
import { contentHash } from '../base/file-memo.ts';
import type { Captioner } from '../captioner/captioner.ts';
import { captionAnswer, type Json } from '../output/caption-answer.ts';
import { isEnding, type CaptionEnding } from '../output/ending.ts';
import type { CaptionEnd, CaptionEvent, CaptionRequest } from '../output/events.ts';
import { FinishedSegments, keepsSegments } from './finished-segments.ts';
import type { Layout } from './layout.ts';
import type { LibraryStore } from './library-store.ts';
import { workId } from './library-store.ts';
import type { KnownItem, Looker } from './look.ts';
import { bringSidecar, sidecarPaths, syncDirectory, type SidecarOutcome } from './sidecars.ts';
import type { Format, ItemRecord, ResultHead, ResultLine } from './types.ts';

/** What captions: a model in another process of this machine, or a server. */
export type BatchCaptioner = Pick<Captioner, 'submit' | 'model' | 'status' | 'close'>;

/** Gives `use` a path that other programs can open, and removes what was made for it. */
export type WithLocalFile = <T>(
  item: KnownItem['item'],
  signal: AbortSignal,
  use: (path: string) => Promise<T>,
) => Promise<T>;

/**
 * What is done with a caption before it is kept, while its file is there. It may change the caption; `verification`
 * becomes a field of its line.
 */
export type CheckCaption = (
  captioner: BatchCaptioner,
  request: CaptionRequest,
  end: CaptionEnd,
  signal: AbortSignal,
) => Promise<{ readonly end: CaptionEnd; readonly verification: Json }>;

export interface WorkParts {
  readonly store: LibraryStore;
  readonly layout: Layout;
  readonly looker: Looker;
  readonly formats: readonly Format[];
  /** opens the engine when it is first needed */
  readonly captioner: () => Promise<BatchCaptioner>;
  readonly withLocalFile: WithLocalFile;
  readonly check?: CheckCaption | undefined;
  /** captions of other settings are left as they are */
  readonly keepsOthers: boolean;
  readonly signal: AbortSignal;
  /** ms since 1970 when this run began */
  readonly startedMs: number;
}

/** captioned: anew. duplicate: the same bytes had a caption of these settings. written: only sidecars were missing. */
export type DoneState = 'captioned' | 'duplicate' | 'written' | 'unchanged' | 'other-settings' | 'elsewhere';

export type Try =
  | {
      readonly kind: 'done';
      readonly state: DoneState;
      readonly end?: CaptionEnd;
      readonly sidecars: readonly SidecarOutcome[];
    }
  /** another process has the same work, or another item of this one: then it ends with `until` */
  | { readonly kind: 'taken'; readonly until?: Promise<unknown> | undefined }
  | {
      readonly kind: 'failed';
      readonly error: AvocadoError;
      /** '' where it could not be read */
      readonly content: string;
      /** it has its caption: only a sidecar could not be written, which the next run tries again */
      readonly isCaptioned?: boolean;
    }
  | { readonly kind: 'interrupted' }
  /** nothing more can be kept: the disk is full, or may not be written to */
  | { readonly kind: 'stop'; readonly error: AvocadoError };

/** What a disk says when nothing can be written any more. */
const DISK_CODES = ['ENOSPC', 'EDQUOT', 'EROFS', 'EIO', 'ENFILE', 'EMFILE'];

function isDiskError(thrown: unknown): boolean {
  return DISK_CODES.includes((thrown as NodeJS.ErrnoException).code ?? '');
}

/** A disk that cannot be written to ends the run: captions that cannot be kept are not made. */
export function diskError(thrown: unknown): AvocadoError {
  const { code = String(thrown) } = thrown as NodeJS.ErrnoException;
  const advice = 'Nothing is lost: make room, and run the same command again.';
  return new AvocadoError('storage_full', `Results cannot be written (${code}). ${advice}`, { cause: thrown });
}

export class ItemWork {
  readonly #parts: WorkParts;
  /** work of this process, by name */
  readonly #running = new Map<string, Promise<Try>>();

  constructor(parts: WorkParts) {
    this.#parts = parts;
  }

  /** Never rejects. */
  async try(known: KnownItem): Promise<Try> {
    const { signal, withLocalFile } = this.#parts;
    try {
      signal.throwIfAborted();
      if (known.decision.action === 'write' && known.record !== undefined)
        return await this.#writeAgain(known, known.record, 'written');
      return await withLocalFile(known.item, signal, (path) => this.#tryFile(known, path));
    } catch (thrown) {
      if (signal.aborted) return { kind: 'interrupted' };
      if (isDiskError(thrown)) return { kind: 'stop', error: diskError(thrown) };
      return { kind: 'failed', error: asAvocadoError(thrown), content: '' };
    }
  }

  async #tryFile(known: KnownItem, path: string): Promise<Try> {
    const { signal, store } = this.#parts;
    // The captioner reports what cannot be read: it has the sentence for it.
    if (!known.isReadable) return await this.#caption(known, path, '', undefined);
    const content = await contentHash(path, signal).catch((thrown: unknown) => {
      if (signal.aborted) throw thrown;
      return '';
    });
    if (content === '') return await this.#caption(known, path, '', undefined);
    const same = known.record?.content === content ? known.record : undefined;
    if (same?.line !== undefined && same.seen !== known.seen) {
      await store.transact((transaction) => {
        transaction.put({ ...same, seen: known.seen ?? '' });
      });
      const now = await this.#parts.looker.again(known);
      if (now.decision.action === 'skip') return done('unchanged', []);
      if (now.decision.action === 'write' && now.record !== undefined)
        return await this.#writeAgain(now, now.record, 'written');
      if (now.decision.isOtherSettings === true && this.#parts.keepsOthers) return done('other-settings', []);
    }
    return await this.#claimed(known, path, content);
  }

  /** Captions the file unless that is done, or is being done. */
  async #claimed(known: KnownItem, path: string, content: string): Promise<Try> {
    const name = workId(content, known.settings);
    const other = this.#running.get(name);
    if (other !== undefined) return { kind: 'taken', until: other.catch(() => undefined) };
    const work = this.#claim(known, path, content, name);
    this.#running.set(name, work);
    return await work.finally(() => this.#running.delete(name));
  }

  async #claim(known: KnownItem, path: string, content: string, name: string): Promise<Try> {
    const { store } = this.#parts;
    const claim = await store.transact((transaction) => {
      const original = this.#original(known, content);
      if (original !== undefined) return { original };
      if (this.#failedElsewhere(known)) return { failed: true };
      return { token: transaction.claim(name) };
    });
    if (claim.failed === true) return done('elsewhere', []);
    if (claim.original !== undefined) return await this.#repeat(known, content, claim.original);
    if (claim.token === undefined) return { kind: 'taken' };
    try {
      return await this.#caption(known, path, content, claim.token);
    } finally {
      await store
        .transact((transaction) => {
          transaction.release(name);
        })
        .catch(() => undefined); // the disk: claims of a process that has ended are void
    }
  }

  /** An item that has a caption of these bytes with these settings, and the caption. */
  #original(
    { settings }: KnownItem,
    content: string,
  ): { readonly record: ItemRecord; readonly line: ResultLine } | undefined {
    const { store } = this.#parts;
    const record = store.done(content, settings);
    const line = record === undefined ? undefined : store.result(record);
    return record === undefined || line === undefined ? undefined : { record, line };
  }

  /** Another process has tried it since this run began. */
  #failedElsewhere({ names, settings, record }: KnownItem): boolean {
    const now = this.#parts.store.item(names.key);
    return (
      now?.failure !== undefined &&
      now.settings === settings &&
      now.atMs > Math.max(record?.atMs ?? 0, this.#parts.startedMs)
    );
  }

  /** Keeps a failure that is not tried again. @throws what the disk says */
  async keepFailure(known: KnownItem, failure: ItemRecord['failure'], content: string): Promise<void> {
    const { names, settings, seen = '' } = known;
    const { store, layout } = this.#parts;
    if (failure?.passing === false) FinishedSegments.remove(layout.segments, workId(content, settings));
    await store.rememberSettings(settings, known.parts);
    await store.transact((transaction) => {
      // Sidecars of an earlier caption stay, and stay known as ours.
      const outputs = store.item(names.key)?.outputs;
      transaction.put({ key: names.key, seen, content, settings, outputs, failure, atMs: Date.now() });
    });
  }

  async #caption(known: KnownItem, path: string, content: string, token: number | undefined): Promise<Try> {
    const { signal, captioner, check, layout } = this.#parts;
    const engine = await captioner();
    const contentHash = content === '' ? undefined : content;
    const request = { ...known.request, path, contentHash };
    const ending = await this.#endingOf(request, known.settings, engine);
    if (ending.type === 'caption-aborted') return { kind: 'interrupted' };
    if (ending.type === 'caption-error') {
      const message = ending.message.replaceAll(path, () => known.names.path); // `$&` in a string is special
      return { kind: 'failed', error: new AvocadoError(ending.code, message), content };
    }
    const { end, verification } = (await check?.(engine, request, ending, signal)) ?? { end: ending };
    const changed = await this.#changed(known);
    if (changed) FinishedSegments.remove(layout.segments, workId(content, known.settings));
    if (changed || token === undefined)
      return { kind: 'failed', error: new AvocadoError('engine_error', CHANGED), content };
    const answer = { ...captionAnswer(end, engine.model.name, { tokenIds: false }), precision: engine.model.precision };
    return await this.#commit(
      known,
      content,
      token,
      end,
      verification === undefined ? answer : { ...answer, verification },
    );
  }

  /** Captions the file; where it is captioned in segments, those that an earlier try has made are taken over. */
  async #endingOf(request: CaptionRequest, settings: string, engine: BatchCaptioner): Promise<CaptionEnding> {
    const { signal, layout } = this.#parts;
    const { contentHash } = request;
    if (contentHash === undefined || !keepsSegments(request)) return await endingOf(engine, request, signal);
    const finished = new FinishedSegments(layout.segments, workId(contentHash, settings));
    try {
      return await endingOf(engine, { ...request, finished: finished.known }, signal, (event) => {
        if (event.type !== 'segment-end') return;
        finished.add(event);
      });
    } finally {
      finished.close();
    }
  }

  /** Whether the file was written to since its bytes were hashed: the caption may be of neither state. */
  async #changed(known: KnownItem): Promise<boolean> {
    return (await this.#parts.looker.again(known)).seen !== known.seen;
  }

  async #commit(
    known: KnownItem,
    content: string,
    token: number,
    end: CaptionEnd,
    answer: Readonly<Record<string, Json>>,
  ): Promise<Try> {
    const { store, layout } = this.#parts;
    const line: ResultLine = { ...this.#line(known, content), ...answer, caption: end.caption };
    await store.rememberSettings(known.settings, known.parts);
    const committed = await store.transact((transaction) => {
      // Another process took the work over from this one, which was silent for long: its caption counts.
      if (!transaction.holds(line.id, token) || this.#original(known, content) !== undefined) return undefined;
      return this.#put(transaction, known, line);
    });
    FinishedSegments.remove(layout.segments, line.id);
    if (committed === undefined) return { kind: 'taken' };
    return await this.#bring(known, committed, line, { kind: 'done', state: 'captioned', end, sidecars: [] });
  }

  /** The caption of another item with the same bytes and settings, or of this one from before it was redone. */
  async #repeat(
    known: KnownItem,
    content: string,
    original: { readonly record: ItemRecord; readonly line: ResultLine },
  ): Promise<Try> {
    const { store } = this.#parts;
    const { key, duplicate_of: first = key } = original.line;
    const isItself = key === known.names.key;
    const line = { ...original.line, ...this.#line(known, content), ...(isItself ? {} : { duplicate_of: first }) };
    const committed = await store.transact((transaction) => {
      const now = store.item(known.names.key);
      if (now?.line !== undefined && now.content === content && now.settings === known.settings) return undefined;
      return this.#put(transaction, known, line);
    });
    if (committed !== undefined) return await this.#bring(known, committed, line, done('duplicate', []));
    const now = await this.#parts.looker.again(known);
    return now.decision.action === 'write' && now.record !== undefined
      ? await this.#writeAgain(now, now.record, 'elsewhere')
      : done('elsewhere', []);
  }

  /** The fields of a line that describe the item itself. */
  #line({ names, settings, item }: KnownItem, content: string): ResultHead {
    return {
      key: names.key,
      path: names.path,
      id: workId(content, settings),
      content,
      settings,
      captioned_at: new Date().toISOString(),
      fields: item.fields,
    };
  }

  /** The line and, in the same step, the right to write its sidecars. */
  #put(
    transaction: Parameters<Parameters<LibraryStore['transact']>[0]>[0],
    { names, seen = '', record, settings }: KnownItem,
    line: ResultLine,
  ): ItemRecord {
    transaction.claim(sidecarClaim(names.key));
    // What was written for an earlier caption is still ours.
    const outputs = this.#parts.store.item(names.key)?.outputs ?? record?.outputs;
    const { key, content } = line;
    return transaction.commit(line, { key, seen, content, settings, outputs, atMs: Date.now() });
  }

  async #writeAgain(known: KnownItem, record: ItemRecord, state: DoneState): Promise<Try> {
    const { store } = this.#parts;
    const line = store.result(record);
    if (line === undefined) {
      const error = new AvocadoError('engine_error', `The results no longer hold the caption of ${known.names.path}.`);
      return { kind: 'failed', error, content: '' };
    }
    const claim = await store.transact((transaction) => transaction.claim(sidecarClaim(known.names.key)));
    return claim === undefined ? done('elsewhere', []) : await this.#bring(known, record, line, done(state, []));
  }

  /** Writes the sidecars, and keeps what became of them. */
  async #bring(known: KnownItem, record: ItemRecord, line: ResultLine, result: Try & { kind: 'done' }): Promise<Try> {
    const { store, layout, formats } = this.#parts;
    const pathOf = sidecarPaths(layout, known.names.stem);
    const sidecars: SidecarOutcome[] = [];
    let failed: unknown;
    for (const format of formats) {
      try {
        sidecars.push(await bringSidecar(format, pathOf(format), line, record.outputs?.[format]));
      } catch (thrown) {
        if (isDiskError(thrown)) throw thrown;
        failed ??= thrown;
      }
    }
    if (sidecars.some(({ outcome }) => outcome === 'written')) await syncDirectory(dirname(known.names.stem));
    const outputs = {
      ...record.outputs,
      ...Object.fromEntries(sidecars.map((sidecar) => [sidecar.format, sidecar.record])),
    };
    await store.transact((transaction) => {
      transaction.put({ ...record, outputs });
      transaction.release(sidecarClaim(known.names.key));
    });
    if (failed === undefined) return { ...result, sidecars };
    const advice = 'The caption is in the results. Name another directory with --out.';
    const error = directoryUnwritable(known.names.path, failed, advice);
    return { kind: 'failed', error, content: record.content, isCaptioned: true };
  }
}

const CHANGED = 'The file was written to while it was captioned. It is captioned again when it rests.';

function sidecarClaim(key: string): string {
  return `sidecars-${hash('sha256', key)}`;
}

function done(state: DoneState, sidecars: readonly SidecarOutcome[]): Try & { kind: 'done' } {
  return { kind: 'done', state, sidecars };
}

async function endingOf(
  captioner: BatchCaptioner,
  request: CaptionRequest,
  signal: AbortSignal,
  onEvent?: (event: CaptionEvent) => void,
): Promise<CaptionEnding> {
  let ending: CaptionEnding | undefined;
  await captioner.submit(request, {
    signal,
    onEvent: (event) => {
      if (isEnding(event)) ending = event;
      else onEvent?.(event);
    },
  });
  if (ending === undefined) throw new Error('A caption stopped without an ending. This is a bug.');
  return ending;
}
