// What the front ends (captions, chat) and admission agree on.
import type { Priority } from '../base/priority-turns.ts';
import type { Estimate } from '../captioner/captioner.ts';
import type { MediaSource } from '../intake/media-source.ts';
import type { CaptionRequest, Stage } from '../output/events.ts';

/** A request as a front end has parsed it. */
export interface CaptionTask {
  readonly source: MediaSource;
  /** everything but the file; checked */
  readonly request: Omit<CaptionRequest, 'path' | 'contentHash'>;
  /** for all stages, from admission on; undefined: the server's limit */
  readonly timeoutSeconds: number | undefined;
}

export interface TaskEstimate extends Estimate {
  /** on this machine, when nothing else runs */
  readonly workSeconds: number;
  /** until it would start, as the queue stands */
  readonly queueSeconds: number;
}

/** Why a request was not admitted. */
export type Refusal = 'queue_count' | 'queue_work' | 'receiving' | 'stopping';

/** The stage of a request, also when it was aborted. */
export type RequestStage = Stage | 'receive' | 'generate';

/** Gets what a server counts; see server/observe. */
export interface AdmissionObserver {
  rejected(reason: Refusal): void;
  cancelled(stage: RequestStage): void;
  /** seconds between the plan and the start in the engine */
  queued(seconds: number, priority: Priority): void;
  /** the file is on disk at `path` */
  fetched(kind: MediaSource['kind'], seconds: number, path: string): void;
}
