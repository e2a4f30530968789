/** What intake has to know, frozen at start. */
export interface IntakeConfig {
  /** name → real path of a directory whose files may be asked for as media://NAME/path */
  readonly mediaRoots: ReadonlyMap<string, string>;
  /** most bytes of one file, however it comes */
  readonly maxUploadBytes: number;
  /** an upload that sends nothing for so long is given up */
  readonly uploadIdleMs: number;
  /** where the directory of this process is made */
  readonly temporaryDirectory: string;
  /** bytes of uploads and downloads on disk, all together */
  readonly maxTemporaryBytes: number;
  /** off: no URL is fetched; public: any public address; otherwise only these hosts (`host`, `*.host`, `host:port`) */
  readonly urlHosts: 'off' | 'public' | readonly string[];
  /** private ranges that may be fetched from all the same, such as 10.1.0.0/16 */
  readonly allowCidrs: readonly string[];
  /** one download, from the first look-up to its last byte */
  readonly fetchTimeoutMs: number;
}
