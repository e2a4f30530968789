// Reads ffprobe's report about a container. Pure: it starts nothing.
import { AvocadoError } from '../base/errors.ts';
import { unheardReason } from './audio-length.ts';
import type { TextOutcome } from './ffmpeg.ts';
import type { MediaFile } from './media-file.ts';
import type { AudioStream, MediaProbe, VideoStream } from './types.ts';

/** ffprobe's JSON for PROBE_ENTRIES. */
interface FfprobeReport {
  readonly packets?: readonly { readonly stream_index: number; readonly flags: string }[];
  readonly streams?: readonly StreamReport[];
  readonly format?: { readonly format_name?: string; readonly duration?: string };
}

interface StreamReport {
  readonly index: number;
  readonly codec_type?: string;
  readonly codec_name?: string;
  readonly pix_fmt?: string;
  readonly width?: number;
  readonly height?: number;
  readonly avg_frame_rate?: string;
  readonly r_frame_rate?: string;
  readonly nb_frames?: string;
  readonly duration?: string;
  readonly sample_rate?: string;
  readonly channels?: number;
  readonly disposition?: { readonly default?: number; readonly attached_pic?: number };
  readonly side_data_list?: readonly { readonly rotation?: number }[];
}

/** What ffprobe is asked for (`-show_entries`). */
export const PROBE_ENTRIES = [
  'packet=stream_index,flags',
  'format=format_name,duration',
  'stream=index,codec_type,codec_name,duration,pix_fmt,width,height,avg_frame_rate,r_frame_rate,nb_frames,' +
    'sample_rate,channels',
  'stream_disposition=default,attached_pic',
  'stream_side_data=rotation',
].join(':');

/**
 * Facts of a video or audio file, from what ffprobe printed about it.
 * @param maxPixels the limit that ffprobe was started with
 * @throws AvocadoError `media_unsupported`, `media_undecodable`, `media_no_streams`, `media_too_short`,
 *   `media_too_large`
 */
export function readContainerReport(outcome: TextOutcome, file: MediaFile, maxPixels: number): MediaProbe {
  const { exitCode, stdout, log } = outcome;
  if (log.some((line) => line.includes('exceeds specified max pixel count'))) {
    throw new AvocadoError(
      'media_too_large',
      `The pictures have more than ${maxPixels} pixels each. Scale the video down.`,
    );
  }
  if (exitCode !== 0) throw refusal(file, log);
  return readReport(JSON.parse(stdout) as FfprobeReport, file, log);
}

function refusal(file: MediaFile, log: readonly string[]): AvocadoError {
  if (log.some((line) => line.includes('not on whitelist'))) {
    return new AvocadoError(
      'media_unsupported',
      'The file is a playlist or of a kind that is not accepted. ' +
        'Give an mp4, mov, mkv, webm, avi, ts, wav, mp3 or a picture.',
    );
  }
  if (log.some((line) => line.includes('moov atom not found')) && file.kind === 'container') {
    return new AvocadoError(
      'media_undecodable',
      'The file is cut short: its index (moov) is missing. Download or record it again.',
    );
  }
  if (file.kind === 'container') return damaged(log, file);
  return new AvocadoError(
    'media_unsupported',
    `The file is no video, sound or picture that ffmpeg knows (${lastError(log, file)}).`,
  );
}

function damaged(log: readonly string[], file: MediaFile): AvocadoError {
  return new AvocadoError(
    'media_undecodable',
    `The file is damaged: ${lastError(log, file)}. Try to play it, or re-encode it.`,
  );
}

function lastError(log: readonly string[], file: MediaFile): string {
  return (
    log
      .at(-1)
      ?.replace(/^.*\[error\] /, '')
      .replace(`file:${file.path}: `, '') ?? 'its index leads nowhere'
  );
}

function readReport(report: FfprobeReport, file: MediaFile, log: readonly string[]): MediaProbe {
  const packets = countPackets(report);
  const streams = report.streams ?? [];
  const warnings: string[] = [];
  const pictures = streams.find((stream) => stream.codec_type === 'video' && stream.disposition?.attached_pic !== 1);
  const sound = chooseSound(streams.filter((stream) => stream.codec_type === 'audio'));
  const fileSeconds = seconds(report.format?.duration);
  let video =
    pictures === undefined
      ? undefined
      : videoStream(pictures, packets.get(pictures.index) ?? 0, fileSeconds, report.format?.format_name === 'gif');
  const audio =
    sound === undefined
      ? undefined
      : audioStream(sound, packets.get(sound.index) ?? 0, fileSeconds, video !== undefined, warnings);
  if (video?.totalFrames === 0 && audio !== undefined) {
    warnings.push('The video track is empty; only the sound is captioned.');
    video = undefined;
  }
  if (video === undefined && audio === undefined) throw nothingInside(streams, file, log);
  if (video !== undefined) warnings.push(...missingFrames(video, pictures, log));
  return {
    path: file.path,
    container: report.format?.format_name ?? 'unknown',
    sizeBytes: file.sizeBytes,
    durationSeconds: fileSeconds ?? Math.max(video?.durationSeconds ?? 0, audio?.durationSeconds ?? 0),
    video,
    audio,
    ...(warnings.length === 0 ? {} : { warnings }),
  };
}

