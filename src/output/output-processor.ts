import { AvocadoError } from '../base/errors.ts';
import type { SequenceEvent, TokenLogprob } from '../engine/types.ts';
import { Detokenizer, type TokenBytes } from './detokenizer.ts';
import type { FinishReason, Sample, TextDelta, TokenDetail, TokenWithAlternatives } from './events.ts';
import type { OutputForm } from './output-form.ts';
import { RepetitionDetector } from './repetition.ts';

export interface OutputProcessorOptions {
  /** which of the request's samples, from 0 */
  readonly index: number;
  readonly stop: readonly string[];
  /** no stop string ends in the text of so many tokens, and the repetition guard waits for them */
  readonly minTokens: number;
  /** ids that end the caption and are not part of its text */
  readonly stopTokenIds: readonly number[];
  /** include `tokens` in the deltas and in the end */
  readonly details: boolean;
  /** end a caption that repeats itself */
  readonly repetitionGuard: boolean;
  /** how the model's text is read; undefined: it is the caption */
  readonly form?: OutputForm | undefined;
}

type TokenEvent = Extract<SequenceEvent, { type: 'token' }>;

/**
 * Turns the tokens of one caption into text deltas, and decides whether it should end early (stop string, repetition).
 */
export class OutputProcessor {
  readonly #options: OutputProcessorOptions;
  readonly #bytes: TokenBytes;
  readonly #detokenizer: Detokenizer;
  readonly #stop: StopStrings;
  readonly #guard: RepetitionDetector | undefined;
  readonly #tokenIds: number[] = [];
  readonly #logprobs: number[] = [];
  readonly #tokens: TokenWithAlternatives[] = [];
  #text = '';

  /** @throws AvocadoError `bad_request` for an empty stop string */
  constructor(bytes: TokenBytes, options: OutputProcessorOptions) {
    this.#options = options;
    this.#bytes = bytes;
    this.#detokenizer = new Detokenizer(bytes);
    this.#stop = new StopStrings(options.stop);
    this.#guard = options.repetitionGuard ? new RepetitionDetector() : undefined;
  }

  /** @returns the text that is certain with this token, often '' */
  push({ id, logprob, top }: TokenEvent): TextDelta {
    this.#tokenIds.push(id);
    this.#logprobs.push(logprob);
    const { stopTokenIds, minTokens } = this.#options;
    const piece = stopTokenIds.includes(id) ? '' : this.#detokenizer.push(id);
    const text = this.#grow(this.#stop.push(piece, this.#tokenIds.length > minTokens));
    const delta = {
      type: 'text-delta',
      index: this.#options.index,
      text,
      tokenIds: [id],
      logprobs: [logprob],
    } as const;
    if (!this.#options.details) return delta;
    const token = tokenWithAlternatives(this.#bytes, { id, logprob }, top);
    this.#tokens.push(token);
    return { ...delta, tokens: [token] };
  }

  /** Why generation should stop now although the model has not stopped; undefined: go on. */
  get ending(): FinishReason | undefined {
    if (this.#stop.matched) return 'stop';
    const isEarly = this.#tokenIds.length < this.#options.minTokens;
    return this.#guard?.collapsing === true && !isEarly ? 'repetition' : undefined;
  }

  /** The text held back, after the last token; undefined when there is none. */
  flush(): TextDelta | undefined {
    const last = this.#grow(this.#stop.push(this.#detokenizer.flush()) + this.#stop.flush());
    const text = last + this.#show(this.#options.form?.flush() ?? '');
    if (text === '') return undefined;
    return {
      type: 'text-delta',
      index: this.#options.index,
      text,
      tokenIds: [],
      logprobs: [],
      ...(this.#options.details ? { tokens: [] } : {}),
    };
  }

  finish(finishReason: FinishReason): Sample {
    return {
      caption: this.#text,
      finishReason,
      tokenIds: this.#tokenIds,
      logprobs: this.#logprobs,
      ...(this.#options.details ? { tokens: this.#tokens } : {}),
      segments: this.#options.form?.segments(),
    };
  }

  #grow(text: string): string {
    this.#guard?.push(text);
    const { form } = this.#options;
    return this.#show(form === undefined ? text : form.push(text));
  }

  #show(text: string): string {
    this.#text += text;
    return text;
  }
}

/** A token with its alternatives and the bytes of each. */
function tokenWithAlternatives(
  tokens: Pick<TokenBytes, 'bytesOf'>,
  chosen: TokenLogprob,
  top: readonly TokenLogprob[],
): TokenWithAlternatives {
  const detail = ({ id, logprob }: TokenLogprob): TokenDetail => ({ id, logprob, bytes: [...tokens.bytesOf(id)] });
  return { ...detail(chosen), top: top.map(detail) };
}

/**
 * Looks for stop strings in text that arrives in pieces. Holds back only what may be the beginning of one.
 * The result does not depend on how the text was cut: the stop string that is complete first wins, the longer
 * one where two end together.
 */
export class StopStrings {
  readonly #stops: readonly string[];
  #held = '';
  #matched = false;

  /** Errors: bad_request for an empty stop string. */
  constructor(stops: readonly string[]) {
    if (stops.includes('')) {
      throw new AvocadoError('bad_request', 'A stop string must not be empty: remove it from `stop`.', {
        param: 'stop',
      });
    }
    this.#stops = stops;
  }

  /** Whether one was found: generation can end. */
  get matched(): boolean {
    return this.#matched;
  }

  /**
   * Text that may be shown now. After a match it is cut there, and everything later is ''.
   * @param search false: no stop string is found that ends in this piece
   */
  push(piece: string, search = true): string {
    if (this.#matched) return '';
    const text = this.#held + piece;
    const match = search ? this.#find(text, this.#held.length) : undefined;
    if (match !== undefined) {
      this.#matched = true;
      this.#held = '';
      return text.slice(0, match.start);
    }
    const certain = text.length - this.#heldLength(text);
    this.#held = text.slice(certain);
    return text.slice(0, certain);
  }

  /** What was held back, when no more text comes: it was no stop string after all. */
  flush(): string {
    const rest = this.#held;
    this.#held = '';
    return rest;
  }

  /** The first stop string that ends behind `from`. */
  #find(text: string, from: number): { start: number; end: number } | undefined {
    let best: { start: number; end: number } | undefined;
    for (const stop of this.#stops) {
      const start = text.indexOf(stop, Math.max(0, from - stop.length + 1));
      const end = start + stop.length;
      if (start >= 0 && (best === undefined || end < best.end || (end === best.end && start < best.start)))
        best = { start, end };
    }
    return best;
  }

  /** Length of the longest end of the text that begins a stop string. */
  #heldLength(text: string): number {
    let longest = 0;
    for (const stop of this.#stops) {
      for (let length = Math.min(stop.length - 1, text.length); length > longest; length--) {
        if (text.endsWith(stop.slice(0, length))) longest = length;
      }
    }
    return longest;
  }
}
