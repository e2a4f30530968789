// What is known of a file before it is decoded: its streams, the limits it must keep, and the plan of what will be
// decoded.
import { MAX_MEDIA_SECONDS } from '../settings/engine-settings.ts';
import type { PreprocessProfile } from './profile.ts';

export interface VideoStream {
  /** ffmpeg's index among the file's streams */
  readonly index: number;
  readonly codec: string;
  readonly pixelFormat: string;
  readonly storedWidth: number;
  readonly storedHeight: number;
  /** as ffprobe prints it, degrees */
  readonly rotation: number;
  /** ffmpeg filters that turn a frame of the stored size upright; absent: none */
  readonly uprightFilters?: readonly string[] | undefined;
  /** the turn is told by the frames themselves, not by the container */
  readonly isTurnedByFrames?: boolean | undefined;
  /** size after rotation, which decoded frames have */
  readonly width: number;
  readonly height: number;
  /** frames per second according to the container: the reference's `avg_fps` */
  readonly averageFps: number;
  /** video packets that become frames, by the container: the reference's `total_frames` */
  readonly totalFrames: number;
  /** times of the first and the last of them, seconds; absent: unknown */
  readonly framesSpan?: readonly [first: number, last: number] | undefined;
  /**
   * times of all frames in display order, in the container's seconds; absent: not asked for, or the clock cannot be
   * trusted
   */
  readonly frameTimes?: Float64Array | undefined;
  /** sizes of their packets; known where frameTimes are */
  readonly frameBytes?: Uint32Array | undefined;
  /** times of the key frames, with which a decoder can begin; known where frameTimes are */
  readonly keyTimes?: Float64Array | undefined;
  /** frames that cannot be decoded because the video begins between two key frames */
  readonly lostAtStart?: number | undefined;
  readonly durationSeconds: number;
  /** seconds from the start of a part to its first frame, where that is late; absent: it is not, or a whole file */
  readonly lateSeconds?: number | undefined;
  /** a single picture (png, jpeg, …), not a video */
  readonly still: boolean;
}

export interface AudioStream {
  readonly index: number;
  readonly codec: string;
  readonly sampleRate: number;
  readonly channels: number;
  readonly durationSeconds: number;
  /** time of the first packet in the container's seconds; absent: unknown, or the clock cannot be trusted */
  readonly startSeconds?: number | undefined;
  /** time of the end of the last packet; known where startSeconds is. Gaps lie between them. */
  readonly endSeconds?: number | undefined;
}

/**
 * A part of a file, by one of two rules. `time`: what is seen and heard from `start` up to, not including, `end`.
 * `reference`: frames by number, as qwen-omni-utils reads video_start and video_end. Seconds from the file's start.
 */
export interface PartRequest {
  readonly rule: 'time' | 'reference';
  readonly start?: number | undefined;
  readonly end?: number | undefined;
}

/** From and up to, not including. `seconds` are the container's own. */
export type Bounds = {
  readonly unit: 'seconds' | 'frames' | 'samples';
  /** undefined: from the first on */
  readonly from: number | undefined;
  /** undefined: to the last */
  readonly to: number | undefined;
};

/** Where a part lies in its file. */
export interface MediaPart {
  /** seconds from the file's start */
  readonly start: number;
  readonly end: number;
  /** of the video track */
  readonly frames: Bounds;
  /** of the sound track */
  readonly samples: Bounds;
  /** the container's time where the part begins, by which its sound is placed; absent: from its first sample on */
  readonly soundFrom?: number | undefined;
  /** a time of the container before the part, that a decoder may jump to; undefined: it decodes from the start */
  readonly seekTo: number | undefined;
  /** the container's time of its first frame, where that is a key frame with no other close behind it */
  readonly keyTime?: number | undefined;
  /** the container's time of the file's first key frame, where a jump to before it lands */
  readonly firstKey?: number | undefined;
}

export interface MediaProbe {
  readonly path: string;
  readonly container: string;
  readonly sizeBytes: number;
  readonly durationSeconds: number;
  readonly video: VideoStream | undefined;
  readonly audio: AudioStream | undefined;
  /** what stands above is of this part of the file; absent: of the whole file */
  readonly part?: MediaPart | undefined;
  /** of all tracks of a container; each costs time, however small */
  readonly packets?: number | undefined;
  /** of all tracks, also of those that are not used or have nothing in this part */
  readonly codecs?: readonly string[] | undefined;
  /** sentences about defects that do not prevent a caption */
  readonly warnings?: readonly string[];
}

/** A file beyond any of these is refused before a frame is decoded. */
export interface MediaLimits {
  readonly maxSizeBytes: number;
  readonly maxDurationSeconds: number;
  /** of one video frame */
  readonly maxPixels: number;
  /** of all frames of a video together */
  readonly maxTotalPixels: number;
  /** of one still picture */
  readonly maxStillPixels: number;
  readonly probeTimeoutSeconds: number;
  /** for the frames, and the same again for the audio */
  readonly decodeTimeoutSeconds: number;
}

/**
 * Used where the caller sets no other limit. 16 GiB are four hours of 9 Mb/s. 8192x4320 bounds what ffmpeg may
 * allocate to about 1 GB (a 200 KB file can ask for more). 500 billion pixels are an hour of 1080p at 60 frames a
 * second. 50 megapixels is the largest photograph of a phone.
 */
export const DEFAULT_LIMITS: MediaLimits = {
  maxSizeBytes: 16 * 1024 ** 3,
  maxDurationSeconds: MAX_MEDIA_SECONDS,
  maxPixels: 8192 * 4320,
  maxTotalPixels: 500e9,
  maxStillPixels: 50_000_000,
  probeTimeoutSeconds: 60,
  decodeTimeoutSeconds: 300,
};

/** Which frames and how much audio will be decoded, from the probe alone. */
export interface MediaPlan {
  readonly probe: MediaProbe;
  readonly profile: PreprocessProfile;
  readonly video: VideoPlan | undefined;
  readonly audio: AudioPlan | undefined;
}

export interface VideoPlan {
  readonly kind: 'video' | 'image';
  /** decoded frames in display order, ascending */
  readonly frameIndices: readonly number[];
  readonly sampleFps: number;
  /** after the first resize */
  readonly stageA: { readonly height: number; readonly width: number };
  /** after the second; equal to stageA when the second changes nothing */
  readonly final: { readonly height: number; readonly width: number };
  /** temporal steps, patch rows, patch columns */
  readonly gridThw: readonly [number, number, number];
  readonly secondPerGrid: number;
  /** when the first frame is seen, in seconds of the sound beside it; absent: with its beginning */
  readonly startSeconds?: number | undefined;
  readonly tokens: number;
}

export interface AudioPlan {
  /** by the container's duration; decoding may give a few tokens more or less */
  readonly estimatedTokens: number;
  readonly durationSeconds: number;
}
