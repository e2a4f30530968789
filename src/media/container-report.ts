// Reads ffprobe's report about a container. Pure: it starts nothing.
import { AvocadoError } from '../base/errors.ts';
import { unheardReason } from './audio-length.ts';
import type { ProcessOutcome } from './ffmpeg-process.ts';
import type { MediaFile } from './media-file.ts';
import { upright } from './orientation.ts';
import { PacketTally } from './packet-tally.ts';
import { count, number, rate, readSection, type Section } from './probe-section.ts';
import { MOST_UNEVEN, tooFewFrames, UNEVEN_FRAMES } from './sampling.ts';
import type { AudioStream, MediaProbe, VideoStream } from './types.ts';

/** What ffprobe is asked for (`-show_entries`). */
const ENTRIES = [
  'packet=stream_index,pts_time,dts_time,duration_time,size,flags',
  'packet_side_data=side_data_type',
  'format=format_name,duration',
  'stream=index,codec_type,codec_name,codec_tag_string,duration,pix_fmt,sample_fmt,width,height,avg_frame_rate,' +
    'r_frame_rate,nb_frames,sample_rate,channels',
  'stream_disposition=default,attached_pic',
  'stream_side_data=displaymatrix',
].join(':');

/** Options of ffprobe whose output ContainerReport reads. One line a packet, a stream or the container. */
export const PROBE_OPTIONS = ['-show_entries', ENTRIES, '-of', 'compact'];

/** An hour of 60 frames a second beside four tracks of sound has 0.9 million packets. More is an attack. */
const PACKETS_PER_HOUR = 1_000_000;

/** Most packets of a file that is taken: a short one may have as many as one of an hour. */
export function mostPackets(maxDurationSeconds: number): number {
  return Math.ceil(PACKETS_PER_HOUR * Math.max(1, maxDurationSeconds / 3600));
}

/** Takes ffprobe's output line by line; packets are counted, not kept. */
export class ContainerReport {
  readonly #tallies = new Map<number, PacketTally>();
  readonly #maxPackets: number;
  readonly #keepsTimes: boolean;
  packets = 0; // of all streams
  readonly streams: Section[] = [];
  format: Section = {};

  /** @param keepsTimes of all frames: 8 bytes each */
  constructor(maxPackets = PACKETS_PER_HOUR, keepsTimes = false) {
    this.#maxPackets = maxPackets;
    this.#keepsTimes = keepsTimes;
  }

  /** @throws AvocadoError `media_too_large` (too many packets) */
  readonly add = (line: string): void => {
    if (line.startsWith('packet|')) this.#addPacket(line);
    else if (line.startsWith('stream|')) this.streams.push(readSection(line));
    else if (line.startsWith('format|')) this.format = readSection(line);
  };

  /** What the packets of a stream tell. */
  tally(index: number): PacketTally {
    return this.#tallies.get(index) ?? new PacketTally();
  }

  /** A track whose codec is known has no size or rate yet: its first packets do not tell. */
  get lacksFormats(): boolean {
    const lacks = (stream: Section): boolean =>
      isVideoTrack(stream) ? !isPicture(stream) : stream['codec_type'] === 'audio' && !isSound(stream);
    return this.streams.some(
      (stream) => lacks(stream) && stream['codec_name'] !== undefined && this.tally(count(stream['index'])).packets > 0,
    );
  }

  #addPacket(line: string): void {
    if (++this.packets > this.#maxPackets)
      throw new AvocadoError(
        'media_too_large',
        'The file holds too many packets to be a clip. Cut it or re-encode it.',
      );
    const { stream_index: index, flags = '', ...packet } = readSection(line);
    const tally = this.#tallies.get(Number(index)) ?? new PacketTally(this.#keepsTimes);
    this.#tallies.set(Number(index), tally);
    tally.add({
      pts: number(packet['pts_time']),
      dts: number(packet['dts_time']),
      duration: number(packet['duration_time']),
      isKey: flags.includes('K'),
      bytes: number(packet['size']),
      isHidden: flags.includes('D'),
      isEncrypted: line.includes('side_data_type=Encryption info'),
    });
  }
}

/**
 * Facts of a video or audio file, from what ffprobe printed about it.
 * @param maxPixels the limit that ffprobe was started with
 * @throws AvocadoError `media_unsupported`, `media_undecodable`, `media_no_streams`, `media_too_short`,
 *   `media_too_large`
 */
