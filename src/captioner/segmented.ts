// A long file as a caption in segments: each is an ordinary request for a part of the file, and their captions with
// their times are the answer.
import { AvocadoError, asAvocadoError } from '../base/errors.ts';
import { withSignal } from '../base/abort.ts';
import { clockOf } from '../media/part.ts';
import type { MediaProbe } from '../media/types.ts';
import type {
  CaptionEnd,
  CaptionEvent,
  CaptionRequest,
  MediaReport,
  RequestedSegments,
  SegmentCaption,
} from '../output/events.ts';
import { Stopwatch } from '../output/timings.ts';
import { segmentRules } from '../segments/choose-cut.ts';
import { scanFile } from '../segments/scan.ts';
import { segmentFile, type Segment } from '../segments/segment-file.ts';
import type { Estimate, SubmitOptions } from './captioner.ts';
import { InOrder } from './in-order.ts';
import { runPipeline, type CaptionerContext } from './pipeline.ts';
import { estimateOf, planRequest, type PlanningModel, type ProbeCache } from './plan.ts';
import { segmentedEnd, usageOfNothing, type EndedSegment } from './segmented-answer.ts';

/** `auto`: a longer file is captioned in segments. */
const AUTO_SECONDS = 120;

/** A request for segments, and what of the file is captioned. */
export interface SegmentedRequest extends CaptionRequest {
  readonly segments: RequestedSegments;
}

export function isSegmented(request: CaptionRequest): request is SegmentedRequest {
  return request.segments !== undefined;
}

interface SegmentedPlan {
  readonly probe: MediaProbe;
  /** seconds of the file */
  readonly start: number;
  readonly end: number;
  readonly estimate: Estimate;
}

/**
 * Plans segments, without looking at the file. Undefined where the file is captioned in one piece.
 * @throws AvocadoError as planRequest, and why a segment does not fit the context
 */
async function planSegments(
  request: SegmentedRequest,
  model: PlanningModel,
  probes: ProbeCache,
  signal: AbortSignal | undefined,
): Promise<SegmentedPlan | undefined> {
  const probe = await probes.getTimed(request, signal);
  if (probe.video?.still === true) return undefined;
  const { durationSeconds } = clockOf(probe);
  const start = request.part?.start ?? 0;
  const end = Math.min(request.part?.end ?? Infinity, durationSeconds);
  const whole = { ...request, segments: undefined, part: request.part ?? { rule: 'time' as const } };
  if (request.segments.when === 'auto' && end - start <= AUTO_SECONDS) {
    const plan = await planRequest(whole, model, probes, signal);
    if (plan.refusal?.code !== 'context_length_exceeded') return undefined;
  } else await probes.get(whole, signal); // refuses a part that is none of the file's
  const { target } = segmentRules(request.segments.targetSeconds);
  const seconds = Math.min(target, end - start);
  const typical = { rule: 'time' as const, start, end: seconds === end - start ? undefined : start + seconds };
  const plan = await planRequest({ ...whole, part: typical }, model, probes, signal);
  if (plan.refusal !== undefined) throw plan.refusal;
  const count = Math.max(1, Math.round((end - start) / target));
  return { probe, start, end, estimate: scaled(estimateOf(plan, model.context), count, end - start) };
}

/** Pictures that are looked at for shot changes, as a share of all. */
const SCANNED_SHARE = 0.15;

/** The estimate of one segment as that of all. */
function scaled(one: Estimate, count: number, durationSeconds: number): Estimate {
  const { video, audio, promptTokens } = one;
  const seconds = one.durationSeconds;
  const times = (value: number): number => value * count;
  const { text, total } = promptTokens;
  return {
    ...one,
    durationSeconds,
    decodeMegapixels: one.decodeMegapixels * (1 + SCANNED_SHARE) * (durationSeconds / Math.max(1, seconds)),
    video: video && { ...video, frames: times(video.frames), tokens: times(video.tokens) },
    audio: { ...audio, seconds: audio.used ? durationSeconds : 0, tokens: times(audio.tokens) },
    promptTokens: {
      text: times(text),
      total: times(total),
      video: times(promptTokens.video),
      image: times(promptTokens.image),
      audio: times(promptTokens.audio),
    },
    maxTokens: times(one.maxTokens),
    segments: { count, seconds, promptTokens: total, maxTokens: one.maxTokens },
  };
}

