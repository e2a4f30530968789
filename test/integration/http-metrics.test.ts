import { writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import process from 'node:process';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { fakeCaptioner } from '../fixtures/fake-captioner.ts';
import { scratchDirectory } from '../fixtures/scratch.ts';
import { form, serveApp, type ServedApp } from '../fixtures/served-app.ts';

const scratch = scratchDirectory();
let app: ServedApp;

afterEach(async () => {
  await app.close();
});

/** What operators build dashboards and alerts on: a name goes or changes its type only with a note to them. */
const NAMES: Readonly<Record<string, 'counter' | 'gauge' | 'histogram'>> = {
  avocado_requests_running: 'gauge',
  avocado_requests_waiting: 'gauge',
  avocado_queue_work_seconds: 'gauge',
  avocado_queue_tokens: 'gauge',
  avocado_requests_rejected_total: 'counter',
  avocado_requests_total: 'counter',
  avocado_requests_cancelled_total: 'counter',
  avocado_request_duration_seconds: 'histogram',
  avocado_time_to_first_token_seconds: 'histogram',
  avocado_inter_token_seconds: 'histogram',
  avocado_stage_duration_seconds: 'histogram',
  avocado_prompt_tokens_total: 'counter',
  avocado_generation_tokens_total: 'counter',
  avocado_kv_cache_usage_ratio: 'gauge',
  avocado_kv_cache_reserved_ratio: 'gauge',
  avocado_kv_slots_capacity: 'gauge',
  avocado_kv_slots_free: 'gauge',
  avocado_cache_hits_total: 'counter',
  avocado_cache_misses_total: 'counter',
  avocado_media_bytes: 'histogram',
  avocado_media_duration_seconds: 'histogram',
  avocado_media_frames: 'histogram',
  avocado_media_pixels: 'histogram',
  avocado_media_errors_total: 'counter',
  avocado_video_seconds_captioned_total: 'counter',
  avocado_engine_up: 'gauge',
  avocado_engine_ready: 'gauge',
  avocado_engine_preemptions_total: 'counter',
  avocado_busy_seconds_total: 'counter',
  avocado_engine_restarts_total: 'counter',
  avocado_engine_last_step_timestamp_seconds: 'gauge',
  avocado_engine_step_recorded: 'gauge',
  avocado_engine_steps_total: 'counter',
  avocado_gpu_memory_used_bytes: 'gauge',
  avocado_gpu_memory_total_bytes: 'gauge',
  avocado_gpu_utilization_ratio: 'gauge',
  avocado_gpu_power_watts: 'gauge',
  avocado_jobs: 'gauge',
  avocado_job_items: 'gauge',
  avocado_jobs_oldest_ready_seconds: 'gauge',
  avocado_job_items_committed_total: 'counter',
  avocado_job_items_superseded_total: 'counter',
  avocado_job_duplicates_avoided_total: 'counter',
  avocado_job_video_seconds_total: 'counter',
  avocado_temporary_bytes: 'gauge',
  avocado_temporary_bytes_limit: 'gauge',
  avocado_event_loop_delay_max_seconds: 'gauge',
  avocado_build_info: 'gauge',
};

type Sample = readonly [name: string, labels: string, value: number];

interface Parsed {
  readonly samples: Sample[];
  readonly types: Map<string, string>;
}

/**
 * Prometheus' text format, read strictly: every line is a comment or a sample, every sample
 * has HELP and TYPE before it.
 */
function parseMetrics(text: string): Parsed {
  const types = new Map<string, string>();
  const helps = new Set<string>();
  const samples: Sample[] = [];
  for (const line of text.split('\n')) {
    const help = /^# HELP (\S+) .+$/.exec(line);
    if (line === '' || help !== null) {
      if (help !== null) helps.add(help[1]!);
      continue;
    }
    const type = /^# TYPE (\S+) (counter|gauge|histogram|summary)$/.exec(line);
    if (type !== null) {
      types.set(type[1]!, type[2]!);
      continue;
    }
    const sample = /^([a-z_:][a-z0-9_:]*)(?:\{(.*)\})? (\S+)$/i.exec(line);
    if (sample === null) throw new Error(`Not Prometheus' text format: ${line}`);
    const [, name = '', labels = '', value] = sample;
    const family = types.has(name) ? name : name.replace(/_(bucket|sum|count)$/, '');
    if (!types.has(family) || !helps.has(family)) throw new Error(`${name} has no TYPE or HELP.`);
    samples.push([name, labels, Number(value)]);
  }
  return { samples, types };
}

async function metrics(): Promise<Parsed & { value: (name: string, labels?: string) => number | undefined }> {
  const response = await fetch(`${app.url}/metrics`);
  expect(response.headers.get('content-type')).toContain('text/plain');
  const parsed = parseMetrics(await response.text());
  return {
    ...parsed,
    value: (name, labels = '') => parsed.samples.find((sample) => sample[0] === name && sample[1] === labels)?.[2],
  };
}

async function post(fields: Record<string, string> = {}, init: RequestInit = {}): Promise<void> {
  const response = await fetch(`${app.url}/v1/captions`, {
    method: 'POST',
    body: form('x', fields, 'holiday.mp4'),
    ...init,
  });
  await response.text();
}

const ours = (types: Map<string, string>): Record<string, string> =>
  Object.fromEntries([...types].filter(([name]) => name.startsWith('avocado_')));

describe('/metrics', () => {
  it('has exactly the documented names, before anything has happened too', async () => {
    app = await serveApp(fakeCaptioner());
    expect(ours((await metrics()).types)).toEqual(NAMES);
    await post();
    expect(ours((await metrics()).types)).toEqual(NAMES);
    expect(await (await fetch(`${app.url}/v1/metrics`)).text()).toContain('avocado_build_info');
  });

  it('counts every request once, under the ending it had', async () => {
    app = await serveApp(
      fakeCaptioner((request) =>
        request.prompt === 'fail' ? { error: { code: 'media_undecodable', message: () => 'No.' } } : {},
      ),
    );
    await post();
    await post({ prompt: 'fail' });
    await post({ stream: 'true', priority: 'batch' });
    await post({ top_p: '7' });
    const { value } = await metrics();
    expect(value('avocado_requests_total', 'outcome="ok",finish_reason="stop",class="interactive",code="ok"')).toBe(1);
    expect(value('avocado_requests_total', 'outcome="ok",finish_reason="stop",class="batch",code="ok"')).toBe(1);
    expect(
      value(
        'avocado_requests_total',
        'outcome="error",finish_reason="error",class="interactive",code="media_undecodable"',
      ),
    ).toBe(1);
    expect(
      value('avocado_requests_total', 'outcome="error",finish_reason="error",class="unread",code="bad_request"'),
    ).toBe(1);
    expect(value('avocado_media_errors_total', 'reason="media_undecodable"')).toBe(1);
    expect(value('avocado_request_duration_seconds_count')).toBe(4);
    expect(value('avocado_time_to_first_token_seconds_count')).toBe(2);
    expect(value('avocado_inter_token_seconds_count')).toBe(8);
    expect(value('avocado_prompt_tokens_total', 'modality="audio"')).toBe(200);
    expect(value('avocado_prompt_tokens_total', 'modality="video"')).toBe(48);
    expect(value('avocado_generation_tokens_total')).toBe(12);
    expect(value('avocado_video_seconds_captioned_total')).toBe(8);
    expect(value('avocado_media_duration_seconds_sum', 'kind="video"')).toBe(8);
    expect(value('avocado_media_bytes_count', 'kind="upload"')).toBe(3);
    expect(value('avocado_media_bytes_sum', 'kind="upload"')).toBe(3);
    expect(value('avocado_media_frames_sum', 'kind="video"')).toBe(16);
    expect(value('avocado_media_pixels_sum', 'kind="video"')).toBe(2 * 8 * 84 * 56);
    expect(value('avocado_stage_duration_seconds_count', 'stage="audio_tower"')).toBe(2);
    expect(value('avocado_stage_duration_seconds_sum', 'stage="decode"')).toBeCloseTo(0.2);
    expect(value('avocado_stage_duration_seconds_count', 'stage="queue"')).toBe(2);
    expect(value('avocado_stage_duration_seconds_count', 'stage="fetch"')).toBe(3);
  });

  it('counts what was not let in and what was given up, by reason and stage', async () => {
    app = await serveApp(fakeCaptioner({ wordDelayMs: 300 }), { maxRequests: 1 });
    const leave = new AbortController();
    const left = post({}, { signal: leave.signal }).catch(() => undefined);
    await vi.waitFor(async () => {
      expect((await metrics()).value('avocado_requests_running', 'stage="generate"')).toBe(1);
    });
    await post();
    leave.abort();
    await left;
    await vi.waitFor(async () => {
      const { value } = await metrics();
      expect(
        value('avocado_requests_total', 'outcome="aborted",finish_reason="aborted",class="interactive",code="aborted"'),
      ).toBe(1);
      expect(value('avocado_requests_cancelled_total', 'stage="generate"')).toBe(1);
    });
    const { value } = await metrics();
    expect(value('avocado_requests_rejected_total', 'reason="queue_count"')).toBe(1);
    expect(
      value('avocado_requests_total', 'outcome="rejected",finish_reason="rejected",class="unread",code="queue_full"'),
    ).toBe(1);
    expect(value('avocado_request_duration_seconds_count')).toBe(1);
  });

  it('shows the engine, its caches, the disk, the build and the process', async () => {
    const captioner = fakeCaptioner();
    app = await serveApp(captioner, { maxTemporaryBytes: 1000 });
    captioner.numbers = {
      ...captioner.numbers,
      freeSlots: 1,
      steps: 42,
      kvUsage: 0.25,
      kvReserved: 0.75,
      caches: { media: { hits: 3, misses: 4 }, prefix: { hits: 5, misses: 6 } },
      recordedSteps: { 1: true, 2: false },
    };
    captioner.state = { ...captioner.state, state: 'restarting', restarts: 2 };
    const { value, samples } = await metrics();
    expect(value('avocado_engine_up')).toBe(0);
    expect(value('avocado_engine_restarts_total')).toBe(2);
    expect(value('avocado_engine_steps_total')).toBe(42);
    expect(value('avocado_engine_last_step_timestamp_seconds')).toBeCloseTo((performance.timeOrigin + 5000) / 1000, 3);
    expect(value('avocado_kv_cache_usage_ratio')).toBe(0.25);
    expect(value('avocado_kv_cache_reserved_ratio')).toBe(0.75);
    expect(value('avocado_kv_slots_capacity')).toBe(2);
    expect(value('avocado_kv_slots_free')).toBe(1);
    expect(value('avocado_cache_hits_total', 'cache="prefix"')).toBe(5);
    expect(value('avocado_cache_misses_total', 'cache="media"')).toBe(4);
    expect(value('avocado_engine_step_recorded', 'size="1"')).toBe(1);
    expect(value('avocado_engine_step_recorded', 'size="2"')).toBe(0);
    expect(value('avocado_temporary_bytes_limit')).toBe(1000);
    expect(samples.find(([name]) => name === 'avocado_build_info')).toEqual([
      'avocado_build_info',
      'version="1.2.3",model="fake-nano",precision="fp32",device="cpu",runtime="native 1.30.0",profile="nano@1"',
      1,
    ]);
    expect(value('process_resident_memory_bytes')).toBeGreaterThan(0);
  });

  it('shows the GPU of the model where nvidia-smi answers, and nothing of one where it does not', async () => {
    const program = scratch('nvidia-smi');
    writeFileSync(program, '#!/bin/sh\n[ "$1" = --id=1 ] && echo "1, 1024, 81920, 37, [N/A]"\n', { mode: 0o755 });
    const onGpu = fakeCaptioner();
    const captioner = { ...onGpu, model: { ...onGpu.model, device: 'cuda:1' } };
    vi.stubEnv('PATH', `${dirname(program)}:${process.env['PATH'] ?? ''}`);
    app = await serveApp(captioner);
    const inUse = 'avocado_gpu_memory_used_bytes';
    await expect.poll(async () => (await metrics()).value(inUse, 'gpu="1"')).toBe(1024 ** 3);
    const { value, samples } = await metrics();
    expect(value('avocado_gpu_memory_total_bytes', 'gpu="1"')).toBe(80 * 1024 ** 3);
    expect(value('avocado_gpu_utilization_ratio', 'gpu="1"')).toBe(0.37);
    expect(samples.filter(([name]) => name === 'avocado_gpu_power_watts')).toEqual([]);
    await app.close();

    writeFileSync(program, '#!/bin/sh\necho "No devices were found"\nexit 6\n', { mode: 0o755 });
    for (const device of ['cuda:1', 'cpu']) {
      app = await serveApp({ ...captioner, model: { ...captioner.model, device } });
      await metrics();
      await new Promise((resolve) => setTimeout(resolve, 100));
      expect((await metrics()).samples.filter(([name]) => name.startsWith('avocado_gpu'))).toEqual([]);
      await app.close();
    }
    vi.unstubAllEnvs();
  });

  it('shows a request that runs, by stage', async () => {
    const captioner = fakeCaptioner({ wordDelayMs: 300 });
    app = await serveApp(captioner);
    const running = async (): Promise<number> => {
      const { samples } = await metrics();
      return samples
        .filter(([name]) => name === 'avocado_requests_running')
        .reduce((sum, [, , value]) => sum + value, 0);
    };
    const request = post();
    await vi.waitFor(
      async () => {
        expect((await metrics()).value('avocado_requests_running', 'stage="generate"')).toBe(1);
      },
      { interval: 10 },
    );
    expect(await running()).toBe(1);
    expect((await metrics()).value('avocado_queue_work_seconds')).toBeGreaterThan(0);
    await request;
    expect(await running()).toBe(0);
    expect((await metrics()).value('avocado_queue_work_seconds')).toBe(0);
  });

  it('measures how long this process was kept from its work', async () => {
    app = await serveApp(fakeCaptioner());
    await metrics();
    await new Promise((resolve) => setTimeout(resolve, 50));
    const until = performance.now() + 300;
    while (performance.now() < until);
    await new Promise((resolve) => setTimeout(resolve, 50));
    const seconds = (await metrics()).value('avocado_event_loop_delay_max_seconds');
    expect(seconds).toBeGreaterThan(0.25);
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect((await metrics()).value('avocado_event_loop_delay_max_seconds')).toBeLessThan(seconds!);
  });

  it('never tells a name, a URL, a key or a word of anybody', async () => {
    app = await serveApp(fakeCaptioner(), { apiKeysText: 'anna:the-secret-key-of-anna' });
    const headers = { authorization: 'Bearer the-secret-key-of-anna' };
    await post({ prompt: 'What about Müller?' }, { headers });
    await post({ no_such: 'field' }, { headers });
    await fetch(`${app.url}/secret/path`, { headers });
    const text = await (await fetch(`${app.url}/metrics`, { headers })).text();
    expect(text).toContain('avocado_requests_total');
    expect(text).not.toMatch(/holiday|Müller|anna|secret|no_such|red ball/);
  });
});

describe('--metrics-compat vllm', () => {
  it('adds vLLM’s names with its labels and meanings, and only when asked', async () => {
    const captioner = fakeCaptioner((request) =>
      request.maxTokens === 1 ? { error: { code: 'media_undecodable', message: () => 'No.' } } : {},
    );
    app = await serveApp(captioner, { metricsCompat: 'vllm' });
    await post();
    await post({ max_tokens: '1' });
    captioner.numbers = { ...captioner.numbers, running: 2, kvUsage: 0.5 };
    const { value, types } = await metrics();
    expect(Object.fromEntries([...types].filter(([name]) => name.startsWith('vllm:')))).toEqual({
      'vllm:num_requests_running': 'gauge',
      'vllm:num_requests_waiting': 'gauge',
      'vllm:kv_cache_usage_perc': 'gauge',
      'vllm:e2e_request_latency_seconds': 'histogram',
      'vllm:time_to_first_token_seconds': 'histogram',
      'vllm:request_success_total': 'counter',
    });
    const model = 'model_name="fake-nano"';
    expect(value('vllm:num_requests_running', model)).toBe(2);
    expect(value('vllm:num_requests_waiting', model)).toBe(0);
    expect(value('vllm:kv_cache_usage_perc', model)).toBe(0.5);
    expect(value('vllm:request_success_total', `${model},finished_reason="stop"`)).toBe(1);
    expect(value('vllm:request_success_total', `${model},finished_reason="error"`)).toBe(1);
    expect(value('vllm:e2e_request_latency_seconds_count', model)).toBe(2);
    expect(value('vllm:time_to_first_token_seconds_count', model)).toBe(1);
    await app.close();
    app = await serveApp(fakeCaptioner());
    expect([...(await metrics()).types.keys()].some((name) => name.startsWith('vllm:'))).toBe(false);
  });
});
