// The chat server of a judge, a teacher or another captioner: a chat client with a cache, whose failures leave a reward
// unscored.
import { hash } from 'node:crypto';
import {
  ChatClient,
  ChatFailure,
  type ChatClientOptions,
  type ChatContent,
  type ChatExchange,
  type ChatQuestion,
  type ChatReply,
} from '../../../chat/chat-client.ts';
import { Unscored } from '../types.ts';
import { RecentMap } from '../../../base/recent-map.ts';

export interface EndpointOptions extends Omit<ChatClientOptions, 'role' | 'onReply'> {
  /** who answers, as messages and flags call it: `--judge` and `--judge-timeout` */
  readonly role?: 'judge' | 'teacher' | 'server' | undefined;
  /** receives every reply that came from the server, not those from the cache */
  readonly onReply?: ((exchange: ChatExchange) => void) | undefined;
}

/**
 * Deterministic at first; when the reply could not be read, a repeated question should not get the same reply again.
 */
const TEMPERATURE = { first: 0, repeated: 0.5 };
const MAX_TOKENS = 8192;

export class ChatEndpoint {
  readonly #options: EndpointOptions;
  readonly #client: ChatClient;
  readonly #cache = new ReplyCache();

  constructor(options: EndpointOptions) {
    const { role: name = 'judge' } = options;
    this.#options = options;
    this.#client = new ChatClient({
      ...options,
      role: { name, flag: `--${name}`, timeoutFlag: `--${name}-timeout` },
    });
  }

  /** The name that the server uses, once it has answered. */
  get model(): string {
    return this.#client.model;
  }

  /** Fields that the server rejected and that are no longer sent. */
  get droppedFields(): readonly string[] {
    return this.#client.droppedFields;
  }

  /**
   * The reply without its reasoning.
   * @param repeats how often this question was asked because the reply could not be read; part of the cache key, since
   *   otherwise the cache would return the unreadable reply
   * @throws Unscored; the signal's reason
   */
  ask(content: ChatContent, repeats: number, signal: AbortSignal): Promise<string> {
    const { baseUrl, model } = this.#options;
    const sampling = {
      temperature: repeats === 0 ? TEMPERATURE.first : TEMPERATURE.repeated,
      max_tokens: MAX_TOKENS,
    };
    const question: ChatQuestion = { messages: [{ role: 'user', content }], sampling };
    const key = { baseUrl, model, messages: question.messages, ...sampling, repeats };
    return this.#cache.reply(key, signal, async () => (await this.chat(question, signal)).text);
  }

  /**
   * One question, with retries, when its turn comes; not cached here.
   * @throws Unscored; the signal's reason
   */
  async chat(question: ChatQuestion, signal: AbortSignal): Promise<ChatReply> {
    try {
      return await this.#client.chat(question, signal);
    } catch (thrown) {
      if (!(thrown instanceof ChatFailure)) throw thrown;
      throw new Unscored(`judge_${thrown.fault}`, thrown.message, thrown.cause);
    }
  }
}

/** Late in training, many rollouts of a group are identical, so the same question comes again. */
const CACHED_REPLIES = 20_000;

/** Least recently used replies by question; within one batch, concurrent identical questions also share one request. */
class ReplyCache {
  readonly #replies = new RecentMap<string, string>(CACHED_REPLIES);
  /** by batch, so that a client that disconnects does not cancel the question of another batch */
  readonly #pending = new WeakMap<AbortSignal, Map<string, Promise<string>>>();

  /** `question` holds everything the reply depends on. A failure is not cached. */
  async reply(question: unknown, batch: AbortSignal, ask: () => Promise<string>): Promise<string> {
    const key = hash('sha256', JSON.stringify(question));
    const cached = this.#replies.get(key);
    if (cached !== undefined) {
      this.#replies.set(key, cached);
      return cached;
    }
    const pending = this.#pending.get(batch) ?? new Map<string, Promise<string>>();
    this.#pending.set(batch, pending);
    const shared = pending.get(key);
    if (shared !== undefined) return shared;
    const reply = ask();
    pending.set(key, reply);
    try {
      const text = await reply;
      this.#replies.set(key, text);
      return text;
    } finally {
      pending.delete(key);
    }
  }
}
