import { afterEach, describe, expect, it, vi } from 'vitest';
import { fakeCaptioner } from '../fixtures/fake-captioner.ts';
import { form, serveApp, type ServedApp } from '../fixtures/served-app.ts';

let app: ServedApp;

afterEach(async () => {
  await app.close();
});

type Sample = readonly [name: string, labels: string, value: number];

/** Prometheus' text format, read strictly: every line is a comment or a sample, every sample has HELP and TYPE before it. */
function parseMetrics(text: string): { readonly samples: Sample[]; readonly types: Map<string, string> } {
  const types = new Map<string, string>();
  const samples: Sample[] = [];
  for (const line of text.split('\n')) {
    if (line === '' || line.startsWith('# HELP ')) continue;
    const type = /^# TYPE (\S+) (counter|gauge|histogram|summary)$/.exec(line);
    if (type !== null) {
      types.set(type[1]!, type[2]!);
      continue;
    }
    const sample = /^([a-z_][a-z0-9_]*)(?:\{(.*)\})? (\S+)$/i.exec(line);
    if (sample === null) throw new Error(`Not Prometheus' text format: ${line}`);
    const [, name = '', labels = '', value] = sample;
    const family = types.has(name) ? name : name.replace(/_(bucket|sum|count)$/, '');
    if (!types.has(family)) throw new Error(`${name} has no TYPE.`);
    samples.push([name, labels, Number(value)]);
  }
  return { samples, types };
}

async function metrics(): Promise<ReturnType<typeof parseMetrics> & { value: (name: string, labels?: string) => number | undefined }> {
  const response = await fetch(`${app.url}/metrics`);
  expect(response.headers.get('content-type')).toContain('text/plain');
  const parsed = parseMetrics(await response.text());
  return { ...parsed, value: (name, labels = '') => parsed.samples.find((sample) => sample[0] === name && sample[1] === labels)?.[2] };
}

async function post(fields: Record<string, string> = {}): Promise<void> {
  const response = await fetch(`${app.url}/v1/captions`, { method: 'POST', body: form('x', fields) });
  await response.text();
}

describe('/metrics', () => {
  it('counts every request once, under the ending it had', async () => {
    let number = 0;
    app = await serveApp(fakeCaptioner(() => (++number === 2 ? { error: { code: 'media_undecodable', message: () => 'No.' } } : {})));
    await post();
    await post();
    await post({ stream: 'true' });
    await post({ top_p: '7' });
    const { value, types } = await metrics();
    expect(value('avocado_requests_total', 'outcome="ok",finish_reason="stop"')).toBe(2);
    expect(value('avocado_requests_total', 'outcome="error",finish_reason="error"')).toBe(2);
    expect(value('avocado_media_errors_total', 'reason="media_undecodable"')).toBe(1);
    expect(value('avocado_request_duration_seconds_count')).toBe(4);
    expect(value('avocado_time_to_first_token_seconds_count')).toBe(2);
    expect(value('avocado_prompt_tokens_total', 'modality="audio"')).toBe(200);
    expect(value('avocado_prompt_tokens_total', 'modality="video"')).toBe(48);
    expect(value('avocado_generation_tokens_total')).toBe(12);
    expect(value('avocado_video_seconds_captioned_total')).toBe(8);
    expect(value('avocado_stage_duration_seconds_count', 'stage="audio_tower"')).toBe(2);
    expect(value('avocado_stage_duration_seconds_sum', 'stage="decode"')).toBeCloseTo(0.2);
    expect(types.get('avocado_requests_total')).toBe('counter');
    expect(types.get('avocado_request_duration_seconds')).toBe('histogram');
  });

  it('shows the engine, the slots, the build and the process', async () => {
    const captioner = fakeCaptioner();
    app = await serveApp(captioner);
    captioner.numbers = { ...captioner.numbers, waiting: 3, freeSlots: 1, steps: 42 };
    const { value, samples } = await metrics();
    expect(value('avocado_engine_steps_total')).toBe(42);
    expect(value('avocado_engine_last_step_timestamp_seconds')).toBeCloseTo((performance.timeOrigin + 5000) / 1000, 3);
    expect(value('avocado_requests_waiting')).toBe(3);
    expect(value('avocado_requests_running')).toBe(0);
    expect(value('avocado_kv_slots_capacity')).toBe(2);
    expect(value('avocado_kv_slots_free')).toBe(1);
    expect(samples.find(([name]) => name === 'avocado_build_info')).toEqual(['avocado_build_info', 'version="1.2.3",model="fake-nano",precision="fp32",device="cpu",runtime="native 1.30.0",profile="nano@1"', 1]);
    expect(value('process_resident_memory_bytes')).toBeGreaterThan(0);
  });

  it('shows a request that runs', async () => {
    const captioner = fakeCaptioner({ wordDelayMs: 60 });
    app = await serveApp(captioner);
    const running = post();
    await vi.waitFor(() => {
      expect(captioner.seen).toHaveLength(1);
    });
    expect((await metrics()).value('avocado_requests_running')).toBe(1);
    await running;
    expect((await metrics()).value('avocado_requests_running')).toBe(0);
  });
});

describe('/healthz and /readyz', () => {
  it('says dead only while work stands still for longer than the limit', async () => {
    const captioner = fakeCaptioner();
    app = await serveApp(captioner, { stallMs: 150 });
    const alive = async (): Promise<number> => (await fetch(`${app.url}/healthz`)).status;
    expect(await alive()).toBe(200);
    captioner.numbers = { ...captioner.numbers, running: 1 };
    expect(await alive()).toBe(200);
    await vi.waitFor(async () => {
      expect(await alive()).toBe(503);
    });
    captioner.numbers = { ...captioner.numbers, steps: captioner.numbers.steps + 1 };
    expect(await alive()).toBe(200);
    expect(await (await fetch(`${app.url}/readyz`)).json()).toEqual({ status: 'ready', model: 'fake-nano', free_slots: 2 });
  });
});