/** What a caption in segments would take; of a file that is captioned in one piece, what that takes. */
export async function estimateSegments(
  request: SegmentedRequest,
  model: PlanningModel,
  probes: ProbeCache,
  signal: AbortSignal | undefined,
): Promise<Estimate> {
  const plan = await planSegments(request, model, probes, signal);
  if (plan !== undefined) return plan.estimate;
  return estimateOf(await planRequest({ ...request, segments: undefined }, model, probes, signal), model.context);
}

/** As runPipeline, in segments where the request and the file want it. */
export async function runSegments(
  request: CaptionRequest,
  context: CaptionerContext,
  options: SubmitOptions,
): Promise<void> {
  if (!isSegmented(request)) {
    await runPipeline(request, context, options);
    return;
  }
  const { signal, onEvent, admit } = options;
  const watch = new Stopwatch();
  onEvent({ type: 'stage', stage: 'probe', done: 0, total: 1 });
  const plan = await watch.time('probe', planSegments(request, context, context.probes, signal));
  if (plan === undefined) {
    await runPipeline({ ...request, segments: undefined, finished: undefined }, context, options);
    return;
  }
  if (admit !== undefined) await withSignal(admit(plan.estimate), signal);
  const { estimate, probe } = plan;
  const media = plannedMedia(estimate, probe, request.part === undefined ? undefined : plan);
  onEvent({ type: 'media', media, profile: estimate.profile, promptTokens: estimate.promptTokens });
  const run = new SegmentedRun(request, context, plan, watch, options);
  const ends = await run.captionAll();
  onEvent(segmentedEnd(ends, { media, profile: estimate.profile }, watch, run.firstTokenSeconds));
}

/** What will be seen and heard, before the first segment is decoded. */
function plannedMedia(
  { kind, durationSeconds, video, audio }: Estimate,
  probe: MediaProbe,
  part: Pick<SegmentedPlan, 'start' | 'end'> | undefined,
): MediaReport {
  const source = probe.video;
  return {
    kind,
    durationSeconds,
    part: part && { start: part.start, end: part.end },
    video: video &&
      source && {
        ...video,
        sourceFps: source.averageFps,
        sourceWidth: source.width,
        sourceHeight: source.height,
        codec: source.codec,
      },
    audio: { ...audio, codec: probe.audio?.codec },
    warnings: probe.warnings ?? [],
  };
}

/** Segments that are prepared while others hold the engine's slots. */
const AHEAD = 1;

class SegmentedRun {
  readonly #request: SegmentedRequest;
  readonly #context: CaptionerContext;
  readonly #plan: SegmentedPlan;
  readonly #watch: Stopwatch;
  readonly #failed = new AbortController();
  /** what the first segment threw that failed */
  #failure: { readonly thrown: unknown } | undefined;
  readonly #signal: AbortSignal;
  readonly #order: InOrder<CaptionEvent>;
  readonly #ended: EndedSegment[] = [];
  firstTokenSeconds: number | undefined;
  #onFirstToken: () => void = () => undefined;

  constructor(
    request: SegmentedRequest,
    context: CaptionerContext,
    plan: SegmentedPlan,
    watch: Stopwatch,
    { signal, onEvent }: SubmitOptions,
  ) {
    this.#request = request;
    this.#context = context;
    this.#plan = plan;
    this.#watch = watch;
    this.#signal = AbortSignal.any([signal, this.#failed.signal]);
    this.#order = new InOrder(onEvent);
  }