/** Packets per stream, without those that an edit list hides (flag D): their frames are never shown. */
function countPackets(report: FfprobeReport): Map<number, number> {
  const counts = new Map<number, number>();
  for (const { stream_index, flags } of report.packets ?? []) {
    if (!flags.includes('D')) counts.set(stream_index, (counts.get(stream_index) ?? 0) + 1);
  }
  return counts;
}

/** ffmpeg's own default choice: the track marked as default, then the one with most channels, then the first. */
function chooseSound(streams: readonly StreamReport[]): StreamReport | undefined {
  const rank = (stream: StreamReport): number =>
    (stream.disposition?.default === 1 ? 1000 : 0) + (stream.channels ?? 0);
  return [...streams].sort((a, b) => rank(b) - rank(a))[0];
}

function videoStream(
  stream: StreamReport,
  totalFrames: number,
  fileSeconds: number | undefined,
  isGif: boolean,
): VideoStream {
  const { codec_name: codec, pix_fmt: pixelFormat, width = 0, height = 0 } = stream;
  if (codec === undefined || pixelFormat === undefined || width === 0 || height === 0) {
    throw new AvocadoError(
      'media_undecodable',
      `The video track (${codec ?? 'unknown codec'}) cannot be decoded. Re-encode it, for instance as H.264 in mp4.`,
    );
  }
  const rotation = stream.side_data_list?.find((data) => data.rotation !== undefined)?.rotation ?? 0;
  const sideways = rotation % 180 !== 0;
  const durationSeconds = seconds(stream.duration) ?? fileSeconds ?? 0;
  return {
    index: stream.index,
    codec,
    pixelFormat,
    storedWidth: width,
    storedHeight: height,
    rotation,
    width: sideways ? height : width,
    height: sideways ? width : height,
    averageFps:
      rate(stream.avg_frame_rate) ??
      rate(stream.r_frame_rate) ??
      (durationSeconds > 0 ? totalFrames / durationSeconds : 1),
    totalFrames,
    durationSeconds,
    still: isGif && totalFrames === 1,
  };
}

function audioStream(
  stream: StreamReport,
  packets: number,
  fileSeconds: number | undefined,
  /** a video is there too */
  beside: boolean,
  warnings: string[],
): AudioStream | undefined {
  const sampleRate = Number(stream.sample_rate ?? 0);
  const { codec_name: codec, channels = 0 } = stream;
  if (codec === undefined || sampleRate === 0 || channels === 0 || packets === 0) {
    const defect = packets === 0 ? 'is empty' : 'cannot be decoded';
    warnings.push(`The sound track (${codec ?? 'unknown codec'}) ${defect}; nothing was heard.`);
    return undefined;
  }
  const unheard = unheardReason(sampleRate, channels);
  if (unheard !== undefined) {
    const defect = `The sound ${unheard}.`;
    if (!beside) throw new AvocadoError('media_undecodable', defect);
    warnings.push(`${defect} Nothing was heard.`);
    return undefined;
  }
  return {
    index: stream.index,
    codec,
    sampleRate,
    channels,
    durationSeconds: seconds(stream.duration) ?? fileSeconds ?? 0,
  };
}

/** An empty container is smaller than this. A larger one without streams has lost its index. */
const EMPTY_CONTAINER_BYTES = 4096;

function nothingInside(streams: readonly StreamReport[], file: MediaFile, log: readonly string[]): AvocadoError {
  if (streams.some((stream) => stream.codec_type === 'audio'))
    return new AvocadoError('media_too_short', 'The file has a sound track without any sound. Give a longer one.');
  if (log.length > 0 || (streams.length === 0 && file.sizeBytes > EMPTY_CONTAINER_BYTES)) return damaged(log, file);
  return new AvocadoError(
    'media_no_streams',
    `The file (${file.sizeBytes} bytes) has no video and no sound track. Give one that has.`,
  );
}

/** Warnings about frames that the container announces and does not hold. */
function missingFrames(video: VideoStream, stream: StreamReport | undefined, log: readonly string[]): string[] {
  const cutShort = log.some((line) => /partial file|ended prematurely|truncat/i.test(line));
  const promised = Number(stream?.nb_frames ?? 0);
  if (cutShort && promised > video.totalFrames)
    return [`The file is cut short: ${video.totalFrames} of ${promised} frames are there.`];
  return cutShort ? ['The file is cut short: its end is missing.'] : [];
}

function seconds(text: string | undefined): number | undefined {
  const value = Number(text);
  return Number.isFinite(value) && value >= 0 ? value : undefined;
}

function rate(text: string | undefined): number | undefined {
  const [numerator = 0, denominator = 0] = (text ?? '').split('/').map(Number);
  return numerator > 0 && denominator > 0 ? numerator / denominator : undefined;
}
