// How a request's file comes onto this disk: upload, URL, data URL, media root. What is not allowed here is denied.

export interface LocalFile {
  readonly path: string;
  /** SHA-256 in hex, where reading the file once was enough to know it */
  readonly contentHash: string | undefined;
}

export interface OpenSourceOptions {
  readonly signal: AbortSignal;
  /** bytes so far, and in all where the sender has said so */
  readonly onProgress?: ((done: number, total: number | undefined) => void) | undefined;
}

/** A file a request names or brings. Made without I/O (an upload excepted, which has arrived by then). */
export interface MediaSource {
  /** what the client calls it; our path of it is not its business */
  readonly displayName: string;
  readonly kind: 'upload' | 'url' | 'data' | 'root';
  /** @throws AvocadoError `media_forbidden_host`, `media_unreachable`, `media_too_large`, `media_not_found`, `storage_full`, `aborted` … */
  open(options: OpenSourceOptions): Promise<LocalFile>;
  /** Removes what lies on disk for this request. Safe at any time, any number of times; always called in the end. */
  release(): Promise<void>;
}
