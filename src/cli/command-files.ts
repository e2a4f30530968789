// The files of a command line: paths, http: and https: addresses, and - for standard input.
import { tmpdir } from 'node:os';
import type { Readable } from 'node:stream';
import { AvocadoError } from '../base/errors.ts';
import { createIntake } from '../intake/intake.ts';
import { storedSource, type MediaSource } from '../intake/media-source.ts';
import type { CaptionEvent } from '../output/events.ts';
import { withFileTexts } from '../output/file-texts.ts';
import { openTemporaryStorage, type TemporaryStorage } from '../storage/temporary-storage.ts';

const STDIN = '-';
const FETCH_TIMEOUT_MS = 600_000;
const MAX_BYTES = 4 * 1024 ** 3;

/** Whether an argument is the path of a file, not an address and not `-`. */
export function isPath(file: string): boolean {
  return file !== STDIN && !/^https?:/i.test(file);
}

/** Events of a file that was fetched to `path`, which tell of it by the name that the user gave it. */
export async function* named(
  events: AsyncIterable<CaptionEvent>,
  path: string,
  file: string,
): AsyncGenerator<CaptionEvent> {
  const told = (text: string): string => text.replaceAll(path, () => (file === STDIN ? 'standard input' : file));
  for await (const event of events) yield withFileTexts(event, told);
}

/** Fetches what is no path into the temporary directory, one file at a time. */
export class CommandFiles {
  readonly #stdin: () => Readable;
  #storage: Promise<TemporaryStorage> | undefined;

  constructor(stdin: () => Readable) {
    this.#stdin = stdin;
  }

  /**
   * Gives `use` a local path; a file that was fetched for it is deleted afterwards. Addresses inside a private network
   * are refused, as by the server.
   * @throws AvocadoError `media_forbidden_host`, `media_unreachable`, `media_too_large`, `media_empty`, `aborted`, and
   * what `use` throws
   */
  async withPath<T>(file: string, signal: AbortSignal, use: (path: string) => Promise<T>): Promise<T> {
    if (isPath(file)) return await use(file);
    this.#storage ??= openTemporaryStorage({ temporaryDirectory: tmpdir(), maxTemporaryBytes: 2 * MAX_BYTES });
    const source = this.#source(file, await this.#storage);
    try {
      return await use((await source.open({ signal })).path);
    } finally {
      await source.release();
    }
  }

  async close(): Promise<void> {
    await (await this.#storage)?.close();
  }

  #source(file: string, storage: TemporaryStorage): MediaSource {
    if (file !== STDIN) {
      const network = { urlHosts: 'public', allowCidrs: [], fetchTimeoutMs: FETCH_TIMEOUT_MS } as const;
      const limits = { maxUploadBytes: MAX_BYTES, maxMemoryBytes: MAX_BYTES, mediaRoots: new Map<string, string>() };
      return createIntake({ ...network, ...limits }, storage).fromReference(file, 'file');
    }
    const tooLarge = (): AvocadoError =>
      new AvocadoError(
        'media_too_large',
        `Standard input has more than ${MAX_BYTES} bytes. Cut the file or re-encode it.`,
      );
    return storedSource('upload', 'standard input', ({ signal }) =>
      storage.save(this.#stdin(), { name: '', maxBytes: MAX_BYTES, tooLarge, signal }),
    );
  }
}
