// The engine loop: step = schedule, run, sample, publish. It knows token ids and embeddings, never text, and not which
// runtime runs the graphs.
import { randomInt } from 'node:crypto';
import { AvocadoError } from '../base/errors.ts';
import type { Foreground } from '../base/foreground.ts';
import { WorkClock } from '../base/work-clock.ts';
import type { Decoder, Scores } from '../model/execution/thinker.ts';
import { checkRequest } from './check-request.ts';
import { KvSlots } from './kv-slots.ts';
import { isInteractive, priorityScheduler, type Scheduler } from './scheduler.ts';
import { hasEnded, Sequence, type SequenceState, type TerminalEvent } from './sequence.ts';
import type { SequenceEvent, SequenceRequest } from './types.ts';

export interface EngineOptions {
  /** most prompt tokens in one run, and between two decode steps */
  readonly prefillChunk?: number | undefined;
  readonly scheduler?: Scheduler | undefined;
  /** while somebody waits there, sequences of batches get no step */
  readonly foreground?: Foreground | undefined;
  /** counts how long the decoder is busy */
  readonly clock?: WorkClock | undefined;
  /** told about faults that end no sequence */
  readonly onFault?: ((error: AvocadoError) => void) | undefined;
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
  /** prefilled; tokens copied from a cached prefix do not count */
  readonly promptTokens: number;
  /** grows with every finished run: a prefill chunk or a decode step */
  readonly progress: number;
  /** tokens in the slots over the tokens they could hold, 0 … 1 */
  readonly kvUsage: number;
  /** memory of the KV cache that sequences and kept prefixes have, over all of it, 0 … 1 */
  readonly kvReserved: number;
  /** batch sequences that gave up their slot to an interactive one */
  readonly preemptions: number;
  /** sequences that reused a cached prefix, and those that could have but had to prefill it */
  readonly prefixHits: number;
  readonly prefixMisses: number;
}

/** On a CPU longer chunks hardly speed up a prefill, but delay the next token of every running sequence. */
const DEFAULT_PREFILL_CHUNK = 512;

/**
 * Media embeddings that batch sequences keep after prefill, so that they can give up their slots: about five minutes of
 * video for a model of 7B. A sequence beyond that keeps its slot.
 */
const MOST_KEPT_BYTES = 2 ** 30;

/** A runtime that answers on the JS thread would otherwise starve sockets and timers. */
const YIELD_AFTER_MS = 10;