export function readContainerReport(
  report: ContainerReport,
  { exitCode, log }: Pick<ProcessOutcome, 'exitCode' | 'log'>,
  file: MediaFile,
  maxPixels: number,
): MediaProbe {
  const isTooLarge = log.some((line) => line.includes('exceeds specified max pixel count'));
  // A cover picture of any size is not looked at.
  if (isTooLarge && (exitCode !== 0 || report.streams.some(isVideoTrack))) {
    throw new AvocadoError(
      'media_too_large',
      `The pictures have more than ${maxPixels} pixels each. Scale the video down.`,
    );
  }
  if (exitCode !== 0) throw refusal(file, log);
  return readReport(report, file, log);
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
  if (file.kind === 'container') return damaged(log);
  return new AvocadoError(
    'media_unsupported',
    `The file is no video, sound or picture that ffmpeg knows (${lastError(log)}).`,
  );
}

function damaged(log: readonly string[]): AvocadoError {
  return new AvocadoError(
    'media_undecodable',
    `The file is damaged: ${lastError(log)}. Try to play it, or re-encode it.`,
  );
}

function lastError(log: readonly string[]): string {
  return log.at(-1)?.replace(/^.*\[error\] /, '') ?? 'its index leads nowhere';
}

function readReport(report: ContainerReport, file: MediaFile, log: readonly string[]): MediaProbe {
  const { format } = report;
  const warnings: string[] = [];
  const pictures = chooseVideo(report, warnings);
  const sound = chooseSound(report, warnings);
  if (pictures === undefined && sound === undefined) throw nothingInside(report, file, log);
  const video = pictures && videoStream(pictures, report, warnings);
  const audio = sound && audioStream(sound, report, video === undefined);
  if (pictures !== undefined && video !== undefined) {
    warnings.push(...missingFrames(video, pictures, log));
    if (video.totalFrames === 1 && audio !== undefined)
      warnings.push('The video track has one frame; it is used as a picture beside the sound.');
  }
  return {
    path: file.path,
    container: format['format_name'] ?? 'unknown',
    sizeBytes: file.sizeBytes,
    durationSeconds: Math.max(video?.durationSeconds ?? 0, audio?.durationSeconds ?? 0),
    video,
    audio,
    packets: report.packets,
    codecs: report.streams.flatMap((stream) => stream['codec_name'] ?? []),
    ...(warnings.length === 0 ? {} : { warnings }),
  };
}

/** ffmpeg's weight of the default flag against pixels or channels. */
const DEFAULT_WEIGHT = 5_000_000;

/**
 * The track that ffmpeg would take: a default one, then the largest in pixels or channels, then the first. Unlike
 * ffmpeg, a track that can be used comes before all that cannot.
 */
function best(streams: readonly Section[], worth: (stream: Section) => number): Section | undefined {
  const rank = (stream: Section): number =>
    worth(stream) + (stream['disposition:default'] === '1' ? DEFAULT_WEIGHT : 0);
  return [...streams].sort((a, b) => rank(b) - rank(a))[0];
}

/** Cover pictures are no videos. A track of one frame is taken where there is no other. */
function chooseVideo(report: ContainerReport, warnings: string[]): Section | undefined {
  const videos = report.streams.filter(isVideoTrack);
  const frames = (stream: Section): number => framesOf(stream, report);
  const decodable = videos.filter((stream) => pictureDefect(stream, report) === undefined);
  const filled = decodable.filter((stream) => frames(stream) > 0);
  const moving = filled.filter((stream) => frames(stream) > 1);
  const chosen = best(moving.length > 0 ? moving : filled, pixels);
  const lost = videos.find((stream) => !decodable.includes(stream) && frames(stream) > 0);
  if (lost !== undefined)
    warnings.push(`A video track (${codecName(lost)}) ${pictureDefect(lost, report)}${instead(chosen)}.`);
  else if (videos.length > 0 && chosen === undefined)
    warnings.push('The video track is empty; only the sound is captioned.');
  return chosen;
}

function chooseSound(report: ContainerReport, warnings: string[]): Section | undefined {
  const sounds = report.streams.filter((stream) => stream['codec_type'] === 'audio');
  const channels = (stream: Section): number => count(stream['channels']);
  const usable = sounds.filter((stream) => soundDefect(stream, report) === undefined);
  const chosen = best(usable, channels);
  const wanted = best(sounds, channels);
  if (wanted === undefined || wanted === chosen) return chosen;
  const end = chosen === undefined ? '; nothing was heard' : instead(chosen);
  warnings.push(`The sound track (${codecName(wanted)}) ${soundDefect(wanted, report)}${end}.`);
  return chosen;
}

