import { abortError } from '../base/abort.ts';
import { AvocadoError } from '../base/errors.ts';
import type { StoredFile } from '../storage/temporary-storage.ts';

export interface LocalFile {
  readonly path: string;
  /** SHA-256 in hex; undefined for files that we do not copy and therefore never read in full */
  readonly contentHash: string | undefined;
}

export interface OpenSourceOptions {
  readonly signal: AbortSignal;
  /** bytes so far, and the total if the sender announced it */
  readonly onProgress?: ((done: number, total: number | undefined) => void) | undefined;
  /** of W3C Trace Context, for whoever is asked for the file */
  readonly traceparent?: string | undefined;
}

/** The file of one request. Made without I/O, except an upload, which is complete by then. */
export interface MediaSource {
  /** the client's name for the file; clients never see our path of it */
  readonly displayName: string;
  readonly kind: 'upload' | 'url' | 'data' | 'root';
  /**
   * @throws AvocadoError `media_forbidden_host`, `media_unreachable`, `media_too_large`, `media_not_found`,
   * `storage_full`, `aborted` …
   */
  open(options: OpenSourceOptions): Promise<LocalFile>;
  /** Deletes what was stored for this request. Every request calls it at its end; safe at any time and repeatedly. */
  release(): Promise<void>;
}

/** @param subject what is too large, as the beginning of a sentence */
export function mediaTooLarge(subject: string, maxBytes: number, param?: string): AvocadoError {
  return new AvocadoError(
    'media_too_large',
    `${subject} is larger than the ${maxBytes} bytes that are taken. Cut it or re-encode it.`,
    param === undefined ? {} : { param },
  );
}

/** A source that `store` saves to disk when it is first opened. Releasing it stops `store` and deletes the file. */
export function storedSource(
  kind: MediaSource['kind'],
  displayName: string,
  store: (options: OpenSourceOptions) => Promise<StoredFile>,
): MediaSource {
  const released = new AbortController();
  let stored: Promise<StoredFile> | undefined;
  return {
    kind,
    displayName,
    open: async (options) => {
      const signal = AbortSignal.any([options.signal, released.signal]);
      if (signal.aborted) throw abortError(signal);
      stored ??= store({ ...options, signal });
      const { path, contentHash } = await stored;
      return { path, contentHash };
    },
    release: async () => {
      released.abort();
      const file = await stored?.catch(() => undefined);
      await file?.remove();
    },
  };
}
