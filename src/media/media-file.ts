// A local file before any decoder opens it: it exists, is regular and not too large, and its first bytes tell its kind.
import { open, stat, type FileHandle } from 'node:fs/promises';
import { resolve } from 'node:path';
import { AvocadoError } from '../base/errors.ts';
import type { PictureFormat } from './picture-process.ts';

/** `still` is decoded by sharp, `container` by ffmpeg; ffmpeg also tries `unknown`. The others are refused. */
type FileKind = 'still' | 'unsupported' | 'playlist' | 'text' | 'container' | 'unknown';

interface Sniffed {
  readonly kind: FileKind;
  /** of a `still` */
  readonly format?: PictureFormat | undefined;
  /** what an `unsupported` file is, and what to convert it to */
  readonly name?: string | undefined;
  readonly convertTo?: string | undefined;
  /** an mp4 or mov that calls itself no sound file: most of those hold H.264 or H.265 */
  readonly isFilm?: boolean | undefined;
}

export interface MediaFile extends Sniffed {
  /** absolute */
  readonly path: string;
  readonly sizeBytes: number;
}

/**
 * Checks a file without decoding it: it exists, is regular, not empty and not too large. Its kind comes from its first
 * bytes.
 * @throws AvocadoError `media_not_found`, `media_not_a_file`, `media_empty`, `media_too_large`
 */
export async function openMediaFile(path: string, maxSizeBytes: number): Promise<MediaFile> {
  const absolute = resolve(path);
  const sizeBytes = await checkedSize(absolute, path);
  if (sizeBytes > maxSizeBytes) {
    throw new AvocadoError(
      'media_too_large',
      `${path} is ${megabytes(sizeBytes)} MB; at most ${megabytes(maxSizeBytes)} MB are taken. Cut it or re-encode it.`,
    );
  }
  return { path: absolute, sizeBytes, ...(await look(absolute, path)) };
}

async function checkedSize(absolute: string, path: string): Promise<number> {
  const found = await stat(absolute).catch((cause: unknown) => {
    throw unreadable(path, cause);
  });
  // A decoder would wait forever on a pipe or a device.
  if (!found.isFile())
    throw new AvocadoError(
      'media_not_a_file',
      `${path} is ${found.isDirectory() ? 'a directory' : 'not a regular file'}. Give a media file.`,
    );
  if (found.size === 0)
    throw new AvocadoError('media_empty', `${path} is empty (0 bytes). Was it fully written or uploaded?`);
  return found.size;
}

async function look(absolute: string, path: string): Promise<Sniffed> {
  const file = await open(absolute).catch((cause: unknown) => {
    throw unreadable(path, cause);
  });
  try {
    const sniffed = sniff(await readBytes(file, 0, SNIFF_BYTES));
    const isPng = sniffed.kind === 'still' && sniffed.format === 'png';
    return isPng && (await isAnimatedPng(file)) ? { kind: 'container' } : sniffed;
  } finally {
    await file.close();
  }
}

async function readBytes(file: FileHandle, position: number, length: number): Promise<Uint8Array> {
  const { buffer, bytesRead } = await file.read(new Uint8Array(length), 0, length, position);
  return buffer.subarray(0, bytesRead);
}

/** Chunks in front of the pixels: honest files have about ten. */
const MOST_PNG_CHUNKS = 100;

/** The chunk `acTL` in front of the pixels makes a PNG an animation. It may lie behind a long colour profile. */
async function isAnimatedPng(file: FileHandle): Promise<boolean> {
  let position = 8;
  for (let chunk = 0; chunk < MOST_PNG_CHUNKS; chunk++) {
    const head = Buffer.from(await readBytes(file, position, 12));
    const type = head.toString('latin1', 4, 8);
    if (head.length < 12 || type === 'IDAT') return false;
    if (type === 'acTL') return head.readUInt32BE(8) > 1;
    position += 12 + head.readUInt32BE(0);
  }
  return false;
}

function unreadable(path: string, cause: unknown): AvocadoError {
  const reason = cause instanceof Error && 'code' in cause ? String(cause.code) : String(cause);
  if (reason === 'EACCES' || reason === 'EPERM')
    return new AvocadoError('media_not_found', `${path} may not be read by this user. Change its permissions.`, {
      cause,
    });
  return new AvocadoError('media_not_found', `There is no file ${path} (${reason}). Check the path.`, { cause });
}

function megabytes(bytes: number): string {
  return (bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0);
}

/** `sniff` needs at most this many bytes from the start of a file. */
export const SNIFF_BYTES = 1024;

/** What stands at which offset, all of it. */
type Magic = readonly (readonly [offset: number, bytes: string])[];

const PICTURES: readonly (readonly [PictureFormat, Magic])[] = [
  ['png', [[0, '\x89PNG\r\n\x1a\n']]],
  ['jpeg', [[0, '\xff\xd8\xff']]],
  [
    'webp',
    [
      [0, 'RIFF'],
      [8, 'WEBP'],
    ],
  ],
  ['tiff', [[0, 'II*\0']]],
  ['tiff', [[0, 'MM\0*']]],
];

const CONTAINERS: readonly Magic[] = [
  ...['ftyp', 'moov', 'mdat', 'wide', 'free', 'skip', 'pnot'].map((box): Magic => [[4, box]]),
  [[0, '\x1aE\xdf\xa3']], // matroska, webm
  [
    [0, 'RIFF'],
    [8, 'AVI '],
  ],
  [
    [0, 'RIFF'],
    [8, 'WAVE'],
  ],
  [[0, 'riff']], // w64
  [[0, 'OggS']],
  [[0, 'FLV\x01']],
  [[0, '\x30\x26\xb2\x75']], // asf
  [[0, '\0\0\x01\xba']], // mpeg program stream
  [
    [0, 'G'],
    [188, 'G'],
  ], // mpeg transport stream: packets of 188 bytes
  [
    [4, 'G'],
    [196, 'G'],
  ], // the same with a time in front of each packet
  [[0, 'fLaC']],
  [[0, 'ID3']],
  [[0, 'GIF87a']],
  [[0, 'GIF89a']],
  [
    [0, 'FORM'],
    [8, 'AIF'],
  ],
];

