// The metrics of one server: what requests leave (request-metrics.ts), and here what is read from the engine, the
// queue, the disk and the process at every scrape.
import { stat } from 'node:fs/promises';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { collectDefaultMetrics, Registry } from 'prom-client';
import type { AdmissionStats } from '../../admission/admission.ts';
import type { AdmissionObserver, RequestStage } from '../../admission/types.ts';
import type { Captioner } from '../../captioner/captioner.ts';
import type { JobCounts } from '../../jobs/store/job-store.ts';
import type { Outcome } from '../../jobs/types.ts';
import type { GpuNumbers } from '../../engine-process/gpu-numbers.ts';
import { jobCounters, jobReadings } from './job-metrics.ts';
import { addReading, type Reading, type Sample } from './prometheus.ts';
import { RequestObservation, requestMetrics, type Rejection } from './request-metrics.ts';

export interface Metrics extends AdmissionObserver {
  readonly contentType: string;
  /** in Prometheus' text format */
  text(): Promise<string>;
  /** Starts the observation of one caption request. */
  observe(): RequestObservation;
  rejected(reason: Rejection): void;
  /** Counts an item of a job. */
  readonly committed: (claim: unknown, outcome: Outcome) => void;
  /** Counts an item of a job that was done in vain: another server had taken it over. */
  readonly superseded: () => void;
  /** The server listens: event loop delays of its start do not count. */
  listening(): void;
  close(): void;
}

interface MetricsParts extends ReadingParts {
  readonly compat: 'none' | 'vllm';
}

/** Each server has a registry of its own, so that one process can hold several servers. */
export function createMetrics(parts: MetricsParts): Metrics {
  const { compat, captioner } = parts;
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const eventLoop = addReadings(registry, parts, compat);
  const jobs = jobCounters(registry);
  const requests = requestMetrics(registry, compat === 'vllm' ? () => captioner.model.name : undefined);
  return {
    contentType: registry.contentType,
    text: () => registry.metrics(),
    observe: () => new RequestObservation(requests),
    rejected: (reason) => {
      requests.rejected.inc({ reason });
    },
    committed: (_claim, { state, code, mediaSeconds, isDuplicate }) => {
      jobs.committed.inc({ state, code: code ?? '' });
      if (isDuplicate) jobs.duplicates.inc();
      jobs.videoSeconds.inc(mediaSeconds);
    },
    superseded: () => {
      jobs.superseded.inc();
    },
    cancelled: (stage) => {
      requests.cancelled.inc({ stage });
    },
    queued: (seconds) => {
      requests.stages.observe({ stage: 'queue' }, seconds);
    },
    fetched: (kind, seconds, path) => {
      requests.stages.observe({ stage: 'fetch' }, seconds);
      const observeSize = async (): Promise<void> => {
        const { size } = await stat(path);
        requests.mediaBytes.observe({ kind }, size);
      };
      observeSize().catch(() => undefined); // the request may have ended and removed the file
    },
    listening: () => {
      eventLoop.maxSeconds();
    },
    close: () => {
      eventLoop.close();
    },
  };
}

export interface ReadingParts {
  readonly captioner: Captioner;
  readonly service: () => AdmissionStats;
  /** bytes of media files on disk, summed over requests */
  readonly space: () => { readonly usedBytes: number; readonly limitBytes: number };
  readonly version: string;
  /** as they were a few seconds ago; undefined: the server has no jobs */
  readonly jobs: () => JobCounts | undefined;
  /** of the GPUs that the model runs on */
  readonly gpus: () => readonly GpuNumbers[];
}

/** Stages of running requests; a request in stage `queued` is waiting. */
const RUNNING_STAGES: readonly RequestStage[] = [
  'receive',
  'fetch',
  'probe',
  'decode',
  'encode',
  'prefill',
  'generate',
  'merge',
];
const CLASSES = ['interactive', 'batch'] as const;
const CACHES = ['media', 'prefix'] as const;

/** How often the delay of the event loop is sampled; more often would cost more than it shows. */
const RESOLUTION_MS = 10;

/** How long this process's event loop was blocked. */
interface EventLoopDelay {
  /** the longest delay since the last call, in seconds */
  maxSeconds(): number;
  close(): void;
}

function watchEventLoop(): EventLoopDelay {
  const histogram = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  histogram.enable();
  return {
    maxSeconds: () => {
      const nanoseconds = histogram.count === 0 ? 0 : histogram.max;
      histogram.reset();
      // The histogram records the time between two samples, which is the resolution when nothing was late.
      return Math.max(0, nanoseconds / 1e9 - RESOLUTION_MS / 1000);
    },
    close: () => {
      histogram.disable();
    },
  };
}

