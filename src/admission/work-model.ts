// How long captions will take, told from their headers and from how long the last ones took. Pure: no clock, no I/O.
import type { Estimate } from '../captioner/captioner.ts';
import type { CaptionEnd, Timings } from '../output/events.ts';
import { LearnedRate } from './learned-rate.ts';

/** Seconds of one job on this machine, by what they are spent on; and its tokens. */
export interface Work {
  readonly prepareSeconds: number;
  readonly prefillSeconds: number;
  readonly generateSeconds: number;
  /** expected, of all samples together */
  readonly completionTokens: number;
  /** prompt and captions */
  readonly tokens: number;
}

/** Stages of timings that are work on the file: they grow with its seconds and pixels. */
const PREPARE_STAGES = ['probe', 'decode', 'resize', 'audio', 'mel', 'tokenize', 'vision', 'audio_tower'];
/** What a second of media costs beside its pixels (container, sound), as megapixels. */
const SECOND_AS_MEGAPIXELS = 0.05;

/** Until something was measured: a small model on two cores, rather too slow than too fast. */
const START = {
  prepareSecondsPerUnit: 0.5,
  prefillSecondsPerToken: 0.001,
  generateSecondsPerToken: 0.02,
  tokensPerCaption: 200,
  secondsPerJob: 5,
};

export function secondsOf({ prepareSeconds, prefillSeconds, generateSeconds }: Work): number {
  return prepareSeconds + prefillSeconds + generateSeconds;
}

/** Seconds of media times megapixels of a frame as the model sees it. */
function prepareUnits({ durationSeconds, video }: Pick<Estimate, 'durationSeconds' | 'video'>): number {
  const seconds = Math.max(1, durationSeconds); // a still picture is one frame
  return seconds * (SECOND_AS_MEGAPIXELS + (video === undefined ? 0 : (video.width * video.height) / 1e6));
}

function prepareSeconds(stages: Timings['stages']): number {
  return PREPARE_STAGES.reduce((sum, stage) => sum + (stages[stage] ?? 0), 0);
}

export class WorkModel {
  readonly #prepare = new LearnedRate(START.prepareSecondsPerUnit, 0.1);
  readonly #prefill = new LearnedRate(START.prefillSecondsPerToken, 100);
  readonly #generate = new LearnedRate(START.generateSecondsPerToken, 20);
  /** "seconds" are tokens here, units are captions */
  readonly #captionTokens = new LearnedRate(START.tokensPerCaption, 1);
  readonly #job = new LearnedRate(START.secondsPerJob, 1);
  readonly #parallel = new LearnedRate(1, 1);

  /** what a job counts of which nothing is known yet */
  get averageSeconds(): number {
    return this.#job.secondsPerUnit;
  }

  /** seconds of work that are done in a second: above 1 where captions share the machine well */
  get parallelism(): number {
    return this.#parallel.secondsPerUnit;
  }

  work(estimate: Estimate, samples: number): Work {
    const completionTokens = samples * Math.min(estimate.maxTokens, this.#captionTokens.secondsPerUnit);
    return {
      prepareSeconds: prepareUnits(estimate) * this.#prepare.secondsPerUnit,
      prefillSeconds: estimate.promptTokens.total * this.#prefill.secondsPerUnit,
      generateSeconds: completionTokens * this.#generate.secondsPerUnit,
      completionTokens,
      tokens: estimate.promptTokens.total + Math.ceil(completionTokens),
    };
  }

  /**
   * A caption that has ended.
   * @param waited the time of its prefill has a wait for a slot in it, and says nothing about prefill
   */
  learn(
    estimate: Estimate,
    { usage, others, timings: { stages } }: Pick<CaptionEnd, 'usage' | 'others' | 'timings'>,
    waited: boolean,
  ): void {
    this.#prepare.learn(prepareSeconds(stages), prepareUnits(estimate));
    const prefill = stages['prefill'];
    if (!waited && prefill !== undefined) this.#prefill.learn(prefill, usage.promptTokens - usage.cachedTokens);
    if (stages['generate'] !== undefined) this.#generate.learn(stages['generate'], usage.completionTokens);
    this.#captionTokens.learn(usage.completionTokens, 1 + others.length);
    if (!waited) this.#job.learn(prepareSeconds(stages) + (prefill ?? 0) + (stages['generate'] ?? 0), 1);
  }

  /** A job of so many estimated seconds took so many in the engine, beside `together - 1` others. */
  learnParallelism(workSeconds: number, tookSeconds: number, together: number): void {
    this.#parallel.learn(workSeconds * together, tookSeconds);
  }
}