/** By its packets, or by Apple's name for such a track. */
function isEncrypted(stream: Section, report: ContainerReport): boolean {
  return report.tally(count(stream['index'])).isEncrypted || /^drm[is]$/.test(stream['codec_tag_string'] ?? '');
}

const ENCRYPTED = 'is encrypted (DRM)';

/** What makes a video track with frames useless, as the rest of a sentence about it. */
function pictureDefect(stream: Section, report: ContainerReport): string | undefined {
  if (isEncrypted(stream, report)) return ENCRYPTED;
  return isPicture(stream) ? undefined : 'cannot be decoded';
}

/** What makes a sound track useless, as the rest of a sentence about it. */
function soundDefect(stream: Section, report: ContainerReport): string | undefined {
  if (report.tally(count(stream['index'])).packets === 0) return 'is empty';
  if (isEncrypted(stream, report)) return ENCRYPTED;
  if (!isSound(stream)) return 'cannot be decoded';
  return unheardReason(count(stream['sample_rate']), count(stream['channels']))?.replace('. Re-encode it', '');
}

/** Codecs that store pictures that are never shown. */
const HIDING_CODECS = new Set(['vp8', 'vp9']);

function framesOf(stream: Section, report: ContainerReport): number {
  return report.tally(count(stream['index'])).frames(HIDING_CODECS.has(stream['codec_name'] ?? ''));
}

function isVideoTrack(stream: Section): boolean {
  return stream['codec_type'] === 'video' && stream['disposition:attached_pic'] !== '1';
}

/** A video track that can be decoded. Only a decoder knows the pixel format. */
function isPicture(stream: Section): boolean {
  return stream['codec_name'] !== undefined && stream['pix_fmt'] !== undefined && pixels(stream) > 0;
}

/** A sound track that can be decoded. Only a decoder knows the sample format. */
function isSound(stream: Section): boolean {
  const hasFormat = stream['codec_name'] !== undefined && stream['sample_fmt'] !== undefined;
  return hasFormat && count(stream['channels']) > 0 && count(stream['sample_rate']) > 0;
}

function pixels(stream: Section): number {
  return count(stream['width']) * count(stream['height']);
}

function instead(chosen: Section | undefined): string {
  return chosen === undefined ? '; only the sound is captioned' : `; another (${codecName(chosen)}) was taken`;
}

function codecName(stream: Section): string {
  return stream['codec_name'] ?? stream['codec_tag_string']?.replace(/[^\x20-\x7e]/g, '?') ?? 'unknown codec';
}

function videoStream(stream: Section, report: ContainerReport, warnings: string[]): VideoStream {
  const tally = report.tally(count(stream['index']));
  const told = isBroken(tally, report) ? undefined : tally;
  const totalFrames = framesOf(stream, report);
  const measured = tally.seconds(hasClockBreaks(report.format));
  const durationSeconds = trusted(stream, measured ?? tally.summedSeconds, report.format);
  if (tally.orphans > 0)
    warnings.push(`The video begins between two key frames: its first ${tally.orphans} frames cannot be decoded.`);
  if (totalFrames > 2 && !hasClockBreaks(report.format) && tally.unevenness > MOST_UNEVEN) warnings.push(UNEVEN_FRAMES);
  return {
    index: count(stream['index']),
    codec: stream['codec_name'] ?? 'unknown',
    pixelFormat: stream['pix_fmt'] ?? 'unknown',
    ...upright({ width: count(stream['width']), height: count(stream['height']) }, stream['displaymatrix']),
    averageFps: averageFps(stream, totalFrames, { measured, trusted: durationSeconds }, warnings),
    totalFrames,
    framesSpan: tally.span,
    frameTimes: told?.frameTimes(totalFrames),
    frameBytes: told?.frameBytes(totalFrames),
    keyTimes: told?.keyTimes(totalFrames),
    lostAtStart: tally.orphans,
    durationSeconds,
    still: ['gif', 'apng'].includes(report.format['format_name'] ?? '') && totalFrames === 1,
  };
}

/** @param isAlone beside pictures, their times tell whether a long gap is one */
function audioStream(stream: Section, report: ContainerReport, isAlone: boolean): AudioStream {
  const tally = report.tally(count(stream['index']));
  const measured = tally.summedSeconds ?? tally.seconds(hasClockBreaks(report.format));
  const durationSeconds = trusted(stream, measured, report.format);
  const isTold = tally.isContinuous && !(isAlone && isBroken(tally, report));
  const startSeconds = isTold ? tally.span?.[0] : undefined;
  return {
    index: count(stream['index']),
    codec: stream['codec_name'] ?? 'unknown',
    sampleRate: count(stream['sample_rate']),
    channels: count(stream['channels']),
    durationSeconds,
    startSeconds,
    endSeconds: startSeconds === undefined ? undefined : Math.max(tally.end ?? 0, startSeconds + durationSeconds),
  };
}

