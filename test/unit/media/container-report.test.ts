import { describe, expect, test } from 'vitest';
import { readContainerReport } from '../../../src/media/container-report.ts';
import type { MediaFile } from '../../../src/media/media-file.ts';
import type { MediaProbe } from '../../../src/media/types.ts';

const FILE: MediaFile = { path: '/clips/a.mp4', sizeBytes: 100_000, kind: 'container' };
const MAX_PIXELS = 1_000_000;

const VIDEO = {
  index: 0,
  codec_type: 'video',
  codec_name: 'h264',
  pix_fmt: 'yuv420p',
  width: 320,
  height: 240,
  avg_frame_rate: '30000/1001',
  r_frame_rate: '60/1',
  duration: '4.000000',
};
const AUDIO = {
  index: 1,
  codec_type: 'audio',
  codec_name: 'aac',
  sample_rate: '44100',
  channels: 2,
  duration: '3.900000',
};

interface Printed {
  readonly streams?: readonly object[];
  readonly packets?: readonly object[];
  readonly format?: object;
}

interface Ending {
  readonly exitCode?: number;
  readonly log?: readonly string[];
  readonly file?: Partial<MediaFile>;
}

/** Packets that are shown: `count` of each stream. */
function packetsOf(...counts: readonly number[]): object[] {
  return counts.flatMap((count, stream_index) => Array.from({ length: count }, () => ({ stream_index, flags: 'K__' })));
}

function read(printed: Printed, { exitCode = 0, log = [], file = {} }: Ending = {}): MediaProbe {
  const report = {
    packets: packetsOf(120, 200),
    format: { format_name: 'mov,mp4,m4a,3gp,3g2,mj2', duration: '4.100000' },
    ...printed,
  };
  const outcome = { exitCode, errors: log.length, log, stdout: JSON.stringify(report) };
  return readContainerReport(outcome, { ...FILE, ...file }, MAX_PIXELS);
}

function refusal(printed: Printed, ending?: Ending): unknown {
  try {
    return read(printed, ending);
  } catch (error) {
    return error;
  }
}

describe('the report of a container', () => {
  test('with video and audio has the facts of both', () => {
    expect(read({ streams: [VIDEO, AUDIO] })).toEqual({
      path: '/clips/a.mp4',
      container: 'mov,mp4,m4a,3gp,3g2,mj2',
      sizeBytes: 100_000,
      durationSeconds: 4.1,
      video: {
        index: 0,
        codec: 'h264',
        pixelFormat: 'yuv420p',
        storedWidth: 320,
        storedHeight: 240,
        rotation: 0,
        width: 320,
        height: 240,
        averageFps: 30_000 / 1001,
        totalFrames: 120,
        durationSeconds: 4,
        still: false,
      },
      audio: { index: 1, codec: 'aac', sampleRate: 44_100, channels: 2, durationSeconds: 3.9 },
    });
  });

  test('does not count packets that an edit list hides', () => {
    const hidden = Array.from({ length: 7 }, () => ({ stream_index: 0, flags: 'KD_' }));
    expect(read({ streams: [VIDEO], packets: [...hidden, ...packetsOf(50)] }).video?.totalFrames).toBe(50);
  });

  test.each([
    [-90, 240, 320],
    [270, 240, 320],
    [180, 320, 240],
    [0, 320, 240],
  ])('turned by %i degrees has upright sizes', (rotation, width, height) => {
    const { video } = read({ streams: [{ ...VIDEO, side_data_list: [{}, { rotation }] }] });
    expect(video).toMatchObject({ rotation, width, height, storedWidth: 320, storedHeight: 240 });
  });

  test('takes the cover picture of a song for no video', () => {
    const cover = { ...VIDEO, codec_name: 'mjpeg', disposition: { attached_pic: 1 } };
    const probe = read({ streams: [cover, AUDIO], packets: packetsOf(1, 200) });
    expect([probe.video, probe.audio?.index]).toEqual([undefined, 1]);
  });

  test('takes the first video that is no cover picture', () => {
    const cover = { ...VIDEO, disposition: { attached_pic: 1 } };
    const second = { ...VIDEO, index: 1, width: 640 };
    expect(read({ streams: [cover, second], packets: packetsOf(1, 60) }).video).toMatchObject({ index: 1, width: 640 });
  });

  test('takes a one-frame gif for a picture, and only that', () => {
    const one = (format_name: string): unknown =>
      read({ streams: [VIDEO], packets: packetsOf(1), format: { format_name } }).video?.still;
    expect(one('gif')).toBe(true);
    expect(one('mov')).toBe(false);
    expect(read({ streams: [VIDEO], packets: packetsOf(2), format: { format_name: 'gif' } }).video?.still).toBe(false);
  });

  test('chooses the default audio track, then the one with most channels, then the first', () => {
    const chosen = (...tracks: object[]): unknown =>
      read({ streams: tracks.map((track, index) => ({ ...AUDIO, ...track, index })), packets: packetsOf(9, 9, 9) })
        .audio?.index;
    expect(chosen({}, { channels: 6 }, { disposition: { default: 1 } })).toBe(2);
    expect(chosen({}, { channels: 6 }, {})).toBe(1);
    expect(chosen({}, {}, {})).toBe(0);
  });
});

