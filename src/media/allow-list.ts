import { resolve } from 'node:path';

/**
 * Containers that hold their media themselves. Playlists (hls, dash, concat, image2) are absent on purpose: they name other
 * files, and ffmpeg would open those, another tenant's or the network's.
 */
const DEMUXERS = [
  'mov',
  'matroska',
  'avi',
  'mpegts',
  'mpeg',
  'flv',
  'asf',
  'ogg',
  'wav',
  'w64',
  'aiff',
  'mp3',
  'aac',
  'flac',
  'gif',
];

/** Options in front of `-i` that keep ffmpeg and ffprobe to one local file of a known kind and a bounded picture. */
export function inputGuards(maxPixels: number): string[] {
  return ['-protocol_whitelist', 'file', '-format_whitelist', DEMUXERS.join(','), '-max_pixels', String(maxPixels)];
}

/** The path in a form in which ffmpeg sees neither an option, a protocol nor a pattern. */
export function inputUrl(path: string): string {
  return `file:${resolve(path)}`;
}
