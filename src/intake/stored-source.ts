import { AvocadoError } from '../base/errors.ts';
import type { SavedFile } from '../storage/save-stream.ts';
import type { MediaSource, OpenSourceOptions } from './types.ts';

/** What an aborted request is told: why it was aborted, where somebody said so. */
export function abortedError(signal: AbortSignal): AvocadoError {
  return signal.reason instanceof AvocadoError
    ? signal.reason
    : new AvocadoError('aborted', 'The request was cancelled.', { cause: signal.reason });
}

/** A source whose file comes onto disk when it is first opened. Releasing it stops that, and waits for the file to be gone. */
export function storedSource(
  kind: MediaSource['kind'],
  shownAs: string,
  store: (options: OpenSourceOptions) => Promise<SavedFile>,
): MediaSource {
  const released = new AbortController();
  let stored: Promise<SavedFile> | undefined;
  return {
    kind,
    shownAs,
    open: async (options) => {
      const signal = AbortSignal.any([options.signal, released.signal]);
      if (signal.aborted) throw abortedError(signal);
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