describe('numbers that a container leaves out or gets wrong', () => {
  const unknownDuration = { ...VIDEO, duration: undefined };

  test.each([
    ['25/1', '50/1', 25],
    ['0/0', '50/1', 50],
    ['30/0', '0/0', 30],
    ['-5/1', undefined, 30],
    ['N/A', 'N/A', 30],
    [undefined, undefined, 30],
  ])('average rate %s, base rate %s: %i frames a second', (avg_frame_rate, r_frame_rate, fps) => {
    expect(read({ streams: [{ ...VIDEO, avg_frame_rate, r_frame_rate }] }).video?.averageFps).toBe(fps);
  });

  test('neither a rate nor a duration: one frame a second', () => {
    const stream = { ...unknownDuration, avg_frame_rate: '0/0', r_frame_rate: '0/0' };
    expect(read({ streams: [stream], format: {} }).video?.averageFps).toBe(1);
  });

  test('a track without a duration has that of the file, and the file that of its longest track', () => {
    expect(read({ streams: [unknownDuration] }).video?.durationSeconds).toBe(4.1);
    expect(read({ streams: [VIDEO, { ...AUDIO, duration: '9.5' }], format: {} }).durationSeconds).toBe(9.5);
  });

  test.each(['N/A', '-1.0', 'nan'])('a duration of %s counts as none', (duration) => {
    expect(read({ streams: [{ ...VIDEO, duration }], format: { duration } })).toMatchObject({
      container: 'unknown',
      durationSeconds: 0,
      video: { durationSeconds: 0 },
    });
  });
});

describe('defects that do not prevent a caption are warnings', () => {
  test.each([
    [{ ...AUDIO, codec_name: undefined }, 'The sound track (unknown codec) cannot be decoded; nothing was heard.'],
    [{ ...AUDIO, sample_rate: '0' }, 'The sound track (aac) cannot be decoded; nothing was heard.'],
    [{ ...AUDIO, channels: 0 }, 'The sound track (aac) cannot be decoded; nothing was heard.'],
    [{ ...AUDIO, index: 2 }, 'The sound track (aac) is empty; nothing was heard.'],
    [{ ...AUDIO, sample_rate: '1' }, expect.stringContaining('a sample rate of 1 Hz')],
    [{ ...AUDIO, sample_rate: '2147483647' }, expect.stringContaining('100 to 1000000 Hz are decoded')],
    [{ ...AUDIO, channels: 65 }, expect.stringContaining('65 channels')],
  ])('an audio track that cannot be used', (audio, warning) => {
    const probe = read({ streams: [VIDEO, audio] });
    expect([probe.audio, probe.warnings]).toEqual([undefined, [warning]]);
  });

  test('an empty video track beside audio', () => {
    const probe = read({ streams: [VIDEO, AUDIO], packets: packetsOf(0, 200) });
    expect(probe.video).toBeUndefined();
    expect(probe.warnings).toEqual(['The video track is empty; only the sound is captioned.']);
  });

  test('a file that is cut short, with the number of frames where the container tells it', () => {
    const log = ['[mov] [error] stream 0, offset 0x30: partial file'];
    const streams = [{ ...VIDEO, nb_frames: '300' }];
    expect(read({ streams }, { log }).warnings).toEqual(['The file is cut short: 120 of 300 frames are there.']);
    expect(read({ streams: [VIDEO] }, { log }).warnings).toEqual(['The file is cut short: its end is missing.']);
    expect(read({ streams }).warnings).toBeUndefined();
  });
});

