// One admitted request: fetching → planned → queued → running → ended. It owns everything the request
// holds, and its one ending.
import { abortError, withSignal } from '../base/abort.ts';
import { asAvocadoError, AvocadoError } from '../base/errors.ts';
import { EventChannel } from '../base/event-channel.ts';
import type { Captioner, Estimate } from '../captioner/captioner.ts';
import type { LocalFile, MediaSource } from '../intake/media-source.ts';
import { endingOf, isEnding, type CaptionEnding } from '../output/ending.ts';
import type { CaptionEnd, CaptionEvent, CaptionRequest } from '../output/events.ts';
import { withFileTexts } from '../output/file-texts.ts';
import type { RequestLifecycle } from './lifecycle.ts';
import type { PlanningTurns } from './planning.ts';
import type { AdmissionQueue, Ticket } from './queue.ts';
import type { AdmissionObserver, CaptionTask, TaskEstimate } from './types.ts';
import { isLong, secondsOf, type EstimatedWork, type WorkModel } from './work-model.ts';

/** Between two progress events of a download. */
const PROGRESS_EVERY_MS = 250;
/**
 * A running caption ends within a step of its abort. After this its client gets the answer without it: well before the
 * server gives up a client that does not read its last event.
 */
const ABORT_GRACE_MS = 500;

/** What the requests of one server share. */
export interface RequestParts {
  readonly captioner: Captioner;
  readonly observer: AdmissionObserver;
  readonly queue: AdmissionQueue;
  readonly model: WorkModel;
  readonly planning: PlanningTurns;
}

type Emit = (event: CaptionEvent) => void;

/** A planned request: what it takes, and when it started. */
interface PlannedWork {
  readonly estimate: Estimate;
  readonly work: EstimatedWork;
  readonly queueSeconds: number;
  readonly startedMs: number;
  /** more requests than slots run, so its prefill may wait for a slot */
  readonly sharesSlots: boolean;
}

interface RequestHooks {
  /** of the server itself: see Ticket */
  readonly background: boolean;
  /** its body is here, or it ends without one; called any number of times */
  readonly received: () => void;
  readonly ended: () => void;
  /** sent along with a download */
  readonly traceparent?: string | undefined;
}

export class AdmittedRequest {
  readonly #lifecycle: RequestLifecycle;
  readonly #parts: RequestParts;
  readonly #hooks: RequestHooks;
  /** its place in the queue, from when its body is here */
  #ticket: Ticket | undefined;
  #source: MediaSource | undefined;
  /** of the fetched file: never shown to a client */
  #path: string | undefined;
  #contentHash: string | undefined;
  #ended = false;

  constructor(lifecycle: RequestLifecycle, parts: RequestParts, hooks: RequestHooks) {
    this.#lifecycle = lifecycle;
    this.#parts = parts;
    this.#hooks = hooks;
  }

  /** SHA-256 of the file in hex, once it is on this disk; undefined of a file that is read where it lies */
  get contentHash(): string | undefined {
    return this.#contentHash;
  }

  /** aborts when the client leaves, a deadline passes, the request is cancelled, or the server stops */
  get signal(): AbortSignal {
    return this.#lifecycle.signal;
  }

  /**
   * Captions the task's file. The channel ends in exactly one ending, after the file is released; its sentences name
   * the file as the client does. Leaving the iteration aborts the request. Called once.
   * @param onEnded the engine is done with it, whoever still reads the events
   * @throws AvocadoError `queue_full` when others took the last place while the body arrived
   */
  run(task: CaptionTask, onEnded: () => void = () => undefined): EventChannel<CaptionEvent> {
    const ticket = this.#begin(task);
    const channel = new EventChannel<CaptionEvent>(() => {
      this.#lifecycle.abort(new AvocadoError('aborted', 'The events of the caption are no longer read.'));
    });
    void this.#serve(task, ticket, channel).then(onEnded);
    return channel;
  }

