// One request's way through a server: admission, fetch, estimate, queue, engine. The doors (captions, chat) differ only in
// how they read a request and how they tell the events.
import type { Estimate } from '../captioner/captioner.ts';
import type { MediaSource } from '../intake/media-source.ts';
import type { CaptionEvent, CaptionRequest, Priority, Stage } from '../output/events.ts';

/** A request as a door has understood it. */
export interface CaptionTask {
  readonly source: MediaSource;
  /** everything but the file; checked */
  readonly request: Omit<CaptionRequest, 'path' | 'contentHash'>;
  /** over all stages, from admission on; undefined = the server's own limit */
  readonly timeoutSeconds: number | undefined;
}

export interface TaskEstimate extends Estimate {
  /** of work on this machine, when nothing else runs */
  readonly workSeconds: number;
  /** until a slot is free, as the queue stands */
  readonly queueSeconds: number;
}

/** Why a request was not let in. */
export type Refusal = 'queue_count' | 'queue_work' | 'stopping';
/** Where a request was when it was given up: of the client's, a deadline, a cancel or a stop. */
export type RequestStage = Stage | 'receive' | 'generate';

/** What a server counts; see server/metrics.ts. */
export interface ServingObserver {
  rejected(reason: Refusal): void;
  cancelled(stage: RequestStage): void;
  /** seconds of waiting for a turn in the engine */
  queued(seconds: number, priority: Priority): void;
  /** its file lies at `path` */
  fetched(kind: MediaSource['kind'], seconds: number, path: string): void;
}

/** A request that was let in, from its first byte to its ending. `end()` is always called. */
export interface Admitted {
  readonly id: string;
  /** aborts when the client leaves, a deadline passes, somebody cancels it, or the server stops */
  readonly signal: AbortSignal;
  /** Events with exactly one ending, sentences naming the file as the client does. Releases the source. Called once. */
  run(job: CaptionTask): AsyncGenerator<CaptionEvent>;
  /** Releases the source. @throws AvocadoError */
  estimate(job: CaptionTask): Promise<TaskEstimate>;
  /** the client has left */
  abort(): void;
  end(): void;
}

export interface CaptionService {
  /**
   * Before a byte of the body is read.
   * @param owner who asks, where keys tell
   * @throws AvocadoError `queue_full` (with `retryAfterSeconds`), `engine_unavailable`
   */
  admit(id: string, owner?: string): Admitted;
  /** Explicit cancel. @returns false when nothing of that id and owner is alive */
  cancel(id: string, owner?: string): boolean;
  /** Takes nothing new, lets what runs end for `drainMs`, aborts the rest; returns when all have ended. */
  stop(drainMs: number): Promise<void>;
  stats(): ServiceStats;
}

export interface ServiceStats {
  readonly alive: number;
  readonly stopping: boolean;
  /** the next request would be refused */
  readonly full: boolean;
  readonly waiting: Readonly<Record<Priority, number>>;
  /** estimated seconds of work not done yet, and its tokens */
  readonly queueWorkSeconds: number;
  readonly queueTokens: number;
  readonly byStage: Readonly<Partial<Record<RequestStage, number>>>;
}
