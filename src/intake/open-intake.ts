import type { Buffer } from 'node:buffer';
import { AvocadoError } from '../base/errors.ts';
import { addressPolicy } from './address-policy.ts';
import { base64Source, dataUrlSource, type DataOptions } from './data-source.ts';
import { download, type DownloadRules } from './download.ts';
import type { Resolve } from './guarded-agent.ts';
import { hostPolicy } from './host-policy.ts';
import type { IntakeConfig } from './intake-config.ts';
import { LongTexts } from './long-texts.ts';
import { rootSource } from './media-roots.ts';
import { saveStream, type TemporarySpace } from '../storage/save-stream.ts';
import { SpaceAccount, type SpaceUse } from '../storage/disk-quota.ts';
import { mediaTooLarge, storedSource } from './stored-source.ts';
import { openTemporaryDirectory } from '../storage/temporary-directory.ts';
import type { MediaSource } from './types.ts';
import { urlPolicy } from './url-policy.ts';
import { shownUrl } from './url-text.ts';

/** The one way by which a client's file comes to us. `param` names the field at fault in errors. */
export interface Intake {
  /**
   * media://NAME/path, https:, http:, data: by scheme. No I/O.
   * @throws AvocadoError `bad_request`, `media_forbidden_path`, `media_forbidden_host`, `media_too_large`
   */
  fromReference(reference: string, param: string): MediaSource;
  /** base64 of a file (OpenAI's input_audio, file_data); `format` gives the extension. No I/O. @throws AvocadoError `media_too_large` */
  fromBase64(data: string, format: string | undefined, displayName: string, param: string): MediaSource;
  /**
   * Streams a file to disk and hashes it on the way. `name` is the client's name for it, '' if it gave none.
   * @throws AvocadoError `media_too_large`, `storage_full`; errors of `chunks` pass; after any error nothing is left on disk
   */
  fromUpload(chunks: AsyncIterable<Uint8Array>, name: string, param: string): Promise<MediaSource>;
  /**
   * JSON.parse for bodies that may hold files: long texts in it stay bytes, known to fromReference and fromBase64 until `release`.
   * @throws AvocadoError `bad_request`
   */
  parseJson(body: Buffer): { readonly value: unknown; release(): void };
  /** what uploads, downloads and data lie on disk now */
  space(): SpaceUse;
  /** removes all of them */
  close(): Promise<void>;
}

/** What tests put in place of the world outside. */
export interface IntakeSurroundings {
  readonly resolve?: Resolve | undefined;
  readonly certificateAuthorities?: string | undefined;
  /** a server that sends nothing for so long is given up */
  readonly fetchIdleMs?: number | undefined;
}

const FETCH_IDLE_MS = 30_000;

function unknownScheme(param: string): AvocadoError {
  return new AvocadoError(
    'bad_request',
    `${param} must be an https:, http: or data: URL, or media://NAME/path with NAME being a --media-root of this server.`,
    { param },
  );
}

/**
 * Makes this process's temporary directory, after removing those of dead ones.
 * @throws AvocadoError `bad_request` for hosts or ranges in the configuration that are none
 */
export async function openIntake(config: IntakeConfig, surroundings: IntakeSurroundings = {}): Promise<Intake> {
  const { maxUploadBytes: maxBytes, fetchTimeoutMs } = config;
  const { resolve, certificateAuthorities, fetchIdleMs = FETCH_IDLE_MS } = surroundings;
  const allowsAddress = addressPolicy(config.allowCidrs);
  const urls = urlPolicy(hostPolicy(config.urlHosts), allowsAddress);
  const directory = await openTemporaryDirectory(config.temporaryDirectory);
  const space: TemporarySpace = { directory, account: new SpaceAccount(config.maxTemporaryBytes) };
  const rules: DownloadRules = {
    urls,
    allowsAddress,
    maxBytes,
    timeoutMs: fetchTimeoutMs,
    idleMs: fetchIdleMs,
    resolve,
    certificateAuthorities,
  };
  const dataOptions = (displayName: string, param: string): DataOptions => ({ displayName, param, space, maxBytes });

  const longTexts = new LongTexts();
  const fromUrl = (reference: string, param: string): MediaSource => {
    const url = urls.read(reference, param);
    return storedSource('url', shownUrl(url), (options) => download(url, param, space, rules, options));
  };
  return {
    fromReference: (reference, param) => {
      switch (/^([a-z][a-z0-9+.-]*):/i.exec(reference)?.[1]?.toLowerCase()) {
        case 'http':
        case 'https':
          return fromUrl(reference, param);
        case 'data':
          return dataUrlSource(longTexts.read(reference), dataOptions('the data URL', param));
        case 'media':
          return rootSource(reference, param, config.mediaRoots);
        default:
          throw unknownScheme(param);
      }
    },
    fromBase64: (data, format, displayName, param) =>
      base64Source(longTexts.read(data), format, dataOptions(displayName, param)),
    fromUpload: async (chunks, name, param) => {
      const tooLarge = (): AvocadoError => mediaTooLarge('The upload', maxBytes, param);
      const { path, contentHash, remove } = await saveStream(space, chunks, { name, maxBytes, tooLarge });
      const displayName = name === '' ? 'the upload' : name;
      return { kind: 'upload', displayName, open: () => Promise.resolve({ path, contentHash }), release: remove };
    },
    parseJson: (body) => longTexts.parse(body),
    space: () => space.account.use(),
    close: () => directory.close(),
  };
}
