// A job's way after admission, in order: fetch, estimate, queue, engine. Errors are thrown; the service makes endings of them.
import type { Captioner, Estimate } from '../captioner/captioner.ts';
import { withSignal } from '../base/abort.ts';
import { AvocadoError } from '../base/errors.ts';
import type { LocalFile, MediaSource } from '../intake/media-source.ts';
import type { CaptionEnd, CaptionEvent, CaptionRequest } from '../output/events.ts';
import type { AdmissionQueue, Ticket } from './admission-queue.ts';
import type { Lifetime } from './lifetime.ts';
import type { CaptionTask, ServingObserver } from './types.ts';
import { whileWaiting } from './while-waiting.ts';
import { endingWithSignal } from './with-signal.ts';
import { secondsOf, type Work, type WorkModel } from './work-model.ts';

export interface StoryParts {
  readonly captioner: Captioner;
  readonly observer: ServingObserver;
  readonly queue: AdmissionQueue;
  readonly model: WorkModel;
}

/** One job and what it holds. */
export interface Told {
  readonly job: CaptionTask;
  readonly life: Lifetime;
  readonly ticket: Ticket;
  /** where the file lies, once it does */
  path: string | undefined;
}

/** Between two progress events of a download. */
const PROGRESS_EVERY_MS = 250;
/** An aborted caption ends within a step; one that has not after so long hangs. */
const ABORT_GRACE_MS = 5000;

/** Brings the file onto this disk; seconds count from admission, since an upload was received before. */
export async function* fetchFile(
  told: Told,
  { observer }: StoryParts,
): AsyncGenerator<CaptionEvent, LocalFile & { readonly seconds: number }> {
  const {
    job: { source },
    life,
  } = told;
  life.stage = 'fetch';
  if (source.kind === 'url') yield { type: 'stage', stage: 'fetch', done: 0, total: 0 };
  const open = async (report: (event: CaptionEvent) => void): Promise<LocalFile> => {
    life.signal.throwIfAborted();
    return await withSignal(source.open({ signal: life.signal, onProgress: progressOf(source, report) }), life.signal);
  };
  const file = yield* whileWaiting(open, PROGRESS_EVERY_MS);
  told.path = file.path;
  observer.fetched(source.kind, life.elapsedSeconds, file.path);
  return { ...file, seconds: life.elapsedSeconds };
}

/** What lies here already is not worth a progress bar. */
function progressOf(
  { kind }: MediaSource,
  report: (event: CaptionEvent) => void,
): ((done: number, total: number | undefined) => void) | undefined {
  if (kind !== 'url') return undefined;
  return (done, total) => {
    report({ type: 'stage', stage: 'fetch', done, total: total ?? 0 });
  };
}

export interface Weighed {
  readonly request: CaptionRequest;
  readonly estimate: Estimate;
  readonly work: Work;
}

/** Reads the file's headers: what is bad is told now, before a frame is decoded. Waits while the engine (re)starts. */
export async function weigh({ job, life }: Told, file: LocalFile, { captioner, model }: StoryParts): Promise<Weighed> {
  life.stage = 'probe';
  const request = { ...job.request, path: file.path, contentHash: file.contentHash };
  const estimate = await withSignal(captioner.estimate(request, life.signal), life.signal);
  return { request, estimate, work: model.work(estimate, request.samples) };
}

function refuseTooLong({ estimate, request: { maxTokens } }: Weighed): void {
  if (estimate.fits) return;
  const {
    promptTokens: { total },
    context,
  } = estimate;
  const left = context - total;
  throw new AvocadoError(
    'context_length_exceeded',
    left > 0 && maxTokens !== undefined
      ? `The prompt has ${total} of the context's ${context} tokens, which leaves ${left} for the caption, not max_tokens = ${maxTokens}. Ask for fewer.`
      : `The prompt has ${total} tokens, more than the context of ${context} holds beside a caption. Take a shorter clip, or lower fps, max_frames or max_pixels.`,
    left > 0 && maxTokens !== undefined ? { param: 'max_tokens' } : {},
  );
}

async function* awaitTurn({ job, life, ticket }: Told): AsyncGenerator<CaptionEvent> {
  life.stage = 'queued';
  const turn = (report: (ahead: number) => void): Promise<void> =>
    withSignal(ticket.turn(job.request.priority, report), life.signal);
  for await (const ahead of whileWaiting(turn)) yield { type: 'stage', stage: 'queued', done: 0, total: ahead };
}

/** What is still to be done counts in the queue, not what is done. */
function countDown(ticket: Ticket, work: Work, event: CaptionEvent, generated: number): void {
  if (event.type === 'media') ticket.remain(work.prefillSeconds + work.generateSeconds, work.tokens);
  if (event.type !== 'text-delta') return;
  const expected = Math.max(1, work.completionTokens);
  const part = Math.max(0, 1 - generated / expected);
  ticket.remain(work.generateSeconds * part, Math.ceil(work.completionTokens * part));
}

interface Seconds {
  readonly fetch: number;
  readonly queue: number;
}

async function* inEngine(
  { life, ticket }: Told,
  { request, estimate, work }: Weighed,
  seconds: Seconds,
  parts: StoryParts,
): AsyncGenerator<CaptionEvent> {
  const { captioner, queue, model } = parts;
  const waits = queue.running > captioner.model.slots;
  const startedMs = performance.now();
  let firstTokenSeconds: number | undefined;
  let generated = 0;
  for await (const event of endingWithSignal(captioner.caption(request, life.signal), life.signal, ABORT_GRACE_MS)) {
    if (event.type === 'stage') {
      life.stage = event.stage;
      if (event.stage === 'probe') continue; // told before the queue
    }
    if (event.type === 'text-delta') {
      life.stage = 'generate';
      firstTokenSeconds ??= life.elapsedSeconds;
      generated += event.tokenIds.length;
    }
    countDown(ticket, work, event, generated);
    if (event.type !== 'caption-end') {
      yield event;
      continue;
    }
    model.learn(estimate, event, waits);
    model.learnParallelism(secondsOf(work), (performance.now() - startedMs) / 1000, queue.running);
    yield withSeconds(event, seconds, { totalSeconds: life.elapsedSeconds, firstTokenSeconds });
  }
}

/** A client's clock starts when it asks. */
function withSeconds(
  end: CaptionEnd,
  seconds: Seconds,
  since: Pick<CaptionEnd['timings'], 'totalSeconds' | 'firstTokenSeconds'>,
): CaptionEnd {
  return { ...end, timings: { ...end.timings, ...since, stages: { ...seconds, ...end.timings.stages } } };
}

/** Throws for whatever ends it before the engine has it; the engine's own events end as the captioner promises. */
export async function* captionStory(told: Told, parts: StoryParts): AsyncGenerator<CaptionEvent> {
  const { life, ticket, job } = told;
  const file = yield* fetchFile(told, parts);
  yield { type: 'stage', stage: 'probe', done: 0, total: 1 };
  const weighed = await weigh(told, file, parts);
  refuseTooLong(weighed);
  ticket.weigh(secondsOf(weighed.work), weighed.work.tokens);
  const queuedMs = performance.now();
  yield* awaitTurn(told);
  const queue = (performance.now() - queuedMs) / 1000;
  parts.observer.queued(queue, job.request.priority);
  life.signal.throwIfAborted();
  yield* inEngine(told, weighed, { fetch: file.seconds, queue }, parts);
}
