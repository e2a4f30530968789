import type { Buffer } from 'node:buffer';
import { abortError } from '../base/abort.ts';
import { AvocadoError } from '../base/errors.ts';
import { base64Bytes, percentBytes, type Malformed } from './decode-data.ts';
import { sliceOf, type LongText } from './long-texts.ts';
import { saveStream, type TemporarySpace } from '../storage/save-stream.ts';
import { storedSource } from './stored-source.ts';
import type { MediaSource } from './types.ts';

/** Text that holds a file. */
interface Data {
  readonly text: LongText;
  /** where in the text the file begins */
  readonly start: number;
  readonly isBase64: boolean;
  /** of the file, such as mp4; '' = unknown */
  readonly extension: string;
}

export interface DataOptions {
  readonly displayName: string;
  readonly param: string;
  readonly space: TemporarySpace;
  readonly maxBytes: number;
}

/** `data:[media type][;base64],` is short; what has no comma by then is something else. */
const MAX_HEAD_CHARACTERS = 1000;

function parseDataUrl(reference: LongText, param: string): Data {
  const comma = sliceOf(reference, 0, MAX_HEAD_CHARACTERS).indexOf(',');
  if (comma === -1)
    throw new AvocadoError('bad_request', 'The data URL has no comma. Write it like data:video/mp4;base64,AAAA….', {
      param,
    });
  const head = sliceOf(reference, 'data:'.length, comma);
  const extension = /^\s*[a-z]+\/([a-z0-9]{1,8})\s*(;|$)/i.exec(head)?.[1] ?? '';
  return { text: reference, start: comma + 1, isBase64: /; *base64\s*$/i.test(head), extension };
}

/** Fewest bytes the text can hold; base64 with line breaks counts as a little more than it has. */
function leastBytes({ text, start, isBase64 }: Data): number {
  const characters = text.length - start;
  return isBase64 ? Math.floor((characters * 3) / 4) - 2 : Math.floor(characters / 3);
}

function dataSource(data: Data, { displayName, param, space, maxBytes }: DataOptions): MediaSource {
  const tooLarge = (): AvocadoError =>
    new AvocadoError(
      'media_too_large',
      `The file in ${displayName} is larger than the ${maxBytes} bytes this server takes (--max-upload-bytes).`,
      { param },
    );
  const malformed: Malformed = (reason) =>
    new AvocadoError('bad_request', `The file in ${displayName} ${reason}.`, { param });
  if (leastBytes(data) > maxBytes) throw tooLarge();
  return storedSource('data', displayName, async ({ signal, onProgress }) => {
    const decode = data.isBase64 ? base64Bytes : percentBytes;
    const chunks: AsyncIterable<Buffer> = decode(data.text, data.start, malformed);
    try {
      return await saveStream(space, chunks, {
        name: `data.${data.extension}`,
        maxBytes,
        tooLarge,
        signal,
        onBytes: (done) => onProgress?.(done, undefined),
      });
    } catch (thrown) {
      throw signal.aborted ? abortError(signal) : thrown;
    }
  });
}

/** @throws AvocadoError `bad_request`, `media_too_large`; opening it these, `storage_full`, `aborted` */
export function dataUrlSource(reference: LongText, options: DataOptions): MediaSource {
  return dataSource(parseDataUrl(reference, options.param), options);
}

/** Base64 alone; `format` is the file's extension. @throws as {@link dataUrlSource} */
export function base64Source(text: LongText, format: string | undefined, options: DataOptions): MediaSource {
  return dataSource({ text, start: 0, isBase64: true, extension: format ?? '' }, options);
}