const PICTURE_ADVICE = 'PNG or JPEG';
const SOUND_ADVICE = 'FLAC or WAV';
const VIDEO_ADVICE = 'MP4';

/** Formats that people send and that are not read here; the error says what they are. */
const UNSUPPORTED: readonly (readonly [name: string, convertTo: string, Magic])[] = [
  [
    'a BMP picture',
    PICTURE_ADVICE,
    [
      [0, 'BM'],
      [6, '\0\0\0\0'],
    ],
  ],
  ['a JPEG XL picture', PICTURE_ADVICE, [[0, '\xff\x0a']]],
  ['a JPEG XL picture', PICTURE_ADVICE, [[0, '\0\0\0\x0cJXL \r\n\x87\n']]],
  ['a JPEG 2000 picture', PICTURE_ADVICE, [[0, '\0\0\0\x0cjP  \r\n\x87\n']]],
  ['a Photoshop picture', PICTURE_ADVICE, [[0, '8BPS']]],
  ['a PDF document', PICTURE_ADVICE, [[0, '%PDF-']]],
  ['a CAF sound file', SOUND_ADVICE, [[0, 'caff\0\x01']]],
  ['an AU sound file', SOUND_ADVICE, [[0, '.snd']]],
  ['an AC-3 sound file', SOUND_ADVICE, [[0, '\x0bw']]],
  ['a DTS sound file', SOUND_ADVICE, [[0, '\x7f\xfe\x80\x01']]],
  ['an AMR sound file', SOUND_ADVICE, [[0, '#!AMR']]],
  ['a WavPack sound file', SOUND_ADVICE, [[0, 'wvpk']]],
  ['a MIDI file', SOUND_ADVICE, [[0, 'MThd\0\0\0\x06']]],
  ['an MXF file', VIDEO_ADVICE, [[0, '\x06\x0e\x2b\x34']]],
  ['an IVF file', VIDEO_ADVICE, [[0, 'DKIF']]],
  ['a YUV4MPEG file', VIDEO_ADVICE, [[0, 'YUV4MPEG2']]],
  ['a RealMedia file', VIDEO_ADVICE, [[0, '.RMF']]],
  ['a raw H.264 stream', VIDEO_ADVICE, [[0, '\0\0\0\x01g']]],
  ['a raw H.265 stream', VIDEO_ADVICE, [[0, '\0\0\0\x01@\x01']]],
  ['a ZIP archive', 'the file inside it', [[0, 'PK\x03\x04']]],
];

/** Major brands of sounds and of moving AVIF pictures. */
const NO_FILMS = new Set(['M4A ', 'M4B ', 'M4P ', 'avis']);

/**
 * The kind of a file by its first bytes. Names and extensions are ignored, since the sender chooses them.
 * @param head the first SNIFF_BYTES of a file, or all of a shorter one
 */
export function sniff(head: Uint8Array): Sniffed {
  const text = Buffer.from(head.buffer, head.byteOffset, head.byteLength).toString('latin1');
  const has = (magic: Magic): boolean => magic.every(([offset, bytes]) => text.startsWith(bytes, offset));
  const picture = PICTURES.find(([, magic]) => has(magic));
  if (picture !== undefined) return { kind: 'still', format: picture[0] };
  const brands = brandsOf(text);
  if (brands[0] !== 'avis' && brands.includes('avif')) return { kind: 'still', format: 'heif' };
  if (/^(hei[cxms]|hev[cxms]|mif1|msf1)$/.test(brands[0] ?? ''))
    return { kind: 'unsupported', name: 'a HEIC picture', convertTo: PICTURE_ADVICE };
  if (/^(\ufeff|\xef\xbb\xbf)?\s*(#EXTM3U|ffconcat|\[playlist\]|<\?xml[^]*<(MPD|playlist|smil)|<MPD|<smil)/i.test(text))
    return { kind: 'playlist' };
  const isContainer = CONTAINERS.some(has);
  const [name, convertTo] = UNSUPPORTED.find(([, , magic]) => has(magic)) ?? [];
  if (name !== undefined && !isContainer) return { kind: 'unsupported', name, convertTo };
  if (isText(text)) return { kind: 'text' };
  if (isContainer && brands.length > 0 && !NO_FILMS.has(brands[0] ?? '')) return { kind: 'container', isFilm: true };
  if (isContainer || /^\xff[\xe0-\xff]/.test(text)) return { kind: 'container' };
  return { kind: 'unknown' };
}

/** The brands of an ISO file: the major one, then those it is compatible with. */
function brandsOf(text: string): string[] {
  if (!text.startsWith('ftyp', 4)) return [];
  const size = Buffer.from(text.slice(0, 4), 'latin1').readUInt32BE();
  const [major, , ...compatible] = text.slice(8, size).match(/[^]{4}/g) ?? [];
  return major === undefined ? [] : [major, ...compatible];
}

/** No control characters except white space. The first kilobyte of every container has some. */
function isText(text: string): boolean {
  return (
    !/[\0-\x08\x0e-\x1a\x1c-\x1f\x7f]/.test(text) && /^[\t\n\r\x20-\x7e]{4}/.test(text.replace(/^\xef\xbb\xbf/, ''))
  );
}
