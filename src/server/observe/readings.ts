// What is read from the running parts when somebody looks, with names and meanings in one list.
import { Counter, Gauge, type Registry } from 'prom-client';
import type { Captioner } from '../../captioner/captioner.ts';
import type { RequestStage, ServiceStats } from '../../admission/types.ts';
import type { EventLoopDelay } from './event-loop-delay.ts';

export interface ReadingParts {
  readonly captioner: Captioner;
  readonly service: () => ServiceStats;
  /** bytes of media on disk, all requests together */
  readonly space: () => { readonly usedBytes: number; readonly limitBytes: number };
  readonly version: string;
}

type Sample = readonly [value: number, labels?: Readonly<Record<string, string>>];

interface Reading {
  readonly type: 'gauge' | 'counter';
  readonly name: string;
  readonly help: string;
  readonly labels?: readonly string[];
  readonly read: () => readonly Sample[];
}

/** Where a request that runs can be; `queued` ones wait. */
const RUNNING_STAGES: readonly RequestStage[] = [
  'receive',
  'fetch',
  'probe',
  'decode',
  'encode',
  'prefill',
  'generate',
];
const CLASSES = ['interactive', 'batch'] as const;
const CACHES = ['media', 'prefix'] as const;

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
      help: 'Caption requests that wait for their turn, by class.',
      labels: ['class'],
      read: () => CLASSES.map((name) => [service().waiting[name], { class: name }]),
    },
    {
      type: 'gauge',
      name: 'avocado_queue_work_seconds',
      help: 'Estimated seconds of work that is let in and not done yet.',
      read: () => [[service().queueWorkSeconds]],
    },
    {
      type: 'gauge',
      name: 'avocado_queue_tokens',
      help: 'Estimated tokens of work that is let in and not done yet.',
      read: () => [[service().queueTokens]],
    },
  ];
}

function engineReadings({ captioner }: ReadingParts): Reading[] {
  const stats = captioner.stats.bind(captioner);
  const status = captioner.status.bind(captioner);
  return [
    {
      type: 'gauge',
      name: 'avocado_engine_up',
      help: '1 when the engine takes work, 0 while it loads, restarts or is stopped.',
      read: () => [[status().state === 'ready' ? 1 : 0]],
    },
    {
      type: 'counter',
      name: 'avocado_engine_restarts_total',
      help: 'How often the engine process was started again after a crash or a hang.',
      read: () => [[status().restarts]],
    },
    {
      type: 'gauge',
      name: 'avocado_engine_last_step_timestamp_seconds',
      help: 'When the engine last took a step, seconds since the epoch; 0 before the first.',
      read: () => [[epochSeconds(stats().lastStepAtMs)]],
    },
    {
      type: 'gauge',
      name: 'avocado_kv_cache_usage_ratio',
      help: 'Tokens in the KV cache over the tokens it could hold, 0 to 1.',
      read: () => [[stats().kvUsage]],
    },
    {
      type: 'gauge',
      name: 'avocado_kv_slots_capacity',
      help: 'Sequences the KV cache has room for.',
      read: () => [[stats().slots]],
    },
    {
      type: 'gauge',
      name: 'avocado_kv_slots_free',
      help: 'Slots of the KV cache that no sequence holds.',
      read: () => [[stats().freeSlots]],
    },
    {
      type: 'counter',
      name: 'avocado_engine_steps_total',
      help: 'Steps of the engine; a busy engine whose number stands still is stuck.',
      read: () => [[stats().steps]],
    },
    cacheReading(
      'hits',
      'Requests that found their clip (media) or the beginning of their prompt (prefix) ready.',
      captioner,
    ),
    cacheReading('misses', 'Requests that did not.', captioner),
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
      help: 'Most bytes of uploads and downloads on disk.',
      read: () => [[space().limitBytes]],
    },
    {
      type: 'gauge',
      name: 'avocado_event_loop_delay_max_seconds',
      help: 'Longest time the server did nothing else, since this was last read.',
      read: () => [[delay.maxSeconds()]],
    },
    {
      type: 'gauge',
      name: 'avocado_build_info',
      help: 'What runs here; always 1.',
      labels: ['version', 'model', 'precision', 'device', 'runtime', 'profile'],
      read: () => [build()],
    },
  ];
}

function addReading(registry: Registry, { type, name, help, labels = [], read }: Reading): void {
  const options = { name, help, labelNames: labels, registers: [registry] };
  if (type === 'gauge') {
    new Gauge({
      ...options,
      collect() {
        this.reset(); // a label that has gone must not stay
        for (const [value, values] of read()) this.set(values ?? {}, value);
      },
    });
    return;
  }
  new Counter({
    ...options,
    collect() {
      this.reset();
      for (const [value, values] of read()) this.inc(values ?? {}, value);
    },
  });
}

/** Adds all of them to the registry. */
export function addReadings(registry: Registry, parts: ReadingParts, delay: EventLoopDelay): void {
  for (const reading of [...requestReadings(parts), ...engineReadings(parts), ...serverReadings(parts, delay)])
    addReading(registry, reading);
}

/** vLLM's gauges: running holds a slot, waiting is let in and does not. */
export function addVllmReadings(registry: Registry, { captioner, service }: ReadingParts): void {
  const labelled = (value: number): readonly Sample[] => [[value, { model_name: captioner.model.name }]];
  const running = (): number => captioner.stats().running;
  const readings: readonly Omit<Reading, 'type' | 'labels'>[] = [
    { name: 'vllm:num_requests_running', help: 'Requests in the batch.', read: () => labelled(running()) },
    {
      name: 'vllm:num_requests_waiting',
      help: 'Requests that are let in and not in the batch yet.',
      read: () => labelled(Math.max(0, service().alive - running())),
    },
    {
      name: 'vllm:kv_cache_usage_perc',
      help: 'KV cache in use, 0 to 1.',
      read: () => labelled(captioner.stats().kvUsage),
    },
  ];
  for (const reading of readings) addReading(registry, { ...reading, type: 'gauge', labels: ['model_name'] });
}
