import { AvocadoError } from '../base/errors.ts';
import { captionAnswer } from '../output/caption-answer.ts';
import type { CaptionEnd, CaptionEvent, Sample } from '../output/events.ts';
import { oneEnding } from '../output/one-ending.ts';
import { interrupted } from './interrupted.ts';
import type { ProgressLine } from './progress-line.ts';
import { reportError } from './report-error.ts';
import { write, writeJson } from './write.ts';
import type { CliEnvironment } from './cli-environment.ts';

export interface PrinterOptions {
  readonly json: boolean;
  readonly tokenIds: boolean;
  /** a line with the file's name before its caption */
  readonly heading: boolean;
  /** of several captions none is shown before all are done: they grow at the same time */
  readonly samples: number;
  readonly model: string;
}

function summary(end: CaptionEnd): string {
  const { media, usage, timings } = end;
  const seen =
    media.video === undefined
      ? 'nothing seen'
      : `${media.video.frames} frames of ${media.video.width}x${media.video.height} seen`;
  const heard = media.audio.used
    ? `${media.audio.seconds.toFixed(1)} s heard`
    : media.audio.present
      ? 'sound not listened to'
      : 'no sound';
  const speed = timings.tokensPerSecond === undefined ? '' : `, ${timings.tokensPerSecond.toFixed(1)} tokens/s`;
  return `${seen}, ${heard}; ${usage.promptTokens} tokens in, ${usage.completionTokens} out (${[end, ...end.others].map(({ finishReason }) => finishReason).join(', ')}); ${timings.totalSeconds.toFixed(2)} s${speed}; profile ${end.profile}`;
}

/** Several captions of one file, each under its number. */
function listOf(samples: readonly Sample[]): string {
  return samples.map(({ caption }, index) => `-- ${index + 1} of ${samples.length} --\n${caption}\n`).join('');
}

/** The events of one caption as text that grows on stdout, or as one line of JSON. */
export class CaptionPrinter {
  readonly #environment: CliEnvironment;
  readonly #progress: ProgressLine;
  readonly #options: PrinterOptions;
  #midLine = false;

  constructor(environment: CliEnvironment, progress: ProgressLine, options: PrinterOptions) {
    this.#environment = environment;
    this.#progress = progress;
    this.#options = options;
  }

  /** @returns 0, or the exit code of the error that was reported */
  async print(file: string, events: AsyncIterable<CaptionEvent>, signal: AbortSignal): Promise<number> {
    if (this.#options.heading && !this.#options.json) await write(this.#environment.stdout, `== ${file} ==\n`);
    let exitCode = 0;
    for await (const event of oneEnding(events, signal)) exitCode = await this.#printEvent(file, event);
    return exitCode;
  }

  async #printEvent(file: string, event: CaptionEvent): Promise<number> {
    switch (event.type) {
      case 'stage':
        if (!this.#midLine) this.#progress.show(event.stage, event.done, event.total);
        return 0;
      case 'media':
        if (!this.#options.json) await this.#warn(event.media.warnings);
        return 0;
      case 'text-delta':
        await this.#grow(event.text);
        return 0;
      case 'caption-end':
        await this.#end(file, event);
        return 0;
      case 'caption-error':
        return this.#fail(
          file,
          new AvocadoError(event.code, event.message, event.param === undefined ? {} : { param: event.param }),
        );
      case 'caption-aborted':
        return this.#fail(file, interrupted());
      default:
        return event satisfies never;
    }
  }

  async #warn(warnings: readonly string[]): Promise<void> {
    this.#progress.clear();
    for (const warning of warnings) await write(this.#environment.stderr, `warning: ${warning}\n`);
  }

  async #grow(text: string): Promise<void> {
    if (this.#options.json || this.#options.samples > 1 || text === '') return;
    this.#progress.clear();
    this.#midLine = true;
    await write(this.#environment.stdout, text);
  }

  async #end(file: string, end: CaptionEnd): Promise<void> {
    this.#progress.clear();
    if (this.#options.json)
      await writeJson(this.#environment.stdout, { file, ...captionAnswer(end, this.#options.model, this.#options) });
    else await write(this.#environment.stdout, end.others.length === 0 ? '\n' : listOf([end, ...end.others]));
    this.#progress.note(summary(end));
  }

  async #fail(file: string, error: AvocadoError): Promise<number> {
    this.#progress.clear();
    if (this.#midLine) await write(this.#environment.stdout, '\n');
    return reportError(error, this.#environment, { json: this.#options.json, file });
  }
}
