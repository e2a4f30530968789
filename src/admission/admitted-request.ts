import { abortError } from '../base/abort.ts';
import { asAvocadoError, AvocadoError } from '../base/errors.ts';
import type { MediaSource } from '../intake/media-source.ts';
import type { CaptionEvent, MediaReport } from '../output/events.ts';
import { isEnding, oneEnding } from '../output/one-ending.ts';
import type { Ticket } from './admission-queue.ts';
import { captionStory, fetchFile, weigh, type StoryParts, type Told } from './caption-story.ts';
import type { Lifetime } from './lifetime.ts';
import type { Admitted, CaptionTask, TaskEstimate } from './types.ts';
import { secondsOf } from './work-model.ts';

/** One request and all it holds, given back whichever way it ends. */
export class AdmittedRequest implements Admitted {
  readonly #life: Lifetime;
  readonly #ticket: Ticket;
  readonly #parts: StoryParts;
  readonly #onEnd: () => void;
  #source: MediaSource | undefined;
  #ended = false;

  constructor(life: Lifetime, ticket: Ticket, parts: StoryParts, onEnd: () => void) {
    this.#life = life;
    this.#ticket = ticket;
    this.#parts = parts;
    this.#onEnd = onEnd;
  }

  get id(): string {
    return this.#life.id;
  }

  get signal(): AbortSignal {
    return this.#life.signal;
  }

  run(job: CaptionTask): AsyncGenerator<CaptionEvent> {
    return this.#tell(this.#begin(job));
  }

  async *#tell(told: Told): AsyncGenerator<CaptionEvent> {
    const life = this.#life;
    try {
      for await (const event of oneEnding(captionStory(told, this.#parts), life.signal)) {
        if (event.type !== 'caption-aborted') {
          if (isEnding(event)) life.finish();
          yield underItsName(event, told);
          continue;
        }
        const reason = life.signal.aborted ? asAvocadoError(life.signal.reason) : undefined;
        yield reason?.code === 'deadline_exceeded'
          ? { type: 'caption-error', code: reason.code, message: reason.message }
          : event;
      }
    } finally {
      life.abort(new AvocadoError('aborted', 'Nobody waits for the caption.')); // whoever left early leaves work behind
      this.#ticket.leave();
      await told.job.source.release();
    }
  }

  async estimate(job: CaptionTask): Promise<TaskEstimate> {
    const told = this.#begin(job);
    const { queue } = this.#parts;
    this.#ticket.remain(0, 0); // it only asks
    try {
      const file = await resultOf(fetchFile(told, this.#parts));
      const { estimate, work } = await weigh(told, file, this.#parts);
      this.#life.finish();
      return { ...estimate, workSeconds: secondsOf(work), queueSeconds: queue.secondsToTurn };
    } catch (thrown) {
      if (this.signal.aborted) throw abortError(this.signal);
      this.#life.finish();
      throw renamed(asAvocadoError(thrown), told);
    } finally {
      await job.source.release();
    }
  }

  abort(): void {
    this.#life.abort(new AvocadoError('aborted', 'The client has left.'));
  }

  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    if (this.#source !== undefined) this.#life.abort(new AvocadoError('aborted', 'Nobody waits for the caption.'));
    void this.#source?.release();
    const { abortedIn } = this.#life;
    this.#life.end();
    this.#ticket.leave();
    if (abortedIn !== undefined) this.#parts.observer.cancelled(abortedIn);
    this.#onEnd();
  }

  #begin(job: CaptionTask): Told {
    this.#source = job.source;
    this.#life.setDeadline(job.timeoutSeconds);
    return { job, life: this.#life, ticket: this.#ticket, path: undefined };
  }
}

async function resultOf<T>(events: AsyncGenerator<unknown, T>): Promise<T> {
  for (;;) {
    const result = await events.next();
    if (result.done === true) return result.value;
  }
}

/** The file under the client's name for it wherever a sentence names it: our path of it is not its business. */
function rename(text: string, { path, job: { source } }: Told): string {
  return path === undefined ? text : text.replaceAll(path, () => source.displayName); // a function, since `$&` in a string would bring our path back
}

function renamed({ code, message, param, retryAfterSeconds }: AvocadoError, told: Told): AvocadoError {
  const options = {
    ...(param === undefined ? {} : { param }),
    ...(retryAfterSeconds === undefined ? {} : { retryAfterSeconds }),
  };
  return new AvocadoError(code, rename(message, told), options);
}

function underItsName(event: CaptionEvent, told: Told): CaptionEvent {
  const renameMedia = (media: MediaReport): MediaReport => ({
    ...media,
    warnings: media.warnings.map((warning) => rename(warning, told)),
  });
  if (event.type === 'caption-error') return { ...event, message: rename(event.message, told) };
  if (event.type === 'media' || event.type === 'caption-end') return { ...event, media: renameMedia(event.media) };
  return event;
}