  /**
   * Cuts the file while its segments are captioned, a few at a time. Rejects once all of them have stopped.
   * @throws what failed a segment, unless it is a defect of the media there; then its first error if all failed
   */
  async captionAll(): Promise<readonly EndedSegment[]> {
    const { probe, start, end } = this.#plan;
    const { decodeTimeoutSeconds: timeoutSeconds, segmentsAtOnce } = this.#context;
    const hold = this.#request.priority === 'batch' ? this.#context.foreground : undefined;
    const scan = scanFile(probe, { signal: this.#signal, timeoutSeconds, hold });
    const atOnce = this.#request.carry ? 1 : segmentsAtOnce + AHEAD;
    const running = new Set<Promise<void>>();
    const from = this.#takeOver();
    const firstToken = new Promise<void>((resolve) => {
      this.#onFirstToken = resolve;
    });
    const rules = segmentRules(this.#request.segments.targetSeconds);
    try {
      const left = from < end || from === start ? segmentFile(scan, from, end, rules, this.#ended.length) : [];
      for await (const segment of left) {
        const work = this.#caption(segment).finally(() => running.delete(work));
        work.catch((thrown: unknown) => {
          this.#failure ??= { thrown };
          this.#failed.abort();
        });
        running.add(work);
        // The first words come first: what follows would take their share of the processor.
        if (segment.start === from && atOnce > 1) await Promise.race([work, firstToken]);
        else if (running.size >= atOnce) await Promise.race(running);
      }
      await Promise.all(running);
    } catch (thrown) {
      // What is stopped by a failed segment, such as the search for the next cut, only says that it was stopped.
      throw this.#failure === undefined ? thrown : this.#failure.thrown;
    } finally {
      this.#failed.abort();
      await Promise.allSettled(running);
    }
    const failure = this.#ended.every(({ caption }) => caption.error !== undefined)
      ? this.#ended[0]?.caption.error
      : undefined;
    if (failure !== undefined) throw new AvocadoError(failure.code, failure.message);
    return this.#ended;
  }

  /** Segments of an earlier try, as long as one follows the other. @returns where the next begins, seconds */
  #takeOver(): number {
    let from = this.#plan.start;
    for (const caption of this.#request.finished ?? []) {
      const { index, start, end } = caption;
      if (index !== this.#ended.length || start !== from || !(end > start && end <= this.#plan.end)) break;
      this.#order.emit(index, { type: 'segment-start', index, start, end });
      this.#order.emit(index, { type: 'segment-end', ...caption });
      this.#order.end(index);
      this.#ended.push({ caption, end: undefined });
      from = end;
    }
    return from;
  }

  async #caption(segment: Segment): Promise<void> {
    const { index, start, end } = segment;
    const emit = (event: CaptionEvent): void => {
      this.#order.emit(index, event);
    };
    emit({ type: 'segment-start', index, start, end });
    let ended: CaptionEnd | undefined;
    let failure: AvocadoError | undefined;
    const onEvent = (event: CaptionEvent): void => {
      if (event.type === 'caption-end') ended = event;
      else if (event.type === 'text-delta') {
        this.firstTokenSeconds ??= this.#watch.elapsed();
        this.#onFirstToken();
        emit({ ...event, segment: index });
      } else if (event.type === 'stage' && event.stage !== 'probe') emit(event);
    };
    const { video, image, audio } = this.#plan.estimate.promptTokens;
    const fileTokens = video + image + audio;
    try {
      const request = await this.#requestFor(segment);
      await runPipeline(request, this.#context, { signal: this.#signal, onEvent, fileTokens });
      if (ended === undefined) throw new Error('A segment stopped without an ending. This is a bug.');
    } catch (thrown) {
      failure = asAvocadoError(thrown);
      if (this.#signal.aborted || !failure.code.startsWith('media_')) throw thrown;
    }
    const caption: SegmentCaption = {
      ...{ index, start, end },
      caption: ended?.caption.trim() ?? '',
      finishReason: ended?.finishReason ?? 'stop',
      usage: ended?.usage ?? usageOfNothing,
      media: ended?.media,
      scenes: ended?.segments,
      error: failure && { code: failure.code, message: failure.message },
    };
    this.#ended[index] = { caption, end: ended };
    emit({ type: 'segment-end', ...caption });
    this.#order.end(index);
  }

  async #requestFor({ index, start, end }: Segment): Promise<CaptionRequest> {
    const isLast = end === this.#plan.end && this.#request.part?.end === undefined;
    const part = { rule: 'time', start, end: isLast ? undefined : end } as const;
    const request: CaptionRequest = { ...this.#request, segments: undefined, finished: undefined, part };
    const before = this.#request.carry === true ? this.#ended[index - 1]?.caption.caption : undefined;
    if (before === undefined || before === '') return request;
    const carried = { ...request, before };
    const { refusal } = await planRequest(carried, this.#context, this.#context.probes, this.#signal);
    return refusal === undefined ? carried : request;
  }
}
