// Values that the chart refuses: by its schema, and by its templates where values contradict each other.
import { describe, expect, it } from 'vitest';
import { HELM, helm } from '../fixtures/helm.ts';
import { CHART, chartOf, type Values } from '../fixtures/rendered-chart.ts';
import { scratchDirectory } from '../fixtures/scratch.ts';

const scratch = scratchDirectory();

/** Values that the schema refuses, and what it says of each. */
const REFUSED: readonly (readonly [values: Values, said: RegExp])[] = [
  [{ replica: 2 }, /'replica' not allowed/],
  [{ image: { tags: 'x' } }, /'tags' not allowed/],
  [{ settings: { slot: 3 } }, /'slot' not allowed/],
  [{ settings: { port: 80 } }, /'port' not allowed/],
  [{ settings: { slots: 'many' } }, /\/settings\/slots'.*want number/],
  [{ device: 'gpu' }, /\/device'.*'cpu', 'cuda'/],
  [{ replicas: -1 }, /\/replicas'/],
  [{ drainSeconds: 1.5 }, /\/drainSeconds'/],
  [{ model: { path: '../secret' } }, /\/model\/path'/],
  [{ autoscaling: { keda: { minReplicas: 0 } } }, /\/autoscaling\/keda\/minReplicas'/],
  [{ metrics: { prometheusRule: { firstTokenSeconds: 7 } } }, /firstTokenSeconds'/],
  [{ metrics: { credentials: { name: 'x' } } }, /credentials'/],
  [{ networkPolicy: { egress: { ports: ['http'] } } }, /ports\/0'/],
  [{ cache: { type: 'hostPath' } }, /\/cache\/type'/],
  [{ temporary: { sizeLimit: 'much' } }, /\/temporary\/sizeLimit'/],
  [{ jobs: { workers: { settings: { slot: 3 } } } }, /'slot' not allowed/],
  [{ settings: { database: 'postgres://…' } }, /'database' not allowed/],
  [{ jobs: { database: { port: 0 } } }, /\/jobs\/database\/port'/],
  [{ probes: { readiness: { path: '/healthz' } } }, /\/probes\/readiness\/path'/],
];

/** Combinations that the templates refuse, and what they say of each. */
const CONTRADICTIONS: readonly (readonly [flags: string, said: string])[] = [
  ['autoscaling.hpa.enabled=true,autoscaling.keda.enabled=true', 'Enable one.'],
  ['autoscaling.hpa.enabled=true,autoscaling.hpa.minReplicas=9', 'must not be less than minReplicas'],
  ['metrics.serviceMonitor.enabled=true,metrics.podMonitor.enabled=true', 'scraped twice'],
  ['ingress.enabled=true,ingress.hosts={a.example}', 'Set apiKeys.existingSecret'],
  ['jobs.workers.enabled=true', 'needs jobs.database.existingSecret'],
  ['jobs.workers.keda.enabled=true', 'set jobs.workers.enabled=true'],
  ['jobs.database.existingSecret=db,settings.jobs_dir=/jobs', 'exclude each other'],
  ['model.source=image', 'needs model.image.reference'],
  ['model.source=emptyDir', 'enable model.init'],
  ['model.init.enabled=true,model.init.image=x', 'model.source is neither'],
];

describe.skipIf(HELM === undefined)('wrong values', () => {
  it('are refused by the schema, which names each', async () => {
    const sets = REFUSED.map(([values]) => values);
    const { failed, stderr } = await helm('template', 'r', chartOf(scratch('wrong'), sets));
    expect(failed).toBe(true);
    for (const [index, [, said]] of REFUSED.entries())
      expect(new RegExp(`^c${index}:\\n([^]*?)(?=^c\\d+:|$(?![^]))`, 'm').exec(stderr)?.[1] ?? stderr).toMatch(said);
  });

  it.each(CONTRADICTIONS)('are refused where they contradict each other: %s', async (flags, said) => {
    const { failed, stderr } = await helm('template', 'r', CHART, '--set', flags);
    expect(failed).toBe(true);
    expect(stderr).toContain(said);
  });
});
