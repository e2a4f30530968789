import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { sniff, SNIFF_BYTES } from '../../../src/media/media-file.ts';
import { golden } from '../../fixtures/golden.ts';

const bytes = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text, 'latin1'));

test.each([
  ['av-4s.mp4', 'container'],
  ['speech-16k.wav', 'container'],
  ['still.png', 'still'],
])('%s is a %s', (clip, kind) => {
  expect(sniff(readFileSync(golden(`clips/${clip}`)).subarray(0, SNIFF_BYTES)).kind).toBe(kind);
});

test.each<[string, string, object?]>([
  ['#EXTM3U\n#EXT-X-VERSION:3\n', 'playlist'],
  ['\xef\xbb\xbf#EXTM3U\n', 'playlist'],
  ['ffconcat version 1.0\nfile /etc/passwd\n', 'playlist'],
  ['<?xml version="1.0"?>\n<MPD xmlns="urn:mpeg:dash:schema:mpd:2011">', 'playlist'],
  ['Just some words.\nAnd more.', 'text'],
  ['<svg xmlns="http://www.w3.org/2000/svg"/>', 'text'],
  ['\0\0\0\x01mdat\0\0\0\0\0\x01\0\0', 'container'],
  ['BMW and other makers of cars', 'text'],
  ['\0\0\0\x18ftypisom\0\0\0\0', 'container', { isFilm: true }],
  ['\0\0\0\x18ftypM4A \0\0\0\0', 'container'],
  ['RIFF\x24\0\0\0WAVEfmt \0', 'container'],
  ['\x1aE\xdf\xa3\x01\0\0\0', 'container'],
  ['\x01\x02\x03\x04\x05\x06', 'unknown'],
  ['', 'unknown'],
  ['\0\0\0\x1cftypavis\0\0\0\0avifavis', 'container'],
  ['GIF89a\x10\0\x10\0\x80', 'container'],
  [`G${'\0'.repeat(187)}G`, 'container'],
])('%j is a %s', (head, kind, more = {}) => {
  expect(sniff(bytes(head))).toEqual({ kind, ...more });
});

test.each([
  ['\0\0\0\x10ftypheic\0\0\0\0', 'a HEIC picture'],
  ['\0\0\0\x18ftypmif1\0\0\0\0mif1heic', 'a HEIC picture'],
  ['BM\x36\x10\0\0\0\0\0\0\x36\0', 'a BMP picture'],
  ['\xff\x0a\xfa\x1f', 'a JPEG XL picture'],
  ['\0\0\0\x0cJXL \r\n\x87\n', 'a JPEG XL picture'],
  ['%PDF-1.4\n1 0 obj\n', 'a PDF document'],
  ['caff\0\x01\0\0desc', 'a CAF sound file'],
  ['.snd\0\0\0\x18', 'an AU sound file'],
  ['\x0bw\x12\x34', 'an AC-3 sound file'],
  ['#!AMR\n\x3c', 'an AMR sound file'],
  ['\x06\x0e\x2b\x34\x02\x05', 'an MXF file'],
  ['\0\0\0\x01\x67\x64', 'a raw H.264 stream'],
])('%j is %s, which is not supported', (head, name) => {
  expect(sniff(bytes(head))).toMatchObject({ kind: 'unsupported', name });
});

test.each([
  ['\x89PNG\r\n\x1a\n', 'png'],
  ['\xff\xd8\xff\xe0', 'jpeg'],
  ['RIFF\x24\0\0\0WEBPVP8 \0', 'webp'],
  ['II*\0\x08\0\0\0', 'tiff'],
  ['MM\0*\0\0\0\x08', 'tiff'],
  ['\0\0\0\x18ftypavif\0\0\0\0avifmif1', 'heif'],
  ['\0\0\0\x18ftypmif1\0\0\0\0mif1avif', 'heif'],
])('%j is a still picture, %s', (head, format) => {
  expect(sniff(bytes(head))).toEqual({ kind: 'still', format });
});

test.each([
  '<svg    WEBP="" xmlns="http://www.w3.org/2000/svg"/>',
  '\0\0\0 GIF8WEBPVP8 \0',
  '\0RIFF\0\0\0\0WEBP',
  'RIFX\x24\0\0\0WEBPVP8 \0',
  '\0\0\0\x0cftypisom avif\0',
  '\0\x89PNG\r\n\x1a\n',
])('%j is no still picture: every part of a magic number has its place', (head) => {
  expect(sniff(bytes(head)).kind).not.toBe('still');
});