  /** What captioning the task's file would take. Releases the file. @throws AvocadoError */
  async estimate(task: CaptionTask): Promise<TaskEstimate> {
    const { captioner, queue, model, planning } = this.#parts;
    this.#begin(task).setRemaining(0, 0);
    try {
      const request = requestOf(task, await this.#fetch(task, () => undefined));
      this.#lifecycle.stage = 'probe';
      const estimating = (): Promise<Estimate> => captioner.estimate(request, this.signal);
      const turn = planning.run(this.#lifecycle.sender, estimating, this.signal);
      const estimate = await withSignal(turn, this.signal);
      this.#lifecycle.finish();
      const workSeconds = secondsOf(model.work(estimate, captionsOf(estimate, request)));
      return { ...estimate, workSeconds, queueSeconds: queue.secondsToStart };
    } catch (thrown) {
      if (this.signal.aborted) throw abortError(this.signal);
      this.#lifecycle.finish();
      throw this.#publicError(asAvocadoError(thrown));
    } finally {
      await released(task.source);
    }
  }

  /** The client has left. */
  abort(): void {
    this.#lifecycle.abort(new AvocadoError('aborted', 'The client has left.'));
  }

  /** Always called in the end. */
  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    if (this.#source !== undefined) this.abort();
    if (this.#source !== undefined) void released(this.#source);
    const { abortedIn } = this.#lifecycle;
    this.#lifecycle.end();
    this.#hooks.received();
    this.#ticket?.leave();
    if (abortedIn !== undefined) this.#parts.observer.cancelled(abortedIn);
    this.#hooks.ended();
  }

  /** The body is here: from now on the request has a place in the queue. @throws AvocadoError `queue_full` */
  #begin({ source, timeoutSeconds }: CaptionTask): Ticket {
    this.#source = source;
    this.#hooks.received();
    this.#lifecycle.setDeadline(timeoutSeconds);
    try {
      this.#ticket = this.#parts.queue.admit({
        background: this.#hooks.background,
        sender: this.#lifecycle.sender,
      });
      return this.#ticket;
    } catch (thrown) {
      this.#lifecycle.finish(); // refused, whether or not it was aborted before
      throw thrown;
    }
  }

