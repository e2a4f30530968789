import { Registry } from 'prom-client';
import { jobCounters } from '../../src/server/observe/job-metrics.ts';
import { addReadings, type ReadingParts } from '../../src/server/observe/metrics.ts';
import { requestMetrics } from '../../src/server/observe/request-metrics.ts';

/** prom-client keeps these on a metric, but its types do not show them. */
interface Described {
  readonly name: string;
  readonly help: string;
  readonly type: string;
  readonly labelNames: readonly string[];
}

/** Registering reads nothing, so the parts may be empty. */
const NO_PARTS = {
  captioner: { stats: () => undefined, status: () => undefined },
} as unknown as ReadingParts;

function rowsOf(registry: Registry, prefix: string): string {
  const metrics = registry.getMetricsAsArray() as unknown as readonly Described[];
  const typeOf = (name: string): string => registry.getSingleMetric(name)?.constructor.name.toLowerCase() ?? '';
  return metrics
    .filter(({ name }) => name.startsWith(prefix))
    .map(({ name, help, labelNames }) => {
      const labels = labelNames.map((label) => `\`${label}\``).join(', ');
      return `| \`${name}\` | ${typeOf(name)} | ${labels} | ${help} |`;
    })
    .join('\n');
}

/** The whole of metrics.md. */
export function metricsPage(): string {
  const registry = new Registry();
  addReadings(registry, NO_PARTS, 'vllm').close();
  jobCounters(registry);
  requestMetrics(registry, () => 'model');
  return `# Metrics

<!-- Generated from src/server/observe by test/docs/make-pages.ts: do not edit by hand. -->

\`GET /metrics\` answers in the text format of Prometheus. No label ever holds a file name, a URL, a key name or a
person's words. The usual \`process_*\` and \`nodejs_*\` metrics of prom-client are there too, for the server process.

| name | type | labels | meaning |
|---|---|---|---|
${rowsOf(registry, 'avocado_')}

Useful questions:

* **Is it overloaded?** \`avocado_queue_work_seconds\` is the estimated admitted work that is not done yet; autoscale on it.
  Refusals count in \`avocado_requests_rejected_total\`.
* **Is it slow?** \`avocado_time_to_first_token_seconds\` and \`avocado_inter_token_seconds\` for clients,
  \`avocado_stage_duration_seconds\` for where the time goes.
* **Is it stuck?** \`avocado_engine_last_step_timestamp_seconds\` and \`avocado_engine_restarts_total\`.

## Names of vLLM

With \`--metrics-compat vllm\` the server also exports these, for dashboards and autoscalers that read them.

| name | type | labels | meaning |
|---|---|---|---|
${rowsOf(registry, 'vllm:')}
`;
}
