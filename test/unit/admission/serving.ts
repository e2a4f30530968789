// A service over a fake captioner, with everything it tells an observer.
import { captionRequest } from '../../../src/captioner/caption-options.ts';
import type { Captioner } from '../../../src/captioner/captioner.ts';
import { Admission, type AdmissionSettings } from '../../../src/admission/admission.ts';
import type { AdmittedRequest } from '../../../src/admission/request.ts';
import type { CaptionTask, RequestStage, Refusal } from '../../../src/admission/types.ts';
import type { Priority } from '../../../src/base/priority-turns.ts';
import type { CaptionEvent } from '../../../src/output/events.ts';
import { fakeSource } from '../../fixtures/fake-source.ts';

export interface Observed {
  readonly rejected: Refusal[];
  readonly cancelled: RequestStage[];
  readonly queued: Priority[];
  readonly fetched: string[];
}

export interface Served extends Observed {
  readonly service: Admission;
}

export function serve(captioner: Captioner, limits: Partial<AdmissionSettings> = {}): Served {
  const observed: Observed = { rejected: [], cancelled: [], queued: [], fetched: [] };
  const settings = { maxReceiving: 256, maxQueueSeconds: 600, prepareAhead: 0, maxTimeoutSeconds: 60, ...limits };
  const service = new Admission(captioner, settings, {
    rejected: (reason) => observed.rejected.push(reason),
    cancelled: (stage) => observed.cancelled.push(stage),
    queued: (_seconds, priority) => observed.queued.push(priority),
    fetched: (kind) => observed.fetched.push(kind),
  });
  return { service, ...observed };
}

export function job(
  options: Record<string, unknown> = {},
  more: Partial<CaptionTask> & { readonly priority?: Priority } = {},
): CaptionTask {
  const { priority = 'interactive', ...rest } = more;
  return {
    source: fakeSource(),
    request: { ...captionRequest('', options), priority },
    timeoutSeconds: undefined,
    ...rest,
  };
}

/** One job from its admission to its end. */
export async function runJob(
  service: Admission,
  of: CaptionTask,
  id = 'one',
  watch: (event: CaptionEvent, admitted: AdmittedRequest) => void = () => undefined,
): Promise<CaptionEvent[]> {
  const admitted = service.admit(id);
  const events: CaptionEvent[] = [];
  try {
    for await (const event of admitted.run(of)) {
      events.push(event);
      watch(event, admitted);
    }
  } finally {
    admitted.end();
  }
  return events;
}

export function typesOf(events: readonly CaptionEvent[]): string[] {
  return events.map((event) => (event.type === 'stage' ? event.stage : event.type));
}

/** A service that nobody uses. */
export const IDLE = {
  alive: 0,
  waiting: { interactive: 0, batch: 0 },
  queueWorkSeconds: 0,
  queueTokens: 0,
  byStage: {},
};
