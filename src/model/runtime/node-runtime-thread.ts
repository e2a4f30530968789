import { Worker } from 'node:worker_threads';
import { AvocadoError } from '../../base/errors.ts';
import { workerEntry } from '../../base/worker-entry.ts';
import type { NodeRuntimeReply, NodeRuntimeRequest } from './node-runtime-messages.ts';

export type ReplyOf<T extends NodeRuntimeReply['type']> = Extract<NodeRuntimeReply, { type: T }>;

interface Asked {
  readonly request: NodeRuntimeRequest;
  readonly transfer?: ArrayBuffer[];
}

/** The thread in which onnxruntime-node runs, asked one thing at a time. */
export class RuntimeThread {
  readonly #worker: Worker;
  readonly #exited: Promise<void>;
  #settle: { resolve: (reply: NodeRuntimeReply) => void; reject: (error: Error) => void } | undefined;
  #turn: Promise<unknown>;
  #ended: AvocadoError | undefined;
  #busy = 0;

  /** The thread's first reply is `ready`; `started` gets it. */
  constructor(started: (reply: Promise<NodeRuntimeReply>) => void) {
    const { filename, execArgv } = workerEntry(import.meta.url, './node-runtime-worker');
    this.#worker = new Worker(filename, { execArgv });
    this.#worker.on('message', (reply: NodeRuntimeReply) => {
      this.#settle?.resolve(reply);
    });
    this.#worker.on('error', (cause) => {
      this.#end(cause);
    });
    this.#exited = new Promise((resolve) => {
      this.#worker.on('exit', () => {
        this.#end(undefined);
        resolve();
      });
    });
    const first = this.#reply();
    this.#turn = first.catch(() => undefined);
    started(first);
  }

  /** `makeRequest` is called when the thread is free, so that nothing is copied before its turn. */
  async ask<T extends NodeRuntimeReply['type']>(type: T, makeRequest: () => Asked): Promise<ReplyOf<T>> {
    const mine = this.#turn.then(async () => {
      const { request, transfer = [] } = makeRequest();
      const answered = this.#reply();
      this.#worker.postMessage(request, transfer);
      return answered;
    });
    this.#turn = mine.catch(() => undefined);
    const reply = await mine;
    if (reply.type === 'failed') throw new AvocadoError('engine_error', reply.message);
    if (reply.type !== type)
      throw new Error(`The runtime's thread answered ${reply.type} instead of ${type}. This is a bug.`);
    return reply as ReplyOf<T>;
  }

  /** Resolves when the thread has ended by itself, after everything asked before. */
  async close(): Promise<void> {
    this.#busy++;
    this.#worker.ref();
    if (this.#ended === undefined) await this.ask('done', () => ({ request: { type: 'close' } }));
    await this.#exited;
  }

  // A request under way keeps the process alive; an idle thread does not.
  async #reply(): Promise<NodeRuntimeReply> {
    if (this.#ended !== undefined) throw this.#ended;
    if (this.#busy++ === 0) this.#worker.ref();
    try {
      return await new Promise((resolve, reject) => {
        this.#settle = { resolve, reject };
      });
    } finally {
      if (--this.#busy === 0) this.#worker.unref();
    }
  }

  #end(cause: unknown): void {
    const said = cause instanceof Error ? `: ${cause.message}` : '';
    this.#ended ??= new AvocadoError('runtime_unavailable', `The portable runtime's thread has ended${said}.`, {
      cause,
    });
    this.#settle?.reject(this.#ended);
  }
}
