// The way of a client's file to this disk: upload, URL, text inside JSON, or a directory of this server.
// It knows no HTTP server: src/server/wire/upload.ts reads the multipart form.
import type { Buffer } from 'node:buffer';
import { AvocadoError } from '../base/errors.ts';
import { ByteQuota, memoryFull, type Reservation, type TemporaryStorage } from '../storage/temporary-storage.ts';
import { download, post, type DownloadRules, type Resolve } from './download.ts';
import { base64Source, dataUrlSource, type InlineOptions } from './inline-data.ts';
import { JsonAttachments, type JsonLimits, type ParsedJson } from './json-attachments.ts';
import { HeldFiles, rootSource } from './media-roots.ts';
import { mediaTooLarge, storedSource, type MediaSource } from './media-source.ts';
import { addressPolicy, hostPolicy, redactedUrl, urlPolicy, type UrlHosts } from './url-policy.ts';

export interface IntakeConfig {
  /** name → real path of a directory whose files may be requested as media://NAME/path */
  readonly mediaRoots: ReadonlyMap<string, string>;
  /** limit for one file, however it arrives */
  readonly maxUploadBytes: number;
  /** which hosts may be fetched from */
  readonly urlHosts: UrlHosts;
  /** private address ranges that may be fetched from, such as 10.1.0.0/16 */
  readonly allowCidrs: readonly string[];
  /** for one download, from the first DNS lookup to the last byte */
  readonly fetchTimeoutMs: number;
  /** limit for the bytes of request bodies in memory, all requests together */
  readonly maxMemoryBytes: number;
}

/** Replaced by tests. */
export interface NetworkOptions {
  /** default: the resolver of the operating system */
  readonly resolve?: Resolve | undefined;
  /** PEM; default: those that Node trusts */
  readonly certificateAuthorities?: string | undefined;
  /** a server that sends nothing for this long has failed */
  readonly fetchIdleMs?: number | undefined;
}

/** Makes a source of whatever a request brings. `param` names the field at fault in errors. */
export interface Intake {
  /**
   * A media://NAME/path, https:, http: or data: reference, or the id of a stored file. No I/O.
   * @param owner whose stored files may be named
   * @throws AvocadoError `bad_request`, `media_forbidden_path`, `media_forbidden_host`, `media_too_large`
   */
  fromReference(reference: string, param: string, owner?: string): MediaSource;
  /**
   * A file as base64 (OpenAI's input_audio, file_data); `format` gives the extension. No I/O.
   * @throws AvocadoError `media_too_large`
   */
  fromBase64(data: string, format: string | undefined, displayName: string, param: string): MediaSource;
  /**
   * Saves an uploaded file; `name` is the client's name for it, or ''. After an error nothing is left on disk.
   * @throws AvocadoError `media_too_large`, `storage_full`; errors of `chunks` pass
   */
  fromUpload(chunks: AsyncIterable<Uint8Array>, name: string, param: string): Promise<MediaSource>;
  /**
   * Like JSON.parse, for bodies that may hold files: long strings go to disk. Until `release`, fromReference and
   * fromBase64 accept the markers that stand for them.
   * @throws AvocadoError `bad_request`, `storage_full`, the error of `tooLarge`; errors of `chunks` pass
   */
  parseJson(chunks: AsyncIterable<Buffer>, limits: JsonLimits): Promise<ParsedJson>;
  /** Counts what a request holds in memory. */
  reserveMemory(): Reservation;
  /**
   * Checks an address that is to be told of something. No I/O.
   * @throws AvocadoError `bad_request`, `media_forbidden_host`
   */
  checkAddress(address: string, param: string): void;
  /**
   * Posts a body to such an address; redirects are not followed.
   * @returns the status of the answer @throws AvocadoError `media_forbidden_host`, `media_unreachable`
   */
  send(address: string, headers: Readonly<Record<string, string>>, body: string, signal: AbortSignal): Promise<number>;
}

/** An id of /v1/files. */
export const STORED_FILE = /^file-[0-9a-f]{24}$/;

/** Files that clients sent before. */
export interface StoredFiles {
  /** @throws AvocadoError `media_not_found`, `database_unavailable` */
  open(id: string, owner: string): Promise<{ readonly name: string; readonly chunks: AsyncIterable<Uint8Array> }>;
}

