// Every metric: its name, unit and meaning, in one list. No label ever holds a file's name, a URL or a person's words.
import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { Captioner } from '../captioner.ts';
import type { LiveRequests } from './live-requests.ts';
import { RequestObservation } from './request-observation.ts';

/** Work here lasts from a tenth of a second to an hour. */
const LONG_BUCKETS = [0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 60, 120, 300, 600, 1200, 1800, 3600];
/** Stages: from a probe (tens of milliseconds) to an hour of decoding tokens. */
const STAGE_BUCKETS = [0.005, 0.01, 0.025, 0.05, ...LONG_BUCKETS];

function recorded(registry: Registry) {
  const registers = [registry];
  return {
    requests: new Counter({ name: 'avocado_requests_total', help: 'Caption requests that ended, by outcome (ok, error, aborted) and finish reason (stop, length, error, aborted).', labelNames: ['outcome', 'finish_reason'] as const, registers }),
    duration: new Histogram({ name: 'avocado_request_duration_seconds', help: 'From the request to its ending, upload included.', buckets: LONG_BUCKETS, registers }),
    firstToken: new Histogram({ name: 'avocado_time_to_first_token_seconds', help: 'From the request to the first words of its caption.', buckets: LONG_BUCKETS, registers }),
    stages: new Histogram({ name: 'avocado_stage_duration_seconds', help: 'Work of one stage for one request.', labelNames: ['stage'] as const, buckets: STAGE_BUCKETS, registers }),
    promptTokens: new Counter({ name: 'avocado_prompt_tokens_total', help: 'Prompt tokens of captioned requests, by modality (text, video, audio, image).', labelNames: ['modality'] as const, registers }),
    generationTokens: new Counter({ name: 'avocado_generation_tokens_total', help: 'Tokens generated.', registers }),
    mediaErrors: new Counter({ name: 'avocado_media_errors_total', help: 'Requests that failed because of their file, by error code.', labelNames: ['reason'] as const, registers }),
    videoSeconds: new Counter({ name: 'avocado_video_seconds_captioned_total', help: 'Playing time of captioned files, in seconds.', registers }),
  };
}

export type Recorded = ReturnType<typeof recorded>;

function epochSeconds(atMs: number | undefined): number {
  return atMs === undefined ? 0 : (performance.timeOrigin + atMs) / 1000;
}

interface Reading {
  readonly name: string;
  readonly help: string;
  readonly read: () => number;
}

function gauges({ captioner, live }: MetricsParts): Reading[] {
  const stats = captioner.stats.bind(captioner);
  return [
    { name: 'avocado_requests_running', help: 'Caption requests being received, prepared or captioned.', read: () => Math.max(0, live.count - stats().waiting) },
    { name: 'avocado_requests_waiting', help: 'Caption requests that wait for a slot.', read: () => stats().waiting },
    { name: 'avocado_engine_last_step_timestamp_seconds', help: 'When the engine last took a step, seconds since the epoch; 0 before the first.', read: () => epochSeconds(stats().lastStepAtMs) },
    { name: 'avocado_kv_slots_capacity', help: 'Sequences the KV cache has room for.', read: () => stats().slots },
    { name: 'avocado_kv_slots_free', help: 'Slots of the KV cache that no sequence holds.', read: () => stats().freeSlots },
  ];
}

interface MetricsParts {
  readonly captioner: Captioner;
  readonly live: LiveRequests;
  readonly version: string;
}

export interface Metrics {
  readonly contentType: string;
  text(): Promise<string>;
  /** one request, from its first byte */
  begin(): RequestObservation;
}

/** A registry of its own, so that many servers can live in one process. */
export function createMetrics(parts: MetricsParts): Metrics {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const counters = recorded(registry);
  for (const { name, help, read } of gauges(parts)) {
    new Gauge({
      name,
      help,
      registers: [registry],
      collect() {
        this.set(read());
      },
    });
  }
  new Counter({
    name: 'avocado_engine_steps_total',
    help: 'Steps of the engine; a busy engine whose number stands still is stuck.',
    registers: [registry],
    collect() {
      this.reset();
      this.inc(parts.captioner.stats().steps);
    },
  });
  const { name, precision, device, runtime, profile } = parts.captioner.model;
  new Gauge({ name: 'avocado_build_info', help: 'What runs here; always 1.', labelNames: ['version', 'model', 'precision', 'device', 'runtime', 'profile'], registers: [registry] }).set(
    { version: parts.version, model: name, precision, device, runtime, profile },
    1,
  );
  return { contentType: registry.contentType, text: () => registry.metrics(), begin: () => new RequestObservation(counters) };
}

