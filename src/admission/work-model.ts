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
  readonly decodeSeconds: number;
  readonly encodeSeconds: number;
  readonly prefillSeconds: number;
  readonly generateSeconds: number;
  /** expected, of all samples together */
  readonly completionTokens: number;
  /** prompt and captions */
  readonly tokens: number;
}

/** Stages of timings that are work on the whole file, and those that are work on what the model sees of it. */
const DECODE_STAGES = ['probe', 'decode', 'resize', 'audio', 'mel'];
const ENCODE_STAGES = ['tokenize', 'vision', 'audio_tower'];
/** What a file costs however short it is (programs are started), and a second of sound, as decoded megapixels. */
const FILE_AS_MEGAPIXELS = 150;
const SOUND_SECOND_AS_MEGAPIXELS = 1;
/** A million packets take about four seconds to read and as long to decode, whatever is in them. */
const PACKET_AS_MEGAPIXELS = 0.0015;
/** A longer file teaches no more than this: one of a strange kind would set the price for a hundred others. */
const MOST_LEARNED_MEGAPIXELS = 300;

/** Before anything is measured: a small model on two cores, rather too slow than too fast. */
const START = {
  decodeSecondsPerMegapixel: 0.005,
  encodeSecondsPerToken: 0.001,
  prefillSecondsPerToken: 0.001,
  generateSecondsPerToken: 0.02,
  tokensPerCaption: 200,
  secondsPerRequest: 5,
};

/** A file that takes longer to decode than this must not hold up others: see AdmissionQueue. */
const LONG_DECODE_SECONDS = 30;

export function secondsOf({ decodeSeconds, encodeSeconds, prefillSeconds, generateSeconds }: EstimatedWork): number {
  return decodeSeconds + encodeSeconds + prefillSeconds + generateSeconds;
}

export function isLong({ decodeSeconds }: EstimatedWork): boolean {
  return decodeSeconds > LONG_DECODE_SECONDS;
}

function decodeUnits({
  decodeMegapixels,
  packets,
  audio,
}: Pick<Estimate, 'decodeMegapixels' | 'packets' | 'audio'>): number {
  const sound = audio.seconds * SOUND_SECOND_AS_MEGAPIXELS;
  return FILE_AS_MEGAPIXELS + decodeMegapixels + sound + packets * PACKET_AS_MEGAPIXELS;
}

function mediaTokens({ promptTokens: { total, text } }: Pick<Estimate, 'promptTokens'>): number {
  return total - text;
}

function secondsIn(stages: Timings['stages'], names: readonly string[]): number {
  return names.reduce((sum, stage) => sum + (stages[stage] ?? 0), 0);
}

export class WorkModel {
  readonly #decode = new LearnedRate(START.decodeSecondsPerMegapixel, FILE_AS_MEGAPIXELS);
  readonly #encode = new LearnedRate(START.encodeSecondsPerToken, 100);
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
    const most = estimate.segments?.maxTokens ?? estimate.maxTokens;
    const completionTokens = samples * Math.min(most, this.#captionTokens.secondsPerUnit);
    return {
      decodeSeconds: decodeUnits(estimate) * this.#decode.secondsPerUnit,
      encodeSeconds: mediaTokens(estimate) * this.#encode.secondsPerUnit,
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
    { usage, others, segments, timings: { stages } }: Pick<CaptionEnd, 'usage' | 'others' | 'segments' | 'timings'>,
    waited: boolean,
  ): void {
    const cut = segments?.filter(({ timedBy }) => timedBy === undefined) ?? [];
    if (cut.length > 0) {
      // Their stages overlap.
      this.#captionTokens.learn(usage.completionTokens, cut.length);
      return;
    }
    const decodeSeconds = secondsIn(stages, DECODE_STAGES);
    const encodeSeconds = secondsIn(stages, ENCODE_STAGES);
    // What came from the cache, or from another request for the same file, says nothing.
    if (stages['decode'] !== undefined || stages['audio'] !== undefined) {
      const units = decodeUnits(estimate);
      const part = Math.min(1, MOST_LEARNED_MEGAPIXELS / units);
      this.#decode.learn(decodeSeconds * part, units * part);
      this.#encode.learn(encodeSeconds, mediaTokens(estimate));
    }
    const prefill = stages['prefill'];
    if (!waited && prefill !== undefined) this.#prefill.learn(prefill, usage.promptTokens - usage.cachedTokens);
    if (stages['generate'] !== undefined) this.#generate.learn(stages['generate'], usage.completionTokens);
    this.#captionTokens.learn(usage.completionTokens, 1 + others.length);
    if (waited || decodeSeconds > LONG_DECODE_SECONDS) return; // the next one is no such file, usually
    this.#request.learn(decodeSeconds + encodeSeconds + (prefill ?? 0) + (stages['generate'] ?? 0), 1);
  }

  /** A request of `workSeconds` took `tookSeconds` in the engine, beside `together - 1` others. */
  learnParallelism(workSeconds: number, tookSeconds: number, together: number): void {
    this.#parallel.learn(workSeconds * together, tookSeconds);
  }
}
