import { Registry } from 'prom-client';
import { beforeEach, describe, expect, it } from 'vitest';
import type { CaptionTask } from '../../../src/admission/types.ts';
import type { CaptionEnd, CaptionEvent, MediaReport } from '../../../src/output/events.ts';
import { RequestObservation, requestMetrics } from '../../../src/server/observe/request-metrics.ts';

const VIDEO = {
  frames: 8,
  sampleFps: 2,
  sourceFps: 30,
  width: 84,
  height: 56,
  sourceWidth: 160,
  sourceHeight: 90,
  codec: 'h264',
  tokens: 24,
};
const MEDIA: MediaReport = {
  kind: 'video',
  durationSeconds: 4,
  video: VIDEO,
  audio: { present: true, used: true, seconds: 4, tokens: 100 },
  warnings: [],
};
const PROMPT = { text: 26, video: 24, audio: 100, image: 0 };
const media: CaptionEvent = {
  type: 'media',
  media: MEDIA,
  profile: 'nano@1',
  promptTokens: { ...PROMPT, total: 150 },
};
const delta = (index: number, tokens: number): CaptionEvent => ({
  type: 'text-delta',
  index,
  text: 'A',
  tokenIds: Array.from({ length: tokens }, () => 1),
  logprobs: Array.from({ length: tokens }, () => -0.5),
});
const end: CaptionEnd = {
  type: 'caption-end',
  caption: 'A ball.',
  finishReason: 'length',
  tokenIds: [1, 2],
  logprobs: [-0.5, -0.5],
  others: [],
  usage: { promptTokens: 150, completionTokens: 5, totalTokens: 155, promptTokensByModality: PROMPT, cachedTokens: 0 },
  media: MEDIA,
  profile: 'nano@1',
  timings: {
    totalSeconds: 1,
    firstTokenSeconds: 0.5,
    tokensPerSecond: 2,
    stages: { queue: 9, fetch: 9, decode: 0.25 },
  },
};
const TASK = { request: { priority: 'batch' } } as unknown as CaptionTask;

let registry: Registry;
let observation: RequestObservation;

beforeEach(() => {
  registry = new Registry();
  observation = new RequestObservation(requestMetrics(registry, () => 'nano'));
});

/** Values by name and labels, without buckets and zeros. */
async function values(prefix: string): Promise<Record<string, number>> {
  const lines = (await registry.metrics()).split('\n').filter((line) => line.startsWith(prefix));
  const pairs = lines
    .filter((line) => !line.includes('_bucket'))
    .map((line): [string, number] => [
      line.slice(prefix.length, line.lastIndexOf(' ')),
      Number(line.split(' ').at(-1)),
    ]);
  return Object.fromEntries(pairs.filter(([, value]) => value !== 0));
}

describe('RequestObservation', () => {
  it('counts the media, tokens and stages of a caption, and its summary has them', async () => {
    observation.begin(TASK);
    for (const event of [media, delta(0, 1), delta(1, 1), delta(0, 2), end]) observation.count(event);
    expect(await values('avocado_requests_total')).toEqual({
      '{outcome="ok",finish_reason="length",class="batch",code="ok"}': 1,
    });
    expect(await values('avocado_prompt_tokens_total')).toEqual({
      '{modality="text"}': 26,
      '{modality="video"}': 24,
      '{modality="audio"}': 100,
    });
    expect(await values('avocado_generation_tokens_total')).toEqual({ '': 5 });
    expect(await values('avocado_video_seconds_captioned_total')).toEqual({ '': 4 });
    expect(await values('avocado_media_pixels_sum')).toEqual({ '{kind="video"}': 8 * 84 * 56 });
    expect(await values('avocado_time_to_first_token_seconds_count')).toEqual({ '': 1 });
    // The first token of each sample has no token before it; the last event has two.
    expect(await values('avocado_inter_token_seconds_count')).toEqual({ '': 2 });
    expect(await values('avocado_stage_duration_seconds_sum')).toEqual({ '{stage="decode"}': 0.25 });
    expect(observation.summary).toMatchObject({ outcome: 'ok', code: undefined, generatedTokens: 5, end, task: TASK });
    expect(await values('vllm:request_success_total')).toEqual({
      '{model_name="nano",finished_reason="length"}': 1,
    });
  });

  it('reads 0 of what has not happened, so that rate() sees the first time', async () => {
    const text = await registry.metrics();
    for (const line of [
      'avocado_requests_total{outcome="ok",finish_reason="stop",class="batch",code="ok"} 0',
      'avocado_requests_total{outcome="error",finish_reason="error",class="interactive",code="engine_error"} 0',
      'avocado_requests_total{outcome="rejected",finish_reason="rejected",class="unread",code="queue_full"} 0',
      'avocado_media_errors_total{reason="media_undecodable"} 0',
      'avocado_requests_rejected_total{reason="queue_work"} 0',
      'avocado_prompt_tokens_total{modality="audio"} 0',
    ])
      expect(text).toContain(`${line}\n`);
    // Guards refuse these before a request is admitted.
    expect(text).not.toContain('code="unauthorized"');
  });

  it('counts a request once, by its first ending', async () => {
    observation.begin(TASK);
    expect(observation.summary).toBeUndefined();
    observation.count({ type: 'caption-error', code: 'media_undecodable', message: 'No.' });
    observation.count(end);
    observation.count({ type: 'caption-aborted' });
    observation.fail('internal');
    expect(await values('avocado_requests_total')).toEqual({
      '{outcome="error",finish_reason="error",class="batch",code="media_undecodable"}': 1,
    });
    expect(await values('avocado_media_errors_total')).toEqual({ '{reason="media_undecodable"}': 1 });
    expect(await values('avocado_generation_tokens_total')).toEqual({});
    expect(observation.summary).toMatchObject({ outcome: 'error', code: 'media_undecodable' });
  });

  it('keeps the tokens of a caption that was aborted', async () => {
    observation.begin(TASK);
    for (const event of [media, delta(0, 3), { type: 'caption-aborted' } as const]) observation.count(event);
    expect(await values('avocado_generation_tokens_total')).toEqual({ '': 3 });
    expect(observation.summary).toMatchObject({ outcome: 'aborted', code: 'aborted', generatedTokens: 3 });
  });

  it.each([
    ['queue_full', false, 'rejected'],
    ['queue_full', true, 'rejected'],
    ['engine_unavailable', false, 'rejected'],
    ['engine_unavailable', true, 'error'],
    ['bad_request', false, 'error'],
    ['aborted', true, 'aborted'],
  ] as const)('calls %s (body read: %s) %s', async (code, isRead, outcome) => {
    if (isRead) observation.begin(TASK);
    observation.fail(code);
    expect(await values('avocado_requests_total')).toEqual({
      [`{outcome="${outcome}",finish_reason="${outcome}",class="${isRead ? 'batch' : 'unread'}",code="${code}"}`]: 1,
    });
    expect(await values('avocado_request_duration_seconds_count')).toEqual(outcome === 'rejected' ? {} : { '': 1 });
  });
});
