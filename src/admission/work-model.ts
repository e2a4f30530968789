// Estimates how long captions will take, from their headers and from how long earlier ones
// took. Pure: no clock, no I/O.
import type { Estimate } from '../captioner/captioner.ts';
import type { CaptionEnd, Timings } from '../output/events.ts';

/** Weight of old measurements per new one: about the last ten count. */
const KEPT = 0.8;

/** Seconds per unit of work, as an exponentially weighted mean of measurements after a starting value. */
class LearnedRate {
  #seconds: number;
  #units: number;

  /** @param startUnits units of measured work that weigh as much as the starting value */
  constructor(secondsPerUnit: number, startUnits: number) {
    this.#seconds = secondsPerUnit * startUnits;
    this.#units = startUnits;
  }

  get secondsPerUnit(): number {
    return this.#seconds / this.#units;
  }

  learn(seconds: number, units: number): void {
    if (!Number.isFinite(seconds) || seconds < 0 || !(units > 0)) return;
    this.#seconds = this.#seconds * KEPT + seconds;
    this.#units = this.#units * KEPT + units;
  }
}

/** Estimated seconds of one request on this machine, and its tokens. */
export interface EstimatedWork {
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

/** Before anything is measured: a small model on two cores, rather too slow than too fast. */
const START = {
  prepareSecondsPerUnit: 0.5,
  prefillSecondsPerToken: 0.001,
  generateSecondsPerToken: 0.02,
  tokensPerCaption: 200,
  secondsPerRequest: 5,
};

export function secondsOf({ prepareSeconds, prefillSeconds, generateSeconds }: EstimatedWork): number {
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
  readonly #request = new LearnedRate(START.secondsPerRequest, 1);
  readonly #parallel = new LearnedRate(1, 1);

  /** work of a request of which nothing is known yet */
  get averageSeconds(): number {
    return this.#request.secondsPerUnit;
  }

  /** seconds of work done per second: above 1 where concurrent captions share the machine well */
  get parallelism(): number {
    return this.#parallel.secondsPerUnit;
  }

  work(estimate: Estimate, samples: number): EstimatedWork {
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
   * Learns from a finished caption.
   * @param waited its prefill time includes a wait for a slot, so it says nothing about prefill
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
    if (!waited) this.#request.learn(prepareSeconds(stages) + (prefill ?? 0) + (stages['generate'] ?? 0), 1);
  }

  /** A request of `workSeconds` took `tookSeconds` in the engine, beside `together - 1` others. */
  learnParallelism(workSeconds: number, tookSeconds: number, together: number): void {
    this.#parallel.learn(workSeconds * together, tookSeconds);
  }
}