export interface IntakeOptions extends NetworkOptions {
  /** undefined: ids of files are no references */
  readonly stored?: StoredFiles | undefined;
}

const FETCH_IDLE_MS = 30_000;

/** @throws AvocadoError `bad_request` for hosts or ranges in the configuration that are malformed */
export function createIntake(config: IntakeConfig, storage: TemporaryStorage, options: IntakeOptions = {}): Intake {
  const { maxUploadBytes: maxBytes, fetchTimeoutMs } = config;
  const { resolve, certificateAuthorities, fetchIdleMs = FETCH_IDLE_MS, stored } = options;
  const allowsAddress = addressPolicy(config.allowCidrs);
  const urls = urlPolicy(hostPolicy(config.urlHosts), allowsAddress);
  const rules: DownloadRules = {
    urls,
    allowsAddress,
    maxBytes,
    timeoutMs: fetchTimeoutMs,
    idleMs: fetchIdleMs,
    resolve,
    certificateAuthorities,
  };
  const memory = new ByteQuota(config.maxMemoryBytes, memoryFull);
  const held = new HeldFiles(storage);
  const attachments = new JsonAttachments(storage, memory);
  const inlineOptions = (displayName: string, param: string): InlineOptions => ({
    displayName,
    param,
    storage,
    maxBytes,
  });
  const fromUrl = (reference: string, param: string): MediaSource => {
    const url = urls.read(reference, param);
    return storedSource('url', redactedUrl(url), (options) => download(url, param, storage, rules, options));
  };
  return {
    fromReference: (reference, param, owner = '') => {
      if (stored !== undefined && STORED_FILE.test(reference))
        return fromStored(reference, owner, stored, inlineOptions(reference, param));
      // Browsers pass over white space in front of a data URL, so clients send some.
      const scheme = /^(?:\s+(?=data:))?([a-z][a-z0-9+.-]*):/i.exec(reference)?.[1]?.toLowerCase();
      const text = attachments.read(reference);
      // What stands for a long text is told to nobody, neither in an error nor in a request.
      if (scheme !== 'data' && text.length !== reference.length) throw longAddress(param);
      switch (scheme) {
        case 'http':
        case 'https':
          return fromUrl(reference, param);
        case 'data':
          return dataUrlSource(text, inlineOptions('the data URL', param));
        case 'media':
          return rootSource(reference, param, config.mediaRoots, held);
        default:
          throw unknownScheme(param);
      }
    },
    fromBase64: (data, format, displayName, param) =>
      base64Source(attachments.read(data), format, inlineOptions(displayName, param)),
    fromUpload: async (chunks, name, param) => {
      const tooLarge = (): AvocadoError => mediaTooLarge('The upload', maxBytes, param);
      const { path, contentHash, remove } = await storage.save(chunks, { name, maxBytes, tooLarge });
      const displayName = name === '' ? 'the upload' : name;
      return { kind: 'upload', displayName, open: () => Promise.resolve({ path, contentHash }), release: remove };
    },
    parseJson: (chunks, limits) => attachments.parse(chunks, limits),
    reserveMemory: () => memory.reserve(),
    checkAddress: (address, param) => void urls.read(address, param),
    send: (address, headers, body, signal) => post(urls.read(address, 'webhook'), headers, body, rules, signal),
  };
}

/** A file that a client sent before, as a copy for this request. */
function fromStored(
  id: string,
  owner: string,
  files: StoredFiles,
  { storage, maxBytes, param }: InlineOptions,
): MediaSource {
  return storedSource('upload', id, async ({ signal, onProgress }) => {
    const { name, chunks } = await files.open(id, owner);
    const tooLarge = (): AvocadoError => mediaTooLarge('The file', maxBytes, param);
    const onBytes = (done: number): void => onProgress?.(done, undefined);
    return await storage.save(chunks, { name, maxBytes, tooLarge, signal, onBytes });
  });
}

function longAddress(param: string): AvocadoError {
  return new AvocadoError('bad_request', `${param} is too long for an address. Send a file in JSON as a data: URL.`, {
    param,
  });
}

function unknownScheme(param: string): AvocadoError {
  return new AvocadoError(
    'bad_request',
    `${param} must be an https:, http: or data: URL, or media://NAME/path, NAME being a --media-root of this server.`,
    { param },
  );
}
