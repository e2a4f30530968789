// What the server counts, and how Prometheus reads it. The names are in metrics/catalogue.ts and metrics/readings.ts.
import { stat } from 'node:fs/promises';
import { collectDefaultMetrics, Registry } from 'prom-client';
import type { RequestStage, Refusal, ServingObserver } from '../../admission/types.ts';
import { COUNTERS, HISTOGRAMS, VLLM_COUNTERS, VLLM_HISTOGRAMS } from './catalogue.ts';
import { watchEventLoop } from './event-loop-delay.ts';
import { countersOf, histogramsOf, type CountersOf, type HistogramsOf } from './from-table.ts';
import { addReadings, addVllmReadings, type ReadingParts } from './readings.ts';
import { RequestObservation } from './request-observation.ts';

/** Refusals of the service, and of the door before it. */
type Rejection = Refusal | 'rate_limited' | 'unauthorized';

/** What requests leave behind. */
export interface Recorded extends CountersOf<typeof COUNTERS>, HistogramsOf<typeof HISTOGRAMS> {
  readonly vllm:
    | (CountersOf<typeof VLLM_COUNTERS> & {
        readonly histograms: HistogramsOf<typeof VLLM_HISTOGRAMS>;
        readonly modelName: () => string;
      })
    | undefined;
}

export interface Metrics extends ServingObserver {
  readonly contentType: string;
  text(): Promise<string>;
  /** One caption request, from its first byte. `request` only stands for it. */
  begin(request: object): RequestObservation;
  observationOf(request: object): RequestObservation | undefined;
  rejected(reason: Rejection): void;
  /** what the start took is no delay of anybody's */
  listening(): void;
  close(): void;
}

interface MetricsParts extends ReadingParts {
  readonly compat: 'none' | 'vllm';
}

const REJECTIONS: readonly Rejection[] = ['queue_count', 'queue_work', 'stopping', 'rate_limited', 'unauthorized'];
const STAGES: readonly RequestStage[] = [
  'receive',
  'queued',
  'fetch',
  'probe',
  'decode',
  'encode',
  'prefill',
  'generate',
];

function recordedIn(registry: Registry, { compat, captioner }: MetricsParts): Recorded {
  const counters = countersOf(COUNTERS, registry);
  // A rate needs a first value: what has never happened is 0, not nothing.
  for (const reason of REJECTIONS) counters.rejected.inc({ reason }, 0);
  for (const stage of STAGES) counters.cancelled.inc({ stage }, 0);
  const vllm =
    compat === 'none'
      ? undefined
      : {
          ...countersOf(VLLM_COUNTERS, registry),
          histograms: histogramsOf(VLLM_HISTOGRAMS, registry),
          modelName: () => captioner.model.name,
        };
  return { ...counters, ...histogramsOf(HISTOGRAMS, registry), vllm };
}

/** A registry of its own, so that many servers can live in one process. */
export function createMetrics(parts: MetricsParts): Metrics {
  const registry = new Registry();
  const delay = watchEventLoop();
  collectDefaultMetrics({ register: registry });
  addReadings(registry, parts, delay);
  if (parts.compat === 'vllm') addVllmReadings(registry, parts);
  const recorded = recordedIn(registry, parts);
  const observations = new WeakMap<object, RequestObservation>();
  return {
    contentType: registry.contentType,
    text: () => registry.metrics(),
    begin: (request) => {
      const observation = new RequestObservation(recorded);
      observations.set(request, observation);
      return observation;
    },
    observationOf: (request) => observations.get(request),
    rejected: (reason) => {
      recorded.rejected.inc({ reason });
    },
    cancelled: (stage) => {
      recorded.cancelled.inc({ stage });
    },
    queued: (seconds) => {
      recorded.stages.observe({ stage: 'queue' }, seconds);
    },
    fetched: (kind, seconds, path) => {
      recorded.stages.observe({ stage: 'fetch' }, seconds);
      stat(path).then(
        ({ size }) => {
          recorded.mediaBytes.observe({ kind }, size);
        },
        () => undefined,
      ); // one that has gone already has no size
    },
    listening: () => {
      delay.maxSeconds();
    },
    close: () => {
      delay.close();
    },
  };
}