function epochSeconds(atMs: number | undefined): number {
  return atMs === undefined ? 0 : (performance.timeOrigin + atMs) / 1000;
}

function requestReadings({ service }: ReadingParts): Reading[] {
  return [
    {
      type: 'gauge',
      name: 'avocado_requests_running',
      help: 'Caption requests being received, prepared or captioned, by stage.',
      labels: ['stage'],
      read: () => RUNNING_STAGES.map((stage) => [service().byStage[stage] ?? 0, { stage }]),
    },
    {
      type: 'gauge',
      name: 'avocado_requests_waiting',
      help: 'Caption requests that wait to be scheduled, by class.',
      labels: ['class'],
      read: () => CLASSES.map((name) => [service().waiting[name], { class: name }]),
    },
    {
      type: 'gauge',
      name: 'avocado_queue_work_seconds',
      help: 'Estimated seconds of admitted work that is not done yet.',
      read: () => [[service().queueWorkSeconds]],
    },
    {
      type: 'gauge',
      name: 'avocado_queue_tokens',
      help: 'Estimated tokens of admitted work that is not done yet.',
      read: () => [[service().queueTokens]],
    },
  ];
}

function engineReadings(parts: ReadingParts): Reading[] {
  return [...processReadings(parts), ...slotReadings(parts)];
}

function processReadings({ captioner }: ReadingParts): Reading[] {
  const status = captioner.status.bind(captioner);
  return [
    {
      type: 'gauge',
      name: 'avocado_engine_up',
      help: '1 when the engine is ready (of several, one of them), 0 while it loads, restarts or is stopped.',
      read: () => [[status().state === 'ready' ? 1 : 0]],
    },
    {
      type: 'gauge',
      name: 'avocado_engine_ready',
      help: 'Of each engine process, one on each device: 1 when it is ready.',
      labels: ['engine', 'device'],
      read: () => {
        const { state, engines = [{ device: captioner.model.device, state }] } = status();
        return engines.map((engine, index) => [
          engine.state === 'ready' ? 1 : 0,
          { engine: String(index), device: engine.device },
        ]);
      },
    },
    {
      type: 'counter',
      name: 'avocado_engine_restarts_total',
      help: 'Restarts of the engine process after a crash or a hang.',
      read: () => [[status().restarts]],
    },
    {
      type: 'gauge',
      name: 'avocado_engine_last_step_timestamp_seconds',
      help: 'Time of the last engine step, in seconds since the epoch; 0 before the first.',
      read: () => [[epochSeconds(captioner.stats().lastStepAtMs)]],
    },
  ];
}

function slotReadings({ captioner }: ReadingParts): Reading[] {
  const stats = captioner.stats.bind(captioner);
  return [
    {
      type: 'gauge',
      name: 'avocado_kv_cache_usage_ratio',
      help: 'Tokens in the KV cache divided by its capacity, 0 to 1.',
      read: () => [[stats().kvUsage]],
    },
    {
      type: 'gauge',
      name: 'avocado_kv_cache_reserved_ratio',
      help: 'Memory of the KV cache that captions and kept prefixes have, divided by all of it, 0 to 1.',
      read: () => [[stats().kvReserved]],
    },
    {
      type: 'gauge',
      name: 'avocado_kv_slots_capacity',
      help: 'Sequences the KV cache can hold.',
      read: () => [[stats().slots]],
    },
    {
      type: 'gauge',
      name: 'avocado_kv_slots_free',
      help: 'Slots of the KV cache that no sequence uses.',
      read: () => [[stats().freeSlots]],
    },
    {
      type: 'counter',
      name: 'avocado_engine_steps_total',
      help: 'Steps of the engine. If it stops growing while requests run, the engine is stuck.',
      read: () => [[stats().steps]],
    },
    {
      type: 'counter',
      name: 'avocado_engine_preemptions_total',
      help: 'Batch captions that gave up their slot to an interactive one, and were taken up again later.',
      read: () => [[stats().preemptions]],
    },
    {
      type: 'counter',
      name: 'avocado_busy_seconds_total',
      help:
        'Seconds in which something of a part ran: decoders of files, encoders, prefill, decode steps. overlap: an ' +
        'encoder beside the decoder. The device was busy for encoders + prefill + decode - overlap.',
      labels: ['part'],
      read: () => Object.entries(stats().busySeconds).map(([part, seconds]): Sample => [seconds, { part }]),
    },
    cacheReading('hits', 'Requests whose encoded media (media) or prompt prefix (prefix) was in the cache.', captioner),
    cacheReading(
      'misses',
      'Requests whose encoded media (media) or prompt prefix (prefix) was not in the cache.',
      captioner,
    ),
  ];
}

