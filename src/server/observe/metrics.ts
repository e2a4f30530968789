// The metrics of one server: what requests leave (request-metrics.ts) and what is read at a scrape (readings.ts).
import { stat } from 'node:fs/promises';
import { collectDefaultMetrics, Registry } from 'prom-client';
import type { AdmissionObserver } from '../../admission/types.ts';
import { addReadings, type ReadingParts } from './readings.ts';
import { RequestObservation, requestMetrics, type Rejection } from './request-metrics.ts';

export interface Metrics extends AdmissionObserver {
  readonly contentType: string;
  /** in Prometheus' text format */
  text(): Promise<string>;
  /** Starts the observation of one caption request. */
  observe(): RequestObservation;
  rejected(reason: Rejection): void;
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
  const requests = requestMetrics(registry, compat === 'vllm' ? () => captioner.model.name : undefined);
  return {
    contentType: registry.contentType,
    text: () => registry.metrics(),
    observe: () => new RequestObservation(requests),
    rejected: (reason) => {
      requests.rejected.inc({ reason });
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
