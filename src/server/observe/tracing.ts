// Traces with OpenTelemetry: a span for each caption request, and below it one for each of its stages, whichever
// process they happen in: the engine tells its stages, so it needs no OpenTelemetry of its own. Imported only when
// traces are wanted.
import { defaultTextMapGetter, ROOT_CONTEXT, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api';
import type { Attributes, Context, Span, Tracer } from '@opentelemetry/api';
import { W3CTraceContextPropagator } from '@opentelemetry/core';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http';
import { defaultResource, detectResources, envDetector, resourceFromAttributes } from '@opentelemetry/resources';
import {
  AlwaysOffSampler,
  AlwaysOnSampler,
  BatchSpanProcessor,
  ParentBasedSampler,
  TraceIdRatioBasedSampler,
  TracerProvider,
  type Sampler,
} from '@opentelemetry/sdk-trace';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { RequestStage } from '../../admission/types.ts';
import { openTelemetryVariable } from '../../base/env.ts';
import type { RequestSummary } from './request-metrics.ts';

/** How long a stopping server waits for its last spans to be sent. */
const LAST_SPANS_MS = 2000;
const ENGINE_STAGES: readonly RequestStage[] = ['probe', 'decode', 'encode', 'prefill', 'generate'];

/** The span of one request, and the stage it is in. */
export class RequestTrace {
  readonly traceId: string;
  /** of W3C Trace Context: what a request that this one causes is sent with */
  readonly traceparent: string;
  readonly #tracer: Tracer;
  readonly #root: Span;
  readonly #context: Context;
  #stage: Span | undefined;

  constructor(tracer: Tracer, { method, headers, id, routeOptions }: FastifyRequest) {
    const parent = new W3CTraceContextPropagator().extract(ROOT_CONTEXT, headers, defaultTextMapGetter);
    const route = routeOptions.url ?? '';
    const attributes = { 'http.request.method': method, 'http.route': route, 'avocado.request.id': id };
    this.#tracer = tracer;
    this.#root = tracer.startSpan(`${method} ${route}`, { kind: SpanKind.SERVER, attributes }, parent);
    this.#context = trace.setSpan(parent, this.#root);
    const { traceId, spanId, traceFlags } = this.#root.spanContext();
    this.traceId = traceId;
    this.traceparent = `00-${traceId}-${spanId}-${traceFlags.toString(16).padStart(2, '0')}`;
  }

  /** The request has come to this stage; the one before it is over. */
  stage(name: RequestStage): void {
    this.#stage?.end();
    const attributes = { 'avocado.process': ENGINE_STAGES.includes(name) ? 'engine' : 'server' };
    this.#stage = this.#tracer.startSpan(name, { attributes }, this.#context);
  }

  end(status: number | undefined, summary: RequestSummary | undefined): void {
    this.#stage?.end();
    this.#root.setAttributes({
      ...(status === undefined ? {} : { 'http.response.status_code': status }),
      ...(summary === undefined ? {} : attributesOf(summary)),
    });
    if (summary?.outcome === 'error') this.#root.setStatus({ code: SpanStatusCode.ERROR });
    this.#root.end();
  }
}

/** No file name, no URL and no word of anybody, as in metrics. */
function attributesOf({ outcome, code, generatedTokens, task, end }: RequestSummary): Attributes {
  const seconds = Object.entries(end?.timings.stages ?? {}).map(([stage, value]) => [
    `avocado.seconds.${stage}`,
    value,
  ]);
  return {
    'avocado.outcome': outcome,
    ...(code === undefined ? {} : { 'error.type': code }),
    ...(task === undefined ? {} : { 'avocado.class': task.request.priority, 'avocado.source': task.source.kind }),
    ...(end === undefined ? {} : { 'gen_ai.usage.input_tokens': end.usage.promptTokens }),
    'gen_ai.usage.output_tokens': generatedTokens,
    ...(Object.fromEntries(seconds) as Attributes),
  };
}

/** OTEL_TRACES_SAMPLER, as OpenTelemetry's specification has it. */
function sampler(): Sampler {
  const name = openTelemetryVariable('OTEL_TRACES_SAMPLER') ?? 'parentbased_always_on';
  const ratio = Number(openTelemetryVariable('OTEL_TRACES_SAMPLER_ARG') ?? 1);
  const root = name.endsWith('always_off')
    ? new AlwaysOffSampler()
    : name.endsWith('traceidratio')
      ? new TraceIdRatioBasedSampler(ratio)
      : new AlwaysOnSampler();
  return name.startsWith('parentbased_') ? new ParentBasedSampler({ root }) : root;
}

/**
 * Traces every request that does work. Endpoint, headers and timeouts are read by OpenTelemetry's exporter from its own
 * variables. To be called after every request has its context. Closing the app sends what is left.
 */
export function addTracing(app: FastifyInstance, version: string): void {
  const provider = new TracerProvider({
    resource: defaultResource()
      .merge(resourceFromAttributes({ 'service.name': 'avocado-captioner', 'service.version': version }))
      .merge(detectResources({ detectors: [envDetector] })),
    sampler: sampler(),
    spanProcessors: [new BatchSpanProcessor({ exporter: new OTLPTraceExporter() })],
  });
  const tracer = provider.getTracer('avocado-captioner', version);
  if (openTelemetryVariable('OTEL_EXPORTER_OTLP_PROTOCOL') === 'grpc')
    app.log.warn('Traces are sent as OTLP over HTTP with JSON, not gRPC: give the endpoint of a receiver for that.');
  app.addHook('onRequest', (request, reply, done) => {
    if (request.routeOptions.config.route?.limit !== 'work') {
      done();
      return;
    }
    const requestTrace = new RequestTrace(tracer, request);
    request.context.trace = requestTrace;
    void reply.header('traceresponse', requestTrace.traceparent);
    request.context.defer(() => {
      const status = reply.raw.headersSent ? reply.raw.statusCode : undefined;
      void Promise.resolve(request.context.work).then(() => {
        requestTrace.end(status, request.context.observation?.summary);
      });
    });
    done();
  });
  app.addHook('onClose', async () => {
    await provider.forceFlush({ timeoutMillis: LAST_SPANS_MS }).catch(() => undefined); // nobody to tell
    void provider.shutdown().catch(() => undefined);
  });
}