  /** The only place where a caption of this server ends. */
  async #serve(task: CaptionTask, ticket: Ticket, channel: EventChannel<CaptionEvent>): Promise<void> {
    let ending: CaptionEnding | undefined;
    const emit: Emit = (event) => {
      if (ending !== undefined) return;
      if (isEnding(event)) ending = event;
      else if (event.type === 'stage') channel.pushLatest(event, isSameStage(event.stage));
      else channel.push(withFileTexts(event, this.#publicText));
    };
    try {
      await this.#runStages(task, ticket, emit);
      emit(endingOf(new Error('The caption stopped without an ending.'), this.signal)); // ignored after an ending
    } catch (thrown) {
      emit(endingOf(thrown, this.signal));
    }
    const last = this.#publicEnding(ending ?? { type: 'caption-aborted' });
    if (ending?.type !== 'caption-aborted') this.#lifecycle.finish();
    ticket.leave();
    // A client that reads the ending finds its file gone and its place free.
    await released(task.source);
    channel.push(last);
    channel.close();
  }

  async #runStages(task: CaptionTask, ticket: Ticket, emit: Emit): Promise<void> {
    const file = await this.#fetch(task, emit);
    const fetchSeconds = this.#lifecycle.elapsedSeconds;
    this.#lifecycle.stage = 'probe';
    emit({ type: 'stage', stage: 'probe', done: 0, total: 1 });
    let planned: PlannedWork | undefined;
    const progress = new CaptionProgress(this.#lifecycle, ticket);
    const { captioner, planning } = this.#parts;
    const submit = (onPlanned: () => void): Promise<void> =>
      captioner.submit(requestOf(task, file), {
        signal: this.signal,
        admit: async (estimate) => {
          onPlanned();
          planned = await this.#awaitStart(task, ticket, estimate, emit);
        },
        onEvent: (event) => {
          if (event.type === 'stage' && event.stage === 'probe') return; // reported above
          progress.observe(event, planned?.work);
          if (event.type === 'caption-end' && planned !== undefined) this.#learn(planned, event);
          emit(event.type === 'caption-end' ? progress.timed(event, fetchSeconds, planned?.queueSeconds ?? 0) : event);
        },
      });
    const submitted = inTurn(submit, (work) => planning.run(this.#lifecycle.sender, work, this.signal));
    await endedOrAborted(submitted, this.signal, () => (planned === undefined ? 0 : ABORT_GRACE_MS));
  }

  /** Brings the file to this disk. */
  async #fetch({ source }: CaptionTask, emit: Emit): Promise<LocalFile> {
    this.#lifecycle.stage = 'fetch';
    const isDownload = source.kind === 'url'; // anything else is here already
    const report = (done: number, total: number): void => {
      if (isDownload) emit({ type: 'stage', stage: 'fetch', done, total });
    };
    report(0, 0);
    let reportedMs = -Infinity;
    const onProgress = (done: number, total: number | undefined): void => {
      if (performance.now() - reportedMs < PROGRESS_EVERY_MS) return;
      reportedMs = performance.now();
      report(done, total ?? 0);
    };
    if (this.signal.aborted) throw abortError(this.signal);
    const { traceparent } = this.#hooks;
    const file = await withSignal(source.open({ signal: this.signal, onProgress, traceparent }), this.signal);
    this.#path = file.path;
    this.#contentHash = file.contentHash;
    this.#parts.observer.fetched(source.kind, this.#lifecycle.elapsedSeconds, file.path);
    return file;
  }

  /** @throws AvocadoError `queue_full` when the work does not fit beside the others; the reason of an abort */
  async #awaitStart({ request }: CaptionTask, ticket: Ticket, estimate: Estimate, emit: Emit): Promise<PlannedWork> {
    const { queue, model, observer, captioner } = this.#parts;
    const work = model.work(estimate, captionsOf(estimate, request));
    ticket.setWork(secondsOf(work), work.tokens, isLong(work));
    this.#lifecycle.stage = 'queued';
    const queuedMs = performance.now();
    let reported: number | undefined;
    const started = ticket.awaitStart(request.priority, (ahead) => {
      if (ahead !== reported) emit({ type: 'stage', stage: 'queued', done: 0, total: ahead });
      reported = ahead;
    });
    await withSignal(started, this.signal);
    const queueSeconds = (performance.now() - queuedMs) / 1000;
    observer.queued(queueSeconds, request.priority);
    const sharesSlots = queue.running > captioner.model.slots;
    return { estimate, work, queueSeconds, startedMs: performance.now(), sharesSlots };
  }

  #learn({ estimate, work, startedMs, sharesSlots }: PlannedWork, end: CaptionEnd): void {
    const { model, queue } = this.#parts;
    model.learn(estimate, end, sharesSlots);
    if (isLong(work) || end.merge !== undefined) return; // its estimate is rough, and would outweigh many others
    model.learnParallelism(secondsOf(work), (performance.now() - startedMs) / 1000, queue.running);
  }

  /** Replaces our path of the file by the client's name for it. */
  readonly #publicText = (text: string): string => {
    const name = this.#source?.displayName ?? 'the file';
    // a function: `$&` in a string is special
    return this.#path === undefined ? text : text.replaceAll(this.#path, () => name);
  };

  #publicError({ code, message, param, retryAfterSeconds }: AvocadoError): AvocadoError {
    return new AvocadoError(code, this.#publicText(message), {
      ...(param === undefined ? {} : { param }),
      ...(retryAfterSeconds === undefined ? {} : { retryAfterSeconds }),
    });
  }

  #publicEnding(ending: CaptionEnding): CaptionEnding {
    if (ending.type !== 'caption-aborted') return withFileTexts(ending, this.#publicText);
    const reason = this.signal.aborted ? abortError(this.signal) : undefined;
    if (reason?.code !== 'deadline_exceeded') return ending;
    return { type: 'caption-error', code: reason.code, message: reason.message };
  }
}

