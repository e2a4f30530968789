import type { SequenceEvent, TokenLogprob } from '../engine/types.ts';
import { Detokenizer, type TokenBytes } from './detokenizer.ts';
import type { FinishReason, Sample, TextDelta, TokenDetail, TokenWithAlternatives } from './events.ts';
import { RepetitionDetector } from './repetition.ts';
import { StopStrings } from './stop-strings.ts';

export interface OutputProcessorOptions {
  /** which of the request's samples, from 0 */
  readonly index: number;
  readonly stop: readonly string[];
  /** include `tokens` in the deltas and in the end */
  readonly details: boolean;
  /** end a caption that repeats itself */
  readonly repetitionGuard: boolean;
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

  /** Why generation should stop now although the model has not stopped; undefined: go on. */
  get ending(): FinishReason | undefined {
    if (this.#stop.matched) return 'stop';
    return this.#guard?.collapsing === true ? 'repetition' : undefined;
  }

  /** The text held back, after the last token; undefined when there is none. */
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

/** A token with its alternatives and the bytes of each. */
function tokenWithAlternatives(
  tokens: Pick<TokenBytes, 'bytesOf'>,
  chosen: TokenLogprob,
  top: readonly TokenLogprob[],
): TokenWithAlternatives {
  const detail = ({ id, logprob }: TokenLogprob): TokenDetail => ({ id, logprob, bytes: [...tokens.bytesOf(id)] });
  return { ...detail(chosen), top: top.map(detail) };
}
