// A captioner whose captions in segments end as one text, where a text model is at hand.
import { AvocadoError } from '../base/errors.ts';
import { endingOf } from '../output/ending.ts';
import type { CaptionEnd, MergeReport } from '../output/events.ts';
import type { Captioner, SubmitOptions } from './captioner.ts';
import { mergeSegments, MergeRefused, type TextModel } from './merge.ts';

export interface MergeOptions {
  readonly model: TextModel;
  /** of all questions about one caption together */
  readonly timeoutMs: number;
}

/**
 * The same captioner, but that the end of a caption in segments has the merged text. Its events come as without, and
 * `merge` stages before its end. A text model that fails costs no caption: it is the timeline then, with a warning.
 * @param merge undefined: there is no text model, and a request that asks for one is refused
 */
export function mergingCaptioner(captioner: Captioner, merge: MergeOptions | undefined): Captioner {
  return {
    get model() {
      return captioner.model;
    },
    status: () => captioner.status(),
    stats: () => captioner.stats(),
    estimate: (request, signal) => captioner.estimate(request, signal),
    close: () => captioner.close(),
    submit: async ({ merge: wanted, ...request }, options) => {
      if (merge === undefined && wanted === true) {
        const message = 'There is no text model to merge with: the operator names one with --merge-url.';
        options.onEvent(endingOf(new AvocadoError('bad_request', message, { param: 'merge' }), options.signal));
      } else if (merge === undefined || wanted === false || request.segments === undefined)
        await captioner.submit(request, options);
      else await submitMerging(captioner, request, options, merge);
    },
  };
}

async function submitMerging(
  captioner: Captioner,
  request: Parameters<Captioner['submit']>[0],
  options: SubmitOptions,
  merge: MergeOptions,
): Promise<void> {
  const { signal, onEvent } = options;
  let end: CaptionEnd | undefined;
  await captioner.submit(request, {
    ...options,
    onEvent: (event) => {
      // A file in one piece has nothing to merge, nor have the scenes of one caption.
      if (event.type === 'caption-end' && event.segments?.some(({ timedBy }) => timedBy === undefined) === true)
        end = event;
      else onEvent(event);
    },
  });
  if (end === undefined) return;
  try {
    onEvent(await merged(end, options, merge));
  } catch (thrown) {
    onEvent(endingOf(thrown, signal));
  }
}

/** @throws the signal's reason */
async function merged(
  end: CaptionEnd,
  options: SubmitOptions,
  { model, timeoutMs }: MergeOptions,
): Promise<CaptionEnd> {
  const { signal, onEvent } = options;
  const startedMs = performance.now();
  const timeout = AbortSignal.timeout(timeoutMs);
  const onStep = (done: number, total: number): void => {
    onEvent({ type: 'stage', stage: 'merge', done, total });
  };
  let caption: string | undefined;
  let report: MergeReport;
  try {
    const result = await mergeSegments(end.segments ?? [], model, AbortSignal.any([signal, timeout]), onStep);
    if (result === undefined) return end;
    caption = result.caption;
    report = { status: 'merged', model: model.model, usage: result.usage };
  } catch (thrown) {
    signal.throwIfAborted();
    if (!(thrown instanceof Error)) throw thrown;
    const late = `The text model did not finish within ${timeoutMs / 1000} s: --merge-timeout allows more.`;
    const reason = timeout.aborted ? late : thrown.message;
    report = { status: thrown instanceof MergeRefused ? 'refused' : 'failed', model: model.model, reason };
  }
  const seconds = (performance.now() - startedMs) / 1000;
  const { timings, media } = end;
  const warnings =
    report.reason === undefined
      ? media.warnings
      : [...media.warnings, `The caption is the timeline of its segments, not one text. ${report.reason}`];
  return {
    ...end,
    caption: caption ?? end.caption,
    merge: report,
    media: { ...media, warnings },
    timings: {
      ...timings,
      totalSeconds: timings.totalSeconds + seconds,
      stages: { ...timings.stages, merge: seconds },
    },
  };
}
