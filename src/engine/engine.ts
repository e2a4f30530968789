// The loop that keeps the decoder busy: step = schedule, run, sample, publish. It knows token ids and embeddings,
// never text, and never which runtime runs the graphs.
import { randomInt } from 'node:crypto';
import type { AvocadoError } from '../base/errors.ts';
import type { Decoder } from '../model/execution/thinker.ts';
import { checkRequest } from './check-request.ts';
import { engineError, shuttingDown } from './engine-errors.ts';
import { PrefixReuse } from './prefix-reuse.ts';
import { priorityScheduler, type Scheduler } from './scheduler.ts';
import { Sequence, type SequenceState, type TerminalEvent } from './sequence.ts';
import { Slots } from './slots.ts';
import type { SequenceEvent, SequenceRequest } from './types.ts';

export interface EngineOptions {
  /** most prompt tokens in one run; also how much prompt may run between two decode steps of the others */
  readonly prefillChunk?: number | undefined;
  readonly scheduler?: Scheduler | undefined;
}

export interface EngineStats {
  /** sequences without a slot */
  readonly waiting: number;
  /** sequences with a slot: prefilling or decoding */
  readonly running: number;
  readonly freeSlots: number;
  readonly steps: number;
  /** performance.now() of the last progress: a run that came back, or work that arrived at an idle engine */
  readonly lastStepAtMs: number;
  readonly generatedTokens: number;
  /** that were run: those taken over from another prompt do not count */
  readonly promptTokens: number;
  /** grows with every run that came back: a chunk of a prompt, or a decode step */
  readonly progress: number;
  /** tokens in the slots over the tokens they could hold, 0 … 1 */
  readonly kvUsage: number;
  /** sequences that took the start of their prompt over, and those that shared it with nobody at hand */
  readonly prefixHits: number;
  readonly prefixMisses: number;
}

/** Longer chunks hardly raise the rate of a prefill, but delay everybody's next token. */
const DEFAULT_PREFILL_CHUNK = 512;

/** A runtime that answers without leaving the JS thread would otherwise starve sockets and timers. */
const YIELD_AFTER_MS = 10;

/** Runs many sequences on one decoder by continuous batching: prompts in chunks, one decode step for all. */
export class Engine {
  readonly #decoder: Decoder;
  readonly #scheduler: Scheduler;
  readonly #prefillChunk: number;
  readonly #slots: Slots<Sequence>;
  readonly #prefixes: PrefixReuse;
  readonly #waiting: Sequence[] = [];
  #loop: Promise<void> | undefined;
  #closed = false;
  #submitted = 0;
  #steps = 0;
  #lastStepAtMs = performance.now();
  #progress = 0;
  #generatedTokens = 0;
  #promptTokens = 0;

  constructor(decoder: Decoder, options: EngineOptions = {}) {
    this.#decoder = decoder;
    this.#prefillChunk = options.prefillChunk ?? DEFAULT_PREFILL_CHUNK;
    this.#scheduler = options.scheduler ?? priorityScheduler(this.#prefillChunk);
    this.#slots = new Slots(decoder.slots);
    this.#prefixes = new PrefixReuse(decoder);
  }

  /**
   * Starts a sequence at once, read or not. Its events end in exactly one of end, error, aborted; refusals are errors there
   * too (`context_length_exceeded`, `bad_request`, `engine_unavailable`). Leaving the iteration early aborts it.
   */
  submit(request: SequenceRequest, signal?: AbortSignal): AsyncIterableIterator<SequenceEvent, undefined> {
    const refusal = this.#closed ? shuttingDown() : checkRequest(request, this.#decoder);
    const sequence = new Sequence(request, {
      id: this.#submitted++,
      chunkTokens: this.#prefillChunk,
      decoder: this.#decoder,
      seed: randomInt(2 ** 47),
      onAbort: (leaving) => {
        this.#end(leaving, { type: 'aborted' });
      },
    });
    if (refusal !== undefined) {
      sequence.end({ type: 'error', error: refusal });
      return sequence.events;
    }
    this.#waiting.push(sequence);
    if (signal !== undefined) sequence.follow(signal);
    this.#wake();
    return sequence.events;
  }