describe('a file without anything to caption', () => {
  test('without streams is media_no_streams when it is small, and damaged when it is not', () => {
    expect(refusal({ streams: [] }, { file: { sizeBytes: 800 } })).toMatchObject({ code: 'media_no_streams' });
    expect(refusal({}, { file: { sizeBytes: 800 } })).toMatchObject({ code: 'media_no_streams' });
    expect(refusal({ streams: [] })).toMatchObject({ code: 'media_undecodable' });
    expect(refusal({ streams: [] }, { file: { sizeBytes: 800 }, log: ['[error] bad'] })).toMatchObject({
      code: 'media_undecodable',
      message: 'The file is damaged: bad. Try to play it, or re-encode it.',
    });
  });

  test('with only subtitles is media_no_streams', () => {
    const streams = [{ index: 0, codec_type: 'subtitle', codec_name: 'subrip' }];
    expect(refusal({ streams })).toMatchObject({ code: 'media_no_streams' });
  });

  test('with only an empty audio track is media_too_short', () => {
    expect(refusal({ streams: [AUDIO], packets: [] })).toMatchObject({ code: 'media_too_short' });
  });

  test.each([{ codec_name: undefined }, { pix_fmt: undefined }, { width: 0 }, { height: undefined }])(
    'with a video track that no decoder knows is media_undecodable: %o',
    (change) => {
      expect(refusal({ streams: [{ ...VIDEO, ...change }] })).toMatchObject({ code: 'media_undecodable' });
    },
  );
});

describe('a file that ffprobe refuses', () => {
  const refused = (line: string, file: Partial<MediaFile> = {}): unknown =>
    refusal({}, { exitCode: 1, log: [line], file });

  test('because its pictures are too large is media_too_large, also when ffprobe goes on', () => {
    const log = ['[h264] [error] Picture size 9000x9000 exceeds specified max pixel count 1000000'];
    for (const exitCode of [0, 1])
      expect(refusal({ streams: [VIDEO] }, { exitCode, log })).toMatchObject({
        code: 'media_too_large',
        message: expect.stringContaining('1000000 pixels') as string,
      });
  });

  test('because its demuxer is not allowed is media_unsupported', () => {
    expect(refused('[hls] [error] Format not on whitelist')).toMatchObject({ code: 'media_unsupported' });
  });

  test('without its index is cut short, whatever else is said', () => {
    expect(refused('[mov] [error] moov atom not found')).toMatchObject({
      code: 'media_undecodable',
      message: expect.stringContaining('moov') as string,
    });
  });

  test('for another reason is damaged when it looks like a container, unsupported otherwise', () => {
    const line = '[error] file:/clips/a.mp4: Invalid data found';
    expect(refused(line)).toMatchObject({
      code: 'media_undecodable',
      message: 'The file is damaged: Invalid data found. Try to play it, or re-encode it.',
    });
    expect(refused(line, { kind: 'unknown' })).toMatchObject({
      code: 'media_unsupported',
      message: 'The file is no video, sound or picture that ffmpeg knows (Invalid data found).',
    });
  });
});
