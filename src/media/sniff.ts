// What a file is by its first bytes, before any decoder sees it. Names and extensions prove nothing.

/** still: sharp decodes it; container: ffmpeg does; the rest nobody does. */
export type FileKind = 'still' | 'heic' | 'playlist' | 'text' | 'container' | 'unknown';

/** Bytes that `sniff` wants to see. */
export const SNIFF_BYTES = 1024;

const STILLS: readonly (readonly [offset: number, magic: string])[] = [
  [0, '\x89PNG\r\n\x1a\n'],
  [0, '\xff\xd8\xff'],
  [8, 'WEBP'],
  [0, 'II*\0'],
  [0, 'MM\0*'],
  [4, 'ftypavif'],
];

const CONTAINERS: readonly (readonly [offset: number, magic: string])[] = [
  ...['ftyp', 'moov', 'mdat', 'wide', 'free', 'skip', 'pnot'].map((box) => [4, box] as const),
  [0, '\x1aE\xdf\xa3'], // matroska, webm
  [0, 'RIFF'],
  [0, 'OggS'],
  [0, 'FLV\x01'],
  [0, '\x30\x26\xb2\x75'], // asf
  [0, '\0\0\x01\xba'], // mpeg program stream
  [0, 'G'], // mpeg transport stream
  [0, 'fLaC'],
  [0, 'ID3'],
  [0, 'GIF8'],
  [0, 'FORM'],
  [0, 'riff'], // w64
];

/** @param head the first SNIFF_BYTES of a file, or all of a shorter one */
export function sniff(head: Uint8Array): FileKind {
  const text = Buffer.from(head.buffer, head.byteOffset, head.byteLength).toString('latin1');
  const has = ([offset, magic]: readonly [number, string]): boolean => text.startsWith(magic, offset);
  if (STILLS.some(has)) return 'still';
  if (/^.{4}ftyp(heic|heix|hevc|mif1|msf1)/s.test(text)) return 'heic';
  if (/^(\ufeff|\xef\xbb\xbf)?\s*(#EXTM3U|ffconcat|\[playlist\]|<\?xml[^]*<(MPD|playlist|smil)|<MPD|<smil)/i.test(text))
    return 'playlist';
  if (isText(text)) return 'text';
  if (CONTAINERS.some(has) || /^\xff[\xe0-\xff]/.test(text)) return 'container';
  return 'unknown';
}

/** No control characters but white space, as no container's first kilobyte has. */
function isText(text: string): boolean {
  return (
    !/[\0-\x08\x0e-\x1a\x1c-\x1f\x7f]/.test(text) && /^[\t\n\r\x20-\x7e]{4}/.test(text.replace(/^\xef\xbb\xbf/, ''))
  );
}