/** Runs many sequences on one decoder by continuous batching: prompts in chunks, one decode step for all. */
export class Engine {
  readonly #decoder: Decoder;
  readonly #scheduler: Scheduler;
  readonly #foreground: Foreground | undefined;
  readonly #clock: WorkClock;
  readonly #prefillChunk: number;
  readonly #kv: KvSlots;
  readonly #waiting: Sequence[] = [];
  #loop: Promise<void> | undefined;
  /** sampled since events were published last */
  readonly #unpublished = new Set<Sequence>();
  /** sequences came or ended */
  #onChange: () => void = () => undefined;
  /** a sequence got no turn in this step because others wait for their first token */
  #hasHeld = false;
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
    this.#foreground = options.foreground;
    this.#clock = options.clock ?? new WorkClock();
    this.#kv = new KvSlots(decoder, this.#scheduler, (thrown) =>
      options.onFault?.(engineError('A slot of the KV cache could not be copied or emptied', thrown)),
    );
  }

  /**
   * Starts a sequence at once. Its events go to `onEvent`, synchronously, and end in exactly one of end, error,
   * aborted; refusals are errors there too (`context_length_exceeded`, `bad_request`, `engine_unavailable`).
   * @returns aborts the sequence; without effect after its end
   */
  submit(request: SequenceRequest, onEvent: (event: SequenceEvent) => void, signal?: AbortSignal): () => void {
    const refusal = this.#closed ? shuttingDown() : checkRequest(request, this.#decoder);
    const sequence: Sequence = new Sequence(request, {
      id: this.#submitted++,
      chunkTokens: this.#prefillChunk,
      decoder: this.#decoder,
      seed: randomInt(2 ** 47),
      onEvent,
      onAbort: () => {
        this.#end(sequence, { type: 'aborted' });
      },
      mayKeep: (bytes) => sequence.priority === 'batch' && this.#keptBytes() + bytes <= MOST_KEPT_BYTES,
    });
    if (refusal === undefined) {
      this.#waiting.push(sequence);
      if (signal !== undefined) sequence.follow(signal);
      this.#wake();
    } else sequence.end({ type: 'error', error: refusal });
    return () => {
      this.#end(sequence, { type: 'aborted' });
    };
  }

  stats(): EngineStats {
    return {
      waiting: this.#waiting.length,
      running: this.#kv.used,
      freeSlots: this.#kv.free,
      steps: this.#steps,
      lastStepAtMs: this.#lastStepAtMs,
      generatedTokens: this.#generatedTokens,
      promptTokens: this.#promptTokens,
      progress: this.#progress,
      kvUsage: this.#kv.usage,
      kvReserved: this.#kv.reserved,
      preemptions: this.#kv.preemptions,
      prefixHits: this.#kv.prefixes.hits,
      prefixMisses: this.#kv.prefixes.misses,
    };
  }

  /** Ends every sequence with `engine_unavailable`, refuses new ones, and resolves when no run is in flight. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#endAll(shuttingDown());
    await this.#loop;
  }

  #wake(): void {
    this.#onChange();
    if (this.#loop !== undefined || this.#waiting.length === 0) return;
    this.#lastStepAtMs = performance.now();
    this.#loop = this.#run();
  }

  /** Steps until no sequence waits and no slot is held. */
  async #run(): Promise<void> {
    await Promise.resolve(); // sequences submitted together are planned together
    let yieldedAtMs = performance.now();
    for (;;) {
      try {
        await this.#releaseFinished();
        if (this.#waiting.length === 0 && this.#kv.used === 0) break;
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
    this.#takeHeld();
    // From here on: what changes once the sequences have been looked at would otherwise wake nobody.
    const changed = new Promise<void>((resolve) => (this.#onChange = resolve));
    await this.#admit();
    const prefilling = this.#owners('prefilling').filter((sequence) => this.#mayRun(sequence));
    const running = this.#running();
    const chosen = prefilling.length === 0 ? [] : this.#scheduler.prefill(prefilling);
    if (chosen.length + running.length === 0) {
      if (this.#owners('finished').length > 0) return; // aborted while they were admitted
      if (this.#takeHeld() && this.#waiting.length + this.#kv.used > 0) {
        await this.#untilFree(changed);
        return;
      }
      if (this.#waiting.length === 0) return;
      throw new Error('The scheduler planned nothing while there was work. This is a bug.');
    }
    const before = this.#clock.seconds();
    for (const sequence of chosen) await this.#prefill(sequence);
    const prefillSeconds = this.#clock.seconds().prefill - before.prefill;
    let batch = running;
    do {
      await this.#decode(batch);
      batch = this.#running();
    } while (
      batch.length > 0 &&
      this.#clock.seconds().decode - before.decode < this.#scheduler.decodeSeconds(chosen, prefillSeconds, batch)
    );
    this.#steps++;
  }

  /**
   * Fills the free slots, and takes slots of batch sequences for interactive ones. A sequence whose prefix is being
   * prefilled by another waits for that one, and raises its priority.
   */
  async #admit(): Promise<void> {
    for (;;) {
      const live = this.#kv.live();
      const ready = this.#waiting.filter((sequence) => {
        const reader = this.#kv.prefixes.readerFor(sequence, live);
        reader?.raisePriority(sequence.priority);
        return reader === undefined && this.#mayRun(sequence);
      });
      const next = await this.#kv.choose(ready, (victim) => {
        this.#waiting.push(victim);
        this.#waiting.sort((left, right) => left.id - right.id);
      });
      if (next === undefined) return;
      if (hasEnded(next)) continue; // aborted meanwhile
      this.#dequeue(next);
      try {
        // A batch sequence that got its turn before interactive ones that wait would lose its slot to them at once.
        await this.#kv.give(next, !isInteractive(next) && ready.some(isInteractive));
      } catch (thrown) {
        this.#end(next, { type: 'error', error: engineError('A slot of the KV cache could not be opened', thrown) });
      }
    }
  }

  #keptBytes(): number {
    return this.#kv.owners().reduce((sum, { keptBytes }) => sum + keptBytes, 0);
  }

  /** Not while others have the slots or the memory that the one who waits needs: they end the sooner. */
  get #holdsBatch(): boolean {
    if (this.#foreground?.isHeld !== true) return false;
    return !this.#kv.isFull || this.#owners('prefilling').some(({ priority }) => priority === 'interactive');
  }

  #mayRun({ priority }: Sequence): boolean {
    const mayRun = priority === 'interactive' || !this.#holdsBatch;
    if (!mayRun) this.#hasHeld = true;
    return mayRun;
  }

  #takeHeld(): boolean {
    const hasHeld = this.#hasHeld;
    this.#hasHeld = false;
    return hasHeld;
  }

  /** Until batches may go on, or a sequence has come or ended. */
  async #untilFree(changed: Promise<void>): Promise<void> {
    this.#publish();
    await Promise.race([changed, this.#foreground?.free()]);
    this.#lastStepAtMs = performance.now();
  }

  #running(): Sequence[] {
    return this.#owners('running').filter((sequence) => this.#mayRun(sequence));
  }

  #owners(state: SequenceState): Sequence[] {
    return this.#kv.owners().filter((sequence) => sequence.state === state);
  }

  async #prefill(sequence: Sequence): Promise<void> {
    if (sequence.state !== 'prefilling') return; // aborted since it was planned
    const chunk = sequence.nextChunk();
    try {
      const signal = sequence.prefillSignal;
      const running = this.#clock.time('prefill', () => this.#decoder.prefill(chunk, { signal }));
      this.#publish();
      const scores = await running;
      this.#promptTokens += chunk.ids.length;
      if (hasEnded(sequence)) return;
      sequence.advancePrefill();
      if (hasEnded(sequence)) return;
      if (!chunk.wantLogits) {
        await this.#kv.prefixes.keep(sequence);
        return;
      }
      if (scores === undefined) throw new Error('The decoder returned no scores for the last chunk. This is a bug.');
      if (!sequence.isReplaying) await this.#accept(sequence, scores, 0);
      this.#publish();
    } catch (thrown) {
      this.#end(sequence, { type: 'error', error: engineError('The model failed while reading the prompt', thrown) });
    } finally {
      await this.#runEnded();
    }
  }

  /** One token for every running sequence; a failure ends them all, since their slots may be half written. */
  async #decode(planned: readonly Sequence[]): Promise<void> {
    const batch = planned.filter((sequence) => sequence.state === 'running');
    if (batch.length === 0) return;
    try {
      const wanted = batch.map((sequence) => sequence.decodeRow());
      const running = this.#clock.time('decode', () => this.#decoder.decode(wanted));
      this.#publish();
      const rows = await running;
      // all sampling happens before anything else can start a run, which would overwrite the scores
      for (const [row, sequence] of batch.entries()) {
        const scores = rows[row];
        if (scores === undefined) throw new Error('The decoder returned too few rows. This is a bug.');
        sequence.advanceDecode();
        if (!hasEnded(sequence) && !sequence.isReplaying) await this.#accept(sequence, scores, row);
      }
      // Otherwise beside the next run.
      if (this.#waiting.length > 0 || batch.some(({ isEnding }) => isEnding)) this.#publish();
    } catch (thrown) {
      const error = engineError('The model failed while generating', thrown);
      for (const sequence of batch) this.#end(sequence, { type: 'error', error });
    } finally {
      await this.#runEnded();
    }
  }

  async #runEnded(): Promise<void> {
    this.#progress++;
    this.#lastStepAtMs = performance.now();
    await this.#releaseFinished();
  }

  /** Bad logits of one row end only that row's sequence. */
  async #accept(sequence: Sequence, scores: Scores, row: number): Promise<void> {
    try {
      if (!sequence.accept(scores)) {
        const logits = await this.#decoder.logits(row);
        if (hasEnded(sequence)) return; // aborted meanwhile
        sequence.accept({ kind: 'full', logits });
      }
      this.#generatedTokens++;
      this.#unpublished.add(sequence);
    } catch (thrown) {
      this.#end(sequence, { type: 'error', error: engineError('Sampling failed', thrown) });
    }
  }

  /**
   * Tells all tokens that were sampled. What listeners do with them (text, messages) takes about as long as sampling,
   * so it happens while the next run is under way.
   */
  #publish(): void {
    for (const sequence of this.#unpublished) {
      this.#unpublished.delete(sequence);
      try {
        sequence.publish();
      } catch (thrown) {
        this.#end(sequence, { type: 'error', error: engineError('Telling of a token failed', thrown) });
      }
    }
  }

  /** Publishes the ending now; a held slot is released after the current run. */
  #end(sequence: Sequence, event: TerminalEvent): void {
    if (sequence.state === 'waiting') this.#dequeue(sequence);
    sequence.end(event);
    this.#onChange();
  }

  #endAll(error: AvocadoError): void {
    for (const sequence of [...this.#waiting, ...this.#kv.owners()]) this.#end(sequence, { type: 'error', error });
  }

  #dequeue(sequence: Sequence): void {
    const index = this.#waiting.indexOf(sequence);
    if (index >= 0) this.#waiting.splice(index, 1);
  }

  /** Only called while no run is in flight. */
  async #releaseFinished(): Promise<void> {
    for (const sequence of this.#kv.owners()) if (sequence.state === 'finished') await this.#kv.release(sequence);
  }
}

function shuttingDown(): AvocadoError {
  return new AvocadoError('engine_unavailable', 'The engine is shutting down. Send the request again when it is back.');
}

/** What failed and why, as one `engine_error`; a device that failed stays a `device_unavailable`. */
function engineError(what: string, thrown: unknown): AvocadoError {
  if (thrown instanceof AvocadoError && (thrown.code === 'engine_error' || thrown.code === 'device_unavailable'))
    return thrown;
  const reason = (thrown instanceof Error ? thrown.message : String(thrown)).replace(/\.?$/, '.');
  const advice = 'Send the request again; if it fails again, run `avocado doctor`.';
  return new AvocadoError('engine_error', `${what}: ${reason} ${advice}`, { cause: thrown });
}