  stats(): EngineStats {
    const heldTokens = this.#slots.owners().reduce((sum, sequence) => sum + sequence.heldTokens, 0);
    return {
      waiting: this.#waiting.length,
      running: this.#slots.used,
      freeSlots: this.#slots.free,
      steps: this.#steps,
      lastStepAtMs: this.#lastStepAtMs,
      generatedTokens: this.#generatedTokens,
      promptTokens: this.#promptTokens,
      progress: this.#progress,
      kvUsage: heldTokens / (this.#decoder.slots * this.#decoder.capacity),
      prefixHits: this.#prefixes.hits,
      prefixMisses: this.#prefixes.misses,
    };
  }

  /** Ends every sequence with `engine_unavailable`, refuses new ones, and resolves when no run is in flight. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#endAll(shuttingDown());
    await this.#loop;
  }

  #wake(): void {
    if (this.#loop !== undefined || this.#waiting.length === 0) return;
    this.#lastStepAtMs = performance.now();
    this.#loop = this.#run();
  }

  /** Steps until nobody waits and no slot is held. */
  async #run(): Promise<void> {
    await Promise.resolve(); // sequences submitted together are planned together
    let yieldedAtMs = performance.now();
    for (;;) {
      try {
        this.#releaseFinished();
        if (this.#waiting.length === 0 && this.#slots.used === 0) break;
        await this.#step();
      } catch (thrown) {
        this.#endAll(engineError('The engine failed between two runs', thrown));
      }
      if (this.#lastStepAtMs - yieldedAtMs < YIELD_AFTER_MS) continue;
      await new Promise((resolve) => setImmediate(resolve));
      yieldedAtMs = performance.now();
    }
    this.#loop = undefined;
  }

  async #step(): Promise<void> {
    await this.#admit();
    const prefilling = this.#owners('prefilling');
    const running = this.#owners('running');
    const chosen = prefilling.length === 0 ? [] : this.#scheduler.prefill(prefilling);
    if (chosen.length + running.length === 0) {
      if (this.#owners('finished').length > 0 || this.#waiting.length === 0) return; // aborted while they were admitted
      throw new Error('The scheduler planned nothing while there was work. This is a bug.');
    }
    for (const sequence of chosen) await this.#prefill(sequence);
    await this.#decode(running);
    this.#steps++;
  }

  /** Fills the free slots. Whose start is being read by another waits for that one, which is then as urgent. */
  async #admit(): Promise<void> {
    while (this.#slots.free > 0) {
      const live = this.#slots.owners().filter((sequence) => !hasEnded(sequence));
      const ready = this.#waiting.filter((sequence) => {
        const reader = this.#prefixes.readerFor(sequence, live);
        reader?.raisePriority(sequence.priority);
        return reader === undefined;
      });
      const next = ready.length === 0 ? undefined : this.#scheduler.admit(ready);
      if (next === undefined) return;
      next.admit(this.#slots.take(next));
      this.#dequeue(next);
      const taken = await this.#prefixes.takeOver(next, live);
      if (!hasEnded(next)) next.startPrefill(taken);
    }
  }

  #owners(state: SequenceState): Sequence[] {
    return this.#slots.owners().filter((sequence) => sequence.state === state);
  }

  async #prefill(sequence: Sequence): Promise<void> {
    if (sequence.state !== 'prefilling') return; // aborted since it was planned
    const chunk = sequence.nextChunk();
    try {
      const logits = await this.#decoder.prefill(chunk, { signal: sequence.prefillSignal });
      this.#promptTokens += chunk.ids.length;
      if (hasEnded(sequence)) return;
      sequence.advancePrefill();
      if (!chunk.wantLogits) {
        await this.#prefixes.keep(sequence);
        return;
      }
      if (logits === undefined) throw new Error('The decoder returned no logits for the last chunk. This is a bug.');
      this.#accept(sequence, logits);
    } catch (thrown) {
      this.#end(sequence, { type: 'error', error: engineError('The model failed while reading the prompt', thrown) });
    } finally {
      this.#runEnded();
    }
  }

  /** One token for all; a failure is everybody's, since nobody knows how far their slots were written. */
  async #decode(planned: readonly Sequence[]): Promise<void> {
    const batch = planned.filter((sequence) => sequence.state === 'running');
    if (batch.length === 0) return;
    try {
      const logits = await this.#decoder.decode(batch.map((sequence) => sequence.decodeRow()));
      const { vocabSize } = this.#decoder;
      // all sampling happens before anything else can start a run, which would overwrite the logits
      for (const [row, sequence] of batch.entries()) {
        if (!hasEnded(sequence)) this.#accept(sequence, logits.subarray(row * vocabSize, (row + 1) * vocabSize));
      }
    } catch (thrown) {
      const error = engineError('The model failed while generating', thrown);
      for (const sequence of batch) this.#end(sequence, { type: 'error', error });
    } finally {
      this.#runEnded();
    }
  }

  #runEnded(): void {
    this.#progress++;
    this.#lastStepAtMs = performance.now();
    this.#releaseFinished();
  }

  /** Bad logits of one row end that row's sequence alone. */
  #accept(sequence: Sequence, logits: Float32Array): void {
    try {
      sequence.accept(logits);
      this.#generatedTokens++;
    } catch (thrown) {
      this.#end(sequence, { type: 'error', error: engineError('Sampling failed', thrown) });
    }
  }

  /** Publishes the ending now; a held slot comes back when no run touches it, after the present one. */
  #end(sequence: Sequence, event: TerminalEvent): void {
    if (sequence.state === 'waiting') this.#dequeue(sequence);
    sequence.end(event);
  }

  #endAll(error: AvocadoError): void {
    for (const sequence of [...this.#waiting, ...this.#slots.owners()]) this.#end(sequence, { type: 'error', error });
  }

  #dequeue(sequence: Sequence): void {
    const index = this.#waiting.indexOf(sequence);
    if (index >= 0) this.#waiting.splice(index, 1);
  }

  /** Only called while no run is in flight. */
  #releaseFinished(): void {
    for (const sequence of this.#slots.owners()) {
      if (sequence.state !== 'finished') continue;
      this.#slots.release(sequence.slot, sequence);
      this.#decoder.reset(sequence.slot);
    }
  }
}

/** Read after an await, where the compiler still believes the state it saw before. */
function hasEnded(sequence: Sequence): boolean {
  return sequence.state === 'finished';
}
