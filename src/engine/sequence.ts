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
  /** asked after prefill: may these bytes of media embeddings be kept, so that the prompt can be read again? */
  readonly mayKeep?: (bytes: number) => boolean;
}

/** So that a batch of interactive requests cannot hold up a sequence forever. */
const MOST_PREEMPTIONS = 2;

/**
 * One request's life inside the engine: waiting → prefilling → running → finished, or finished from anywhere. When its
 * slot is taken away it waits again; then its prompt is read and its tokens are fed once more, which gives the same
 * keys and values, and nothing is told twice. It alone publishes its events, so it alone guards that exactly one of
 * them is terminal.
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
  readonly #mayKeep: (bytes: number) => boolean;
  /** tokens that were sampled and not told yet */
  readonly #untold: SequenceEvent[] = [];
  /** to be told after them */
  #ending: TerminalEvent | undefined;
  /** dropped after prefill: it holds the media embeddings, hundreds of megabytes for a large model */
  #prefill: PrefillCursor | undefined;
  /** makes `#prefill` again; undefined once it must not */
  #again: (() => PrefillCursor) | undefined;
  readonly #embedBytes: number;
  #preemptions = 0;
  #keepsSlot = false;
  /** prompt tokens told as read: a prompt that is read again is not told again */
  #toldPrompt = -1;
  /** generated tokens whose keys and values are in the slot */
  #fed = 0;
  #state: SequenceState = 'waiting';
  readonly #priority: Priority;
  /** a more urgent sequence waits for the prefix that this one reads */
  #isRaised = false;
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
    this.#mayKeep = options.mayKeep ?? ((): boolean => false);
    this.#embedBytes = request.mediaEmbeds.byteLength;
    this.#again = () => new PrefillCursor(request, options.chunkTokens, options.decoder.hiddenSize);
    this.#prefill = this.#again();
  }

  get state(): SequenceState {
    return this.#state;
  }

  get slot(): number {
    return this.#slot;
  }

  get priority(): Priority {
    return this.#isRaised ? 'interactive' : this.#priority;
  }

  /** Until the prefix is read: the one who waits for it then may need the slot. */
  raisePriority(priority: Priority): void {
    if (priority === 'interactive') this.#isRaised = true;
  }

  /** tokens that its slot holds at most; the last one generated is never fed */
  get mostTokens(): number {
    return this.promptTokens + this.#maxTokens;
  }

  get promptDone(): number {
    if (this.#prefill !== undefined) return this.#prefill.done;
    return this.#state === 'running' ? this.promptTokens : 0;
  }

  /** tokens in its slot; the newest token is fed by the next step */
  get heldTokens(): number {
    return this.promptDone + this.#fed;
  }

  /** It can give up its slot and lose nothing but time. */
  get isPreemptible(): boolean {
    const holdsSlot = this.#state === 'prefilling' || this.#state === 'running';
    return holdsSlot && this.#again !== undefined && !this.#keepsSlot;
  }

  /** bytes of media embeddings that are kept only for that */
  get keptBytes(): number {
    return this.#state === 'running' && this.#again !== undefined ? this.#embedBytes : 0;
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

  /**
   * waiting → prefilling
   * @param keepsSlot it does not give it up again
   */
  admit(slot: number, keepsSlot = false): void {
    this.#expect('waiting');
    this.#state = 'prefilling';
    this.#slot = slot;
    this.#keepsSlot = keepsSlot || this.#preemptions >= MOST_PREEMPTIONS;
  }

  /** prefilling or running → waiting; its slot is empty from now on */
  preempt(): void {
    if (!this.isPreemptible) throw new Error(`Sequence ${this.id} cannot give up its slot. This is a bug.`);
    this.#state = 'waiting';
    this.#slot = -1;
    this.#prefill = this.#again?.();
    this.#fed = 0;
    this.#preemptions++;
  }

  /** Prefill starts after the tokens that were copied into the slot. */
  startPrefill(tokensTaken: number): void {
    this.#expect('prefilling');
    this.#prefill?.skip(tokensTaken);
    this.#tellPrefill(tokensTaken);
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
    if (done >= (this.prefix?.tokens ?? 0)) this.#isRaised = false;
    if (done >= this.promptTokens) {
      if (this.#keepsSlot || !this.#mayKeep(this.#embedBytes)) this.#again = undefined;
      this.#prefill = undefined;
      this.#state = 'running';
    }
    this.#tellPrefill(done); // last: the listener may abort
  }

  /** Whether it knows the token after those in its slot: then the scores of the last run say nothing new. */
  get isReplaying(): boolean {
    return this.#fed < this.generatedIds.length;
  }

  /**
   * The token that the next step feeds, usually the newest one: the k-th sits at prompt length + rope delta + k
   * (reference-model.md, Positions (TMRoPE)).
   */
  decodeRow(): DecodeRow {
    this.#expect('running');
    const token = this.generatedIds[this.#fed];
    if (token === undefined) throw new Error(`Sequence ${this.id} is decoded before its first token. This is a bug.`);
    const position = this.#firstPosition + this.#fed;
    return { slot: this.#slot, token, position, temperature: this.#temperature };
  }

  /** The token of `decodeRow` is in the slot. */
  advanceDecode(): void {
    this.#fed++;
  }

  /** Whether the token that was sampled last is the last. */
  get isEnding(): boolean {
    return this.#ending !== undefined;
  }

  /**
   * Samples the next token, which `publish` tells.
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
    this.#untold.push({ type: 'token', ...sampled });
    if (this.#stopIds.includes(id)) this.#ending = { type: 'end', reason: 'stop' };
    else if (this.generatedIds.length >= this.#maxTokens) this.#ending = { type: 'end', reason: 'length' };
    return true;
  }

  /** Tells the tokens that were sampled, and ends the sequence after the last. */
  publish(): void {
    if (this.#ending === undefined) this.#tell();
    else this.end(this.#ending);
  }

  /** any → finished. The first ending is the only one. */
  end(event: TerminalEvent): void {
    this.#tell();
    if (this.#state === 'finished') return;
    const wasPrefilling = this.#state === 'prefilling';
    this.#state = 'finished';
    this.#prefill = undefined;
    this.#again = undefined;
    this.#signal?.removeEventListener('abort', this.#onAbort);
    this.#onEvent(event);
    if (wasPrefilling) this.#prefillAbort.abort();
  }

  #tell(): void {
    for (const event of this.#untold.splice(0)) this.#onEvent(event);
  }

  #tellPrefill(done: number): void {
    if (done <= this.#toldPrompt) return;
    this.#toldPrompt = done;
    this.#onEvent({ type: 'prefill', done, total: this.promptTokens });
  }

  #expect(state: SequenceState): void {
    if (this.#state !== state)
      throw new Error(`Sequence ${this.id} is ${this.#state}, expected ${state}. This is a bug.`);
  }
}

/** Read after an await, where the compiler still believes the state it saw before. */
export function hasEnded(sequence: Pick<Sequence, 'state'>): boolean {
  return sequence.state === 'finished';
}