/** Present where the model runs on a GPU and nvidia-smi answers. */
function gpuReadings({ gpus, captioner }: ReadingParts): Reading[] {
  const gauge = (name: string, help: string, of: (numbers: GpuNumbers) => number | undefined): Reading => ({
    type: 'gauge',
    name: `avocado_gpu_${name}`,
    help: `${help} Absent without a GPU and nvidia-smi.`,
    labels: ['gpu'],
    read: () =>
      gpus().flatMap((numbers): Sample[] => {
        const value = of(numbers);
        return value === undefined ? [] : [[value, { gpu: numbers.index }]];
      }),
  });
  return [
    gauge('memory_used_bytes', 'Memory in use on the GPU, by all its processes.', (numbers) => numbers.memoryUsedBytes),
    gauge('memory_total_bytes', 'Memory of the GPU.', (numbers) => numbers.memoryTotalBytes),
    gauge('utilization_ratio', 'Share of time in which the GPU worked, 0 to 1.', (numbers) => numbers.utilization),
    gauge('power_watts', 'Power that the GPU draws.', (numbers) => numbers.powerWatts),
    {
      type: 'gauge',
      name: 'avocado_engine_step_recorded',
      help:
        'On a GPU, by size of a decode step in sequences: 1 when it was recorded as a CUDA graph at load, 0 when the ' +
        'card could not record it and steps are slower.',
      labels: ['size'],
      read: () => Object.entries(captioner.stats().recordedSteps ?? {}).map(([size, done]) => [done ? 1 : 0, { size }]),
    },
  ];
}

function cacheReading(what: 'hits' | 'misses', help: string, captioner: Captioner): Reading {
  return {
    type: 'counter',
    name: `avocado_cache_${what}_total`,
    help,
    labels: ['cache'],
    read: () => CACHES.map((cache) => [captioner.stats().caches[cache][what], { cache }]),
  };
}

function serverReadings({ captioner, space, version }: ReadingParts, delay: EventLoopDelay): Reading[] {
  const build = (): Sample => {
    const { name, precision, device, runtime, profile } = captioner.model;
    return [1, { version, model: name, precision, device, runtime, profile }];
  };
  return [
    {
      type: 'gauge',
      name: 'avocado_temporary_bytes',
      help: 'Bytes of uploads and downloads on disk.',
      read: () => [[space().usedBytes]],
    },
    {
      type: 'gauge',
      name: 'avocado_temporary_bytes_limit',
      help: 'Limit of uploads and downloads on disk, in bytes.',
      read: () => [[space().limitBytes]],
    },
    {
      type: 'gauge',
      name: 'avocado_event_loop_delay_max_seconds',
      help: 'Longest delay of the event loop since the last scrape.',
      read: () => [[delay.maxSeconds()]],
    },
    {
      type: 'gauge',
      name: 'avocado_build_info',
      help: 'Version, model and hardware of this server, as labels; the value is always 1.',
      labels: ['version', 'model', 'precision', 'device', 'runtime', 'profile'],
      read: () => [build()],
    },
  ];
}

/** vLLM's gauges: a running request holds a slot, a waiting one is admitted and does not. */
function vllmReadings({ captioner, service }: ReadingParts): Reading[] {
  const labelled = (value: number): readonly Sample[] => [[value, { model_name: captioner.model.name }]];
  const running = (): number => captioner.stats().running;
  const readings = [
    { name: 'vllm:num_requests_running', help: 'Requests in the batch.', read: () => labelled(running()) },
    {
      name: 'vllm:num_requests_waiting',
      help: 'Requests that are admitted and not in the batch yet.',
      read: () => labelled(Math.max(0, service().alive - running())),
    },
    {
      name: 'vllm:kv_cache_usage_perc',
      help: 'KV cache in use, 0 to 1.',
      read: () => labelled(captioner.stats().kvUsage),
    },
  ];
  return readings.map((reading) => ({ ...reading, type: 'gauge', labels: ['model_name'] }));
}

/** Adds all of them to the registry. @returns the watch of the event loop, to be reset and closed */
export function addReadings(registry: Registry, parts: ReadingParts, compat: 'none' | 'vllm'): EventLoopDelay {
  const delay = watchEventLoop();
  const readings = [
    ...requestReadings(parts),
    ...engineReadings(parts),
    ...jobReadings(parts.jobs),
    ...gpuReadings(parts),
    ...serverReadings(parts, delay),
  ];
  for (const reading of readings) addReading(registry, reading);
  if (compat === 'vllm') for (const reading of vllmReadings(parts)) addReading(registry, reading);
  return delay;
}