/** Follows a running caption: its stage, the work that remains, when its first token came. */
class CaptionProgress {
  readonly #lifecycle: RequestLifecycle;
  readonly #ticket: Ticket;
  #firstTokenSeconds: number | undefined;
  #generated = 0;

  constructor(lifecycle: RequestLifecycle, ticket: Ticket) {
    this.#lifecycle = lifecycle;
    this.#ticket = ticket;
  }

  observe(event: CaptionEvent, work: EstimatedWork | undefined): void {
    if (event.type === 'stage') this.#lifecycle.stage = event.stage;
    if (event.type === 'text-delta') {
      this.#lifecycle.stage = 'generate';
      this.#firstTokenSeconds ??= this.#lifecycle.elapsedSeconds;
      this.#generated += event.tokenIds.length;
    }
    if (work === undefined) return;
    if (event.type === 'media') {
      this.#ticket.setRemaining(work.encodeSeconds + work.prefillSeconds + work.generateSeconds, work.tokens);
      this.#ticket.decoded();
    }
    if (event.type !== 'text-delta') return;
    const part = Math.max(0, 1 - this.#generated / Math.max(1, work.completionTokens));
    this.#ticket.setRemaining(work.generateSeconds * part, Math.ceil(work.completionTokens * part));
  }

  /** The end with a client's view of time, which starts when the request arrives. */
  timed(end: CaptionEnd, fetch: number, queue: number): CaptionEnd {
    const since = { totalSeconds: this.#lifecycle.elapsedSeconds, firstTokenSeconds: this.#firstTokenSeconds };
    return { ...end, timings: { ...end.timings, ...since, stages: { fetch, queue, ...end.timings.stages } } };
  }
}

/** Whatever becomes of its file, a request gets its ending. */
async function released(source: MediaSource): Promise<void> {
  await source.release().catch(() => undefined);
}

function requestOf({ request }: CaptionTask, { path, contentHash }: LocalFile): CaptionRequest {
  return { ...request, path, contentHash };
}

/** Captions that are written: samples, or segments. */
function captionsOf({ segments }: Estimate, { samples }: Pick<CaptionRequest, 'samples'>): number {
  return samples * (segments?.count ?? 1);
}

/**
 * Work whose first part needs a turn, which ends when it says so or when all of it is done.
 * @throws what the work throws, or the turn
 */
async function inTurn(
  work: (onFirstPart: () => void) => Promise<void>,
  takeTurn: (part: () => Promise<void>) => Promise<void>,
): Promise<void> {
  let whole: Promise<void> | undefined;
  await takeTurn(
    () =>
      new Promise((resolve) => {
        whole = work(resolve);
        whole.then(resolve, resolve);
      }),
  );
  await whole;
}

function isSameStage(stage: string): (event: CaptionEvent) => boolean {
  return (event) => event.type === 'stage' && event.stage === stage;
}

/**
 * Waits for a submitted caption; but a hung engine must not hold up an aborted request.
 * @param graceMs asked at the abort: how long the engine may take to end the caption
 * @throws AvocadoError of the signal when the grace period is over
 */
async function endedOrAborted(submitted: Promise<void>, signal: AbortSignal, graceMs: () => number): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  let onAbort: () => void = () => undefined;
  const late = new Promise<never>((_resolve, reject) => {
    onAbort = () => {
      timer = setTimeout(() => {
        reject(abortError(signal));
      }, graceMs());
    };
    if (signal.aborted) onAbort();
    else signal.addEventListener('abort', onAbort, { once: true });
  });
  try {
    await Promise.race([submitted, late]);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', onAbort);
  }
}