function isBroken(tally: PacketTally, { format }: ContainerReport): boolean {
  return hasClockBreaks(format) && tally.hasBreaks;
}

/** Transport and program streams: joined recordings start their clock anew. */
function hasClockBreaks(format: Section): boolean {
  return ['mpegts', 'mpeg'].includes(format['format_name'] ?? '');
}

/** The container's word for a length, where the packets agree within half a second or a hundredth. */
function trusted(stream: Section, measured: number | undefined, format: Section): number {
  const stated = number(stream['duration']) ?? number(format['duration']);
  if (measured === undefined) return Math.max(0, stated ?? 0);
  const agrees = stated !== undefined && Math.abs(stated - measured) <= Math.max(0.5, measured / 100);
  return Math.max(0, agrees ? stated : measured);
}

/** The container's rate is the reference's, and wrong by less than this. */
const WRONG_RATE = 1.5;

function averageFps(
  stream: Section,
  frames: number,
  /** by the packets, and by them or the container's word */
  seconds: { readonly measured: number | undefined; readonly trusted: number },
  warnings: string[],
): number {
  const stated = rate(stream['avg_frame_rate']) ?? rate(stream['r_frame_rate']);
  if (stated === undefined) return seconds.trusted > 0 ? frames / seconds.trusted : 1;
  const measured = seconds.measured === undefined ? 0 : frames / seconds.measured;
  if (frames < 2 || !(measured > 0 && measured < Infinity)) return stated;
  const wrong = stated / measured;
  if (Math.max(wrong, 1 / wrong) < WRONG_RATE) return stated;
  // Some demuxers count the fields of H.264 as frames.
  if (Math.abs(wrong - 2) < 0.1) return stated / 2;
  warnings.push(
    `The file states ${stated.toFixed(2)} frames a second, but its ${frames} frames last ` +
      `${(frames / measured).toFixed(1)} s; they are sampled at ${measured.toFixed(2)} frames a second.`,
  );
  return measured;
}

/** An empty container is smaller than this. A larger one without streams has lost its index. */
const EMPTY_CONTAINER_BYTES = 4096;

function nothingInside(report: ContainerReport, file: MediaFile, log: readonly string[]): AvocadoError {
  const { streams } = report;
  const sounds = streams.filter((stream) => stream['codec_type'] === 'audio');
  const tracks = [...streams.filter(isVideoTrack), ...sounds];
  const lost = tracks.find((stream) => report.tally(count(stream['index'])).packets > 0);
  if (lost !== undefined) return undecodable(lost, report);
  if (sounds.length > 0)
    return new AvocadoError('media_too_short', 'The file has a sound track without any sound. Give a longer one.');
  if (tracks.length > 0) return tooFewFrames(0);
  if (log.length > 0 || (streams.length === 0 && file.sizeBytes > EMPTY_CONTAINER_BYTES)) return damaged(log);
  return new AvocadoError(
    'media_no_streams',
    `The file (${file.sizeBytes} bytes) has no video and no sound track. Give one that has.`,
  );
}

function undecodable(stream: Section, report: ContainerReport): AvocadoError {
  if (isEncrypted(stream, report)) {
    const message =
      'The file is encrypted (DRM): it cannot be decoded without its key. Give a copy that plays everywhere.';
    return new AvocadoError('media_undecodable', message);
  }
  const [track, codec, defect] =
    stream['codec_type'] === 'audio' ? ['sound', 'AAC', soundDefect] : ['video', 'H.264', pictureDefect];
  return new AvocadoError(
    'media_undecodable',
    `The ${track} track (${codecName(stream)}) ${defect(stream, report)}. ` +
      `Re-encode it, for instance as ${codec} in mp4.`,
  );
}

/** Warnings about frames that the container announces and does not hold. */
function missingFrames(video: VideoStream, stream: Section, log: readonly string[]): string[] {
  const cutShort = log.some((line) => /partial file|ended prematurely|truncat/i.test(line));
  const promised = count(stream['nb_frames']);
  if (cutShort && promised > video.totalFrames)
    return [`The file is cut short: ${video.totalFrames} of ${promised} frames are there.`];
  return cutShort ? ['The file is cut short: its end is missing.'] : [];
}
