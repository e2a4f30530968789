import type { Priority } from '../base/priority-turns.ts';
import type { DecodeRow, Decoder, PrefillChunk, Scores } from '../model/execution/thinker.ts';
import { PrefillCursor, prefixTokens, sumTemperature } from './prefill-cursor.ts';
import type { PrefixHolder } from './prefix-cache.ts';
import { Sampler } from './sampler.ts';
import type { Schedulable } from './scheduler.ts';
import type { SequenceEvent, SequenceRequest } from './types.ts';

export type SequenceState = 'waiting' | 'prefilling' | 'running' | 'finished';

/** The events that end a sequence. */
export type TerminalEvent = Extract<SequenceEvent, { type: 'end' | 'error' | 'aborted' }>;

export interface SequenceOptions {
  readonly id: number;
  readonly chunkTokens: number;
  readonly decoder: Pick<Decoder, 'capacity' | 'hiddenSize'>;
  /** sampling seed where the request has none */
  readonly seed: number;
  /** gets every event, synchronously */
  readonly onEvent: (event: SequenceEvent) => void;
  /** its signal fired */
  readonly onAbort: () => void;
}

/**
 * One request's life inside the engine: waiting → prefilling → running → finished, or finished from anywhere.
 * It alone publishes its events, so it alone guards that exactly one of them is terminal.
 */
export class Sequence implements Schedulable, PrefixHolder {
  readonly id: number;
  readonly promptTokens: number;
  readonly prefix: PrefixHolder['prefix'];
  /** tokens sampled so far, the stop token included */
  readonly generatedIds: number[] = [];
  readonly #sampler: Sampler;
  readonly #stopIds: readonly number[];
  readonly #maxTokens: number;
  readonly #topLogprobs: number;
  readonly #firstPosition: number;
  /** of the shortlists' sums */
  readonly #temperature: number;
  readonly #prefillAbort = new AbortController();
  readonly #onEvent: (event: SequenceEvent) => void;
  readonly #onAbort: () => void;
  /** dropped after prefill: it holds the media embeddings, hundreds of megabytes for a large model */
  #prefill: PrefillCursor | undefined;
  #state: SequenceState = 'waiting';
  #priority: Priority;
  #slot = -1;
  #signal: AbortSignal | undefined;

  /** @param request one that checkRequest passed */
  constructor(request: SequenceRequest, options: SequenceOptions) {
    this.id = options.id;
    this.promptTokens = request.ids.length;
    this.prefix = request.prefix && { key: request.prefix.key, tokens: prefixTokens(request) };
    this.#priority = request.priority;
    this.#onEvent = options.onEvent;
    this.#onAbort = options.onAbort;
    this.#sampler = new Sampler(request.sampling, request.ids, options.seed, request.suppress);
    this.#stopIds = request.stopIds;
    this.#maxTokens = Math.min(request.maxTokens, options.decoder.capacity - request.ids.length);
    this.#topLogprobs = request.topLogprobs;
    this.#temperature = sumTemperature(request);
    this.#firstPosition = request.ids.length + request.ropeDelta;
    this.#prefill = new PrefillCursor(request, options.chunkTokens, options.decoder.hiddenSize);
  }

  get state(): SequenceState {
    return this.#state;
  }

  get slot(): number {
    return this.#slot;
  }

  get priority(): Priority {
    return this.#priority;
  }

  /** A more urgent sequence waits for the prefix that this one prefills. */
  raisePriority(priority: Priority): void {
    if (priority === 'interactive') this.#priority = priority;
  }

  get promptDone(): number {
    if (this.#prefill !== undefined) return this.#prefill.done;
    return this.generatedIds.length > 0 ? this.promptTokens : 0;
  }

  /** tokens in its slot; the newest token is fed by the next step */
  get heldTokens(): number {
    return this.promptDone + Math.max(0, this.generatedIds.length - 1);
  }

  get nextChunkTokens(): number {
    return this.#prefill?.nextTokens ?? 0;
  }

  /** Fires when the sequence ends during prefill, so that its run can be stopped. */
  get prefillSignal(): AbortSignal {
    return this.#prefillAbort.signal;
  }

  /** Aborts with `signal`. */
  follow(signal: AbortSignal): void {
    this.#signal = signal;
    signal.addEventListener('abort', this.#onAbort, { once: true });
    if (signal.aborted) this.#onAbort();
  }

  /** waiting → prefilling */
  admit(slot: number): void {
    this.#expect('waiting');
    this.#state = 'prefilling';
    this.#slot = slot;
  }

  /** Prefill starts after the tokens that were copied into the slot. */
  startPrefill(tokensTaken: number): void {
    this.#expect('prefilling');
    this.#prefill?.skip(tokensTaken);
    this.#onEvent({ type: 'prefill', done: tokensTaken, total: this.promptTokens });
  }

  nextChunk(): PrefillChunk {
    this.#expect('prefilling');
    if (this.#prefill === undefined) throw new Error(`Sequence ${this.id} has no prompt left to read. This is a bug.`);
    return this.#prefill.chunk(this.#slot);
  }

  /** The next chunk is in the slot; after the last one the sequence is running. */
  advancePrefill(): void {
    this.#expect('prefilling');
    this.#prefill?.advance();
    const done = this.#prefill?.done ?? this.promptTokens;
    if (done >= this.promptTokens) {
      this.#prefill = undefined;
      this.#state = 'running';
    }
    this.#onEvent({ type: 'prefill', done, total: this.promptTokens }); // last: the listener may abort
  }

  /**
   * The newest token, which the next step feeds: the k-th sits at prompt length + rope delta + k
   * (reference-model.md, Positions (TMRoPE)).
   */
  decodeRow(): DecodeRow {
    this.#expect('running');
    const count = this.generatedIds.length;
    const token = this.generatedIds[count - 1];
    if (token === undefined) throw new Error(`Sequence ${this.id} is decoded before its first token. This is a bug.`);
    const position = this.#firstPosition + count - 1;
    return { slot: this.#slot, token, position, temperature: this.#temperature };
  }

  /**
   * Samples the next token, publishes it, and ends the sequence when it was the last.
   * @param scores of the newest position
   * @returns false when that needs all logits and they are not here; then nothing has changed
   * @throws AvocadoError `engine_error` when the logits are not numbers
   */
  accept(scores: Scores): boolean {
    this.#expect('running');
    const sampled =
      scores.kind === 'full'
        ? this.#sampler.sample(scores.logits, this.#topLogprobs)
        : this.#sampler.sampleShortlist(scores, this.#topLogprobs);
    if (sampled === undefined) return false;
    const { id } = sampled;
    this.generatedIds.push(id);
    this.#onEvent({ type: 'token', ...sampled });
    if (this.#stopIds.includes(id)) this.end({ type: 'end', reason: 'stop' });
    else if (this.generatedIds.length >= this.#maxTokens) this.end({ type: 'end', reason: 'length' });
    return true;
  }

  /** any → finished. The first ending is the only one. */
  end(event: TerminalEvent): void {
    if (this.#state === 'finished') return;
    const wasPrefilling = this.#state === 'prefilling';
    this.#state = 'finished';
    this.#prefill = undefined;
    this.#signal?.removeEventListener('abort', this.#onAbort);
    this.#onEvent(event);
    if (wasPrefilling) this.#prefillAbort.abort();
  }

  #expect(state: SequenceState): void {
    if (this.#state !== state)
      throw new Error(`Sequence ${this.id} is ${this.#state}, expected ${state}. This is a bug.`);
  }
}
