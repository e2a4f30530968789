import { abortError } from '../base/abort.ts';
import { AvocadoError } from '../base/errors.ts';
import type { SavedFile } from '../storage/save-stream.ts';
import type { MediaSource, OpenSourceOptions } from './types.ts';

/** @param subject what is too large, as the beginning of a sentence */
export function mediaTooLarge(subject: string, maxBytes: number, param?: string): AvocadoError {
  return new AvocadoError(
    'media_too_large',
    `${subject} is larger than the ${maxBytes} bytes this server takes (--max-upload-bytes).`,
    param === undefined ? {} : { param },
  );
}

/** A source whose file comes onto disk when it is first opened. Releasing it stops that, and waits for the file to be gone. */
export function storedSource(
  kind: MediaSource['kind'],
  displayName: string,
  store: (options: OpenSourceOptions) => Promise<SavedFile>,
): MediaSource {
  const released = new AbortController();
  let stored: Promise<SavedFile> | undefined;
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
