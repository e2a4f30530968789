import type { SequenceEvent } from '../engine/types.ts';
import { Detokenizer, type TokenBytes } from './detokenizer.ts';
import type { FinishReason, Sample, TextDelta, TokenWithAlternatives } from './events.ts';
import { RepetitionDetector } from './repetition.ts';
import { StopStrings } from './stop-strings.ts';
import { tokenWithAlternatives } from './token-details.ts';

export interface DraftOptions {
  /** which of the request's samples, from 0 */
  readonly index: number;
  readonly stop: readonly string[];
  /** tell `tokens` in the deltas and in the end */
  readonly details: boolean;
  /** end a caption that repeats itself */
  readonly repetitionGuard: boolean;
}

type TokenEvent = Extract<SequenceEvent, { type: 'token' }>;

/** One caption as it grows: tokens in, text out, and whether it should end here. */
export class Draft {
  readonly #options: DraftOptions;
  readonly #bytes: TokenBytes;
  readonly #detokenizer: Detokenizer;
  readonly #stop: StopStrings;
  readonly #guard: RepetitionDetector | undefined;
  readonly #tokenIds: number[] = [];
  readonly #logprobs: number[] = [];
  readonly #tokens: TokenWithAlternatives[] = [];
  #text = '';

  /** @throws AvocadoError `bad_request` for an empty stop string */
  constructor(bytes: TokenBytes, options: DraftOptions) {
    this.#options = options;
    this.#bytes = bytes;
    this.#detokenizer = new Detokenizer(bytes);
    this.#stop = new StopStrings(options.stop);
    this.#guard = options.repetitionGuard ? new RepetitionDetector() : undefined;
  }

  get tokenCount(): number {
    return this.#tokenIds.length;
  }

  /** Takes one token; its text is what it makes certain, often ''. */
  push({ id, logprob, top }: TokenEvent): TextDelta {
    this.#tokenIds.push(id);
    this.#logprobs.push(logprob);
    const text = this.#grow(this.#stop.push(this.#detokenizer.push(id)));
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

  /** Why generation should end now, though the model would go on. */
  get ending(): FinishReason | undefined {
    if (this.#stop.matched) return 'stop';
    return this.#guard?.collapsing === true ? 'repetition' : undefined;
  }

  /** What was held back, when no more tokens come; undefined when that is nothing. */
  flush(): TextDelta | undefined {
    const text = this.#grow(this.#stop.push(this.#detokenizer.flush()) + this.#stop.flush());
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
    };
  }

  #grow(text: string): string {
    this.#text += text;
    this.#guard?.push(text);
    return text;
  }
}
