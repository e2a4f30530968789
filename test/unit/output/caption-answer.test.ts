import { describe, expect, it } from 'vitest';
import { captionAnswer, tokensAnswer } from '../../../src/output/caption-answer.ts';
import { captionEndOf } from '../../../src/output/read-answer.ts';
import type { CaptionEnd, Sample } from '../../../src/output/events.ts';

const SAMPLE: Sample = { caption: 'A ball.', finishReason: 'stop', tokenIds: [4, 9], logprobs: [-0.5, -0.25] };

const END: CaptionEnd = {
  type: 'caption-end',
  ...SAMPLE,
  others: [],
  usage: {
    promptTokens: 150,
    completionTokens: 2,
    totalTokens: 152,
    promptTokensByModality: { text: 26, video: 24, audio: 100, image: 0 },
    cachedTokens: 128,
  },
  media: {
    kind: 'audio',
    durationSeconds: 4,
    audio: { present: true, used: true, seconds: 4, tokens: 100 },
    warnings: [],
  },
  profile: 'nano@1',
  timings: { totalSeconds: 0.5, firstTokenSeconds: undefined, tokensPerSecond: 100, stages: { audio_tower: 0.02 } },
};

describe('captionAnswer', () => {
  it('tells one caption without a list, and what of its prompt was not read again', () => {
    const answer = captionAnswer(END, 'nano', { tokenIds: false });
    expect(Object.keys(answer)).toEqual(['caption', 'finish_reason', 'usage', 'media', 'profile', 'timings', 'model']);
    expect(answer['usage']).toEqual({
      prompt_tokens: 150,
      completion_tokens: 2,
      total_tokens: 152,
      prompt_tokens_details: {
        text_tokens: 26,
        video_tokens: 24,
        audio_tokens: 100,
        image_tokens: 0,
        cached_tokens: 128,
      },
    });
  });

  it('lists several captions, each with its ending and, when asked for, its tokens', () => {
    const other: Sample = { caption: 'A cube.', finishReason: 'repetition', tokenIds: [5], logprobs: [-1] };
    const answer = captionAnswer({ ...END, others: [other] }, 'nano', { tokenIds: true });
    expect(answer).toMatchObject({
      caption: 'A ball.',
      finish_reason: 'stop',
      token_ids: [4, 9],
      token_logprobs: [-0.5, -0.25],
    });
    expect(answer['captions']).toEqual([
      { index: 0, caption: 'A ball.', finish_reason: 'stop', token_ids: [4, 9], token_logprobs: [-0.5, -0.25] },
      { index: 1, caption: 'A cube.', finish_reason: 'repetition', token_ids: [5], token_logprobs: [-1] },
    ]);
  });
});

describe('tokensAnswer', () => {
  it('tells nothing that nobody asked for', () => {
    expect(tokensAnswer(SAMPLE, { tokenIds: false })).toEqual({});
  });

  it('tells tokens as OpenAI does, half a character by its bytes', () => {
    const half = { id: 7, logprob: -0.5, bytes: [0xf0, 0x9f] };
    const sample: Sample = { ...SAMPLE, tokens: [{ ...half, top: [half, { id: 8, logprob: -2, bytes: [97] }] }] };
    const told = { token: '\uFFFD', logprob: -0.5, bytes: [0xf0, 0x9f] };
    expect(tokensAnswer(sample, { tokenIds: false })).toEqual({
      logprobs: [{ ...told, top_logprobs: [told, { token: 'a', logprob: -2, bytes: [97] }] }],
    });
    expect(Object.keys(tokensAnswer(sample, { tokenIds: true }))).toEqual(['token_ids', 'token_logprobs', 'logprobs']);
  });
});

describe('captionEndOf', () => {
  const detail = { logprob: -0.5, bytes: [65] };
  const tokens = [{ id: 4, ...detail, top: [{ id: 4, ...detail }] }];
  const { caption, finishReason, usage } = END;
  const segment = { index: 0, start: 0, end: 2, caption, finishReason, usage };
  const details = { camera_state: 'Still.' };
  const scene = { index: 0, start: 0, end: 1, caption, finishReason, timedBy: 'model', details } as const;
  const error = { code: 'media_undecodable', message: 'It is damaged.' } as const;
  const video = { frames: 8, sampleFps: 2, sourceFps: 30, width: 84, height: 56, sourceWidth: 160, sourceHeight: 90 };

  it.each<[string, Partial<CaptionEnd>]>([
    ['one caption', {}],
    ['several, with their tokens', { tokens, others: [{ ...SAMPLE, caption: 'A cube.', tokens }] }],
    ['segments', { segments: [segment, { ...segment, index: 1, start: 2, end: 4, caption: '', error }] }],
    [
      'one text out of segments',
      { segments: [segment], merge: { status: 'merged', model: 'm', usage: { promptTokens: 9, completionTokens: 1 } } },
    ],
    ['the timeline of segments', { segments: [segment], merge: { status: 'failed', model: 'm', reason: 'Gone.' } }],
    ['scenes', { segments: [scene] }],
    ['scenes of segments', { segments: [{ ...segment, scenes: [scene] }] }],
    [
      'a part of a video',
      {
        media: {
          ...END.media,
          kind: 'video',
          part: { start: 1, end: 2 },
          video: { ...video, codec: 'h264', tokens: 4 },
        },
      },
    ],
  ])('reads an answer with %s so that it makes the same answer again', (_, fields) => {
    const answer = (end: CaptionEnd): unknown =>
      JSON.parse(JSON.stringify(captionAnswer(end, 'nano', { tokenIds: false })));
    const told = answer({ ...END, ...fields });
    expect(answer(captionEndOf(told))).toEqual(told);
    expect(captionEndOf(told).timings.stages).toEqual({ audio_tower: 0.02 });
  });

  it.each([undefined, {}, { caption: 'A ball.' }, { error: { message: 'No.' } }])('refuses %j', (answer) => {
    expect(() => captionEndOf(answer)).toThrow('no caption');
  });
});
