import { describe, expect, test } from 'vitest';
import { ContainerReport, readContainerReport } from '../../../src/media/container-report.ts';
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
  sample_fmt: 'fltp',
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

/** Packets that are shown: `count` of each stream, 30 a second. */
function packetsOf(...counts: readonly number[]): object[] {
  return counts.flatMap((count, stream_index) => Array.from({ length: count }, () => ({ stream_index, flags: 'K__' })));
}

/** Packets of one stream at these times. */
function packetsAt(times: readonly number[], stream_index = 0, duration_time = 1 / 30): object[] {
  return times.map((time, at) => ({
    stream_index,
    pts_time: time,
    dts_time: time,
    duration_time,
    flags: at === 0 ? 'K__' : '___',
  }));
}

/** `count` times, `step` seconds apart. */
function times(count: number, step: number, from = 0): number[] {
  return Array.from({ length: count }, (_, at) => from + at * step);
}

/** A line as ffprobe prints it; nested fields are given as `disposition:default`. */
function line(section: string, fields: object): string {
  return [section, ...Object.entries(fields).map(([key, value]) => `${key}=${value ?? 'unknown'}`)].join('|');
}

function read(printed: Printed, { exitCode = 0, log = [], file = {} }: Ending = {}): MediaProbe {
  const {
    packets = packetsOf(120, 200),
    streams = [],
    format = { format_name: 'mov,mp4,m4a,3gp,3g2,mj2', duration: '4.100000' },
  } = printed;
  const report = new ContainerReport();
  for (const packet of packets) report.add(line('packet', packet));
  for (const stream of streams) report.add(line('stream', stream));
  report.add(line('format', format));
  return readContainerReport(report, { exitCode, log }, { ...FILE, ...file }, MAX_PIXELS);
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
      durationSeconds: 4,
      video: {
        index: 0,
        codec: 'h264',
        pixelFormat: 'yuv420p',
        storedWidth: 320,
        storedHeight: 240,
        rotation: 0,
        uprightFilters: [],
        width: 320,
        height: 240,
        averageFps: 30_000 / 1001,
        totalFrames: 120,
        framesSpan: undefined,
        lostAtStart: 0,
        durationSeconds: 4,
        still: false,
      },
      audio: { index: 1, codec: 'aac', sampleRate: 44_100, channels: 2, durationSeconds: 3.9 },
      packets: 320,
      codecs: ['h264', 'aac'],
    });
  });

  test('does not count packets that an edit list hides', () => {
    const hidden = Array.from({ length: 7 }, () => ({ stream_index: 0, flags: 'KD_' }));
    expect(read({ streams: [VIDEO], packets: [...hidden, ...packetsOf(50)] }).video?.totalFrames).toBe(50);
  });

  test('takes the cover picture of a song for no video', () => {
    const cover = { ...VIDEO, codec_name: 'mjpeg', 'disposition:attached_pic': 1 };
    const probe = read({ streams: [cover, AUDIO], packets: packetsOf(1, 200) });
    expect([probe.video, probe.audio?.index]).toEqual([undefined, 1]);
  });

  test('takes the first video that is no cover picture', () => {
    const cover = { ...VIDEO, 'disposition:attached_pic': 1 };
    const second = { ...VIDEO, index: 1, width: 640 };
    expect(read({ streams: [cover, second], packets: packetsOf(1, 60) }).video).toMatchObject({ index: 1, width: 640 });
  });

  test.each([
    ['a default one', [{ width: 640 }, { 'disposition:default': 1 }], 1],
    ['the largest', [{ width: 64, height: 64 }, {}], 1],
    ['one of several frames', [{ width: 640 }, {}], 1, [1, 60]],
    ['one that can be decoded', [{ codec_name: undefined, 'disposition:default': 1 }, {}], 1],
    ['one that has frames', [{ width: 640 }, {}], 1, [0, 60]],
    ['the first', [{}, {}], 0],
  ] as const)('of several videos takes %s', (_, tracks, index, packets: readonly number[] = [60, 60]) => {
    const streams = tracks.map((track, at) => ({ ...VIDEO, ...track, index: at }));
    expect(read({ streams, packets: packetsOf(...packets) }).video?.index).toBe(index);
  });

  test('says so when a track that cannot be decoded is passed over', () => {
    const tracks = [
      { ...VIDEO, codec_name: undefined, codec_tag_string: 'zzzz' },
      { ...VIDEO, index: 1 },
      { ...AUDIO, index: 2, channels: 4, codec_name: undefined, sample_fmt: undefined, codec_tag_string: 'apac' },
      { ...AUDIO, index: 3 },
    ];
    const probe = read({ streams: tracks, packets: packetsOf(60, 60, 60, 60) });
    expect([probe.video?.index, probe.audio?.index]).toEqual([1, 3]);
    expect(probe.warnings).toEqual([
      'A video track (zzzz) cannot be decoded; another (h264) was taken.',
      'The sound track (apac) cannot be decoded; another (aac) was taken.',
    ]);
  });

  test('is asked for further when a known codec has no size or rate yet', () => {
    const lacks = (stream: object, packets = packetsOf(9, 9)): boolean => {
      const report = new ContainerReport();
      for (const packet of packets) report.add(line('packet', packet));
      report.add(line('stream', stream));
      return report.lacksFormats;
    };
    expect(lacks(VIDEO)).toBe(false);
    expect(lacks({ ...VIDEO, width: 0 })).toBe(true);
    expect(lacks({ ...AUDIO, sample_rate: 0 })).toBe(true);
    expect(lacks({ ...VIDEO, width: 0, codec_name: undefined })).toBe(false);
    expect(lacks({ ...VIDEO, width: 0 }, [])).toBe(false);
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
    expect(chosen({}, { channels: 6 }, { 'disposition:default': 1 })).toBe(2);
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

  test('a length that the packets do not have is theirs: a late start, a long subtitle, a wrong guess', () => {
    const streams = [unknownDuration, { ...AUDIO, duration: undefined }];
    for (const start of [0, 900, 5000]) {
      const packets = [...packetsAt(times(120, 1 / 30, start)), ...packetsAt(times(200, 0.02, start), 1, 0.02)];
      const probe = read({ streams, packets, format: { format_name: 'matroska', duration: start + 7200 } });
      expect(probe.durationSeconds).toBeCloseTo(4);
      expect(probe.video?.durationSeconds).toBeCloseTo(4);
      expect(probe.audio?.durationSeconds).toBeCloseTo(4);
      expect(probe.warnings).toBeUndefined();
    }
  });

  test('a rate that the packets contradict is theirs, with a warning; a slip is not', () => {
    const packets = packetsAt([...times(10, 6), ...times(120, 1 / 60, 60)]);
    const stream = { ...unknownDuration, avg_frame_rate: '30/1' };
    const vfr = read({ streams: [stream], packets, format: { format_name: 'matroska', duration: 62 } });
    expect(vfr.video?.averageFps).toBeCloseTo(130 / 62);
    expect(vfr.warnings).toEqual([
      expect.stringContaining('very uneven times'),
      expect.stringContaining('The file states 30.00 frames a second, but its 130 frames'),
    ]);
    const slip = read({ streams: [{ ...stream, avg_frame_rate: '25/1' }], packets: packetsAt(times(120, 1 / 30)) });
    expect([slip.video?.averageFps, slip.warnings]).toEqual([25, undefined]);
    const fields = read({ streams: [{ ...stream, avg_frame_rate: '60/1' }], packets: packetsAt(times(120, 1 / 30)) });
    expect([fields.video?.averageFps, fields.warnings]).toEqual([30, undefined]);
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
    [
      { ...AUDIO, codec_name: undefined, codec_tag_string: 'apac' },
      'The sound track (apac) cannot be decoded; nothing was heard.',
    ],
    [{ ...AUDIO, sample_fmt: undefined }, 'The sound track (aac) cannot be decoded; nothing was heard.'],
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

  test('a video track that no decoder knows beside audio', () => {
    const probe = read({ streams: [{ ...VIDEO, pix_fmt: undefined }, AUDIO] });
    expect([probe.video, probe.audio?.index]).toEqual([undefined, 1]);
    expect(probe.warnings).toEqual(['A video track (h264) cannot be decoded; only the sound is captioned.']);
  });

  test('a video of one frame beside audio is its picture', () => {
    const probe = read({ streams: [VIDEO, AUDIO], packets: packetsOf(1, 200) });
    expect([probe.video?.totalFrames, probe.audio?.index]).toEqual([1, 1]);
    expect(probe.warnings).toEqual([expect.stringContaining('one frame; it is used as a picture beside the sound')]);
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

  test('with only an empty track is media_too_short', () => {
    for (const stream of [AUDIO, VIDEO])
      expect(refusal({ streams: [stream], packets: [] })).toMatchObject({ code: 'media_too_short' });
  });

  test('with only sound of a form that is not heard is media_undecodable, and another track is taken', () => {
    const odd = { ...AUDIO, sample_rate: '1', 'disposition:default': 1 };
    expect(refusal({ streams: [odd] })).toMatchObject({
      code: 'media_undecodable',
      message: expect.stringContaining('sample rate of 1 Hz') as string,
    });
    expect(read({ streams: [odd, { ...AUDIO, index: 0 }] }).audio).toMatchObject({ index: 0, sampleRate: 44_100 });
  });

  test('with only sound that no decoder knows is media_undecodable', () => {
    const stream = { ...AUDIO, codec_name: undefined, codec_tag_string: 'apac' };
    expect(refusal({ streams: [stream] })).toMatchObject({
      code: 'media_undecodable',
      message: 'The sound track (apac) cannot be decoded. Re-encode it, for instance as AAC in mp4.',
    });
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

  test('not because its cover picture is too large', () => {
    const log = ['[png] [error] Picture size 9000x9000 exceeds specified max pixel count 1000000'];
    const cover = { ...VIDEO, pix_fmt: undefined, 'disposition:attached_pic': 1 };
    expect(read({ streams: [cover, AUDIO] }, { log }).audio?.index).toBe(1);
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
    const line = '[error] Invalid data found';
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

test('more packets than a clip can have are refused as they come, not when all are read', () => {
  const report = new ContainerReport(3);
  const packet = 'packet|stream_index=0|pts_time=0.000000|dts_time=0.000000|duration_time=0.000011|flags=K_';
  for (let index = 0; index < 3; index++) report.add(packet);
  expect(() => {
    report.add(packet);
  }).toThrow(expect.objectContaining({ code: 'media_too_large' }) as Error);
});
