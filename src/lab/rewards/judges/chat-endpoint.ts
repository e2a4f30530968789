import { setTimeout as sleep } from 'node:timers/promises';
import { attemptChat, type Attempt } from './chat-attempt.ts';
import type { JudgeRecordLine } from './judge-log.ts';
import { Permits } from './permits.ts';
import { ReplyCache } from './reply-cache.ts';

export interface EndpointOptions {
  /** such as http://127.0.0.1:8000/v1, without a slash at its end */
  readonly baseUrl: string;
  readonly model: string;
  readonly apiKey: string | undefined;
  /** most requests at a time */
  readonly concurrency: number;
  /** of one try */
  readonly timeoutMs: number;
  /** before the second try; doubles with each */
  readonly backoffMs?: number | undefined;
  /** is given every answer that came from the server */
  readonly onAnswer?: ((line: JudgeRecordLine) => void) | undefined;
}

/** Text, or OpenAI's content parts. */
export type ChatContent = string | readonly Readonly<Record<string, unknown>>[];

const TRIES = 8;
const FIRST_BACKOFF_MS = 500;
const MOST_BACKOFF_MS = 30_000;
/** The judge should say the same of the same caption; but asked again it should not repeat what could not be read. */
const TEMPERATURE = { first: 0, again: 0.5 };
const MOST_TOKENS = 8192;

type Fields = Readonly<Record<string, unknown>>;

/** Any OpenAI-compatible server as one question and one answer, with retries, a cache and a bound on how much it is asked at a time. */
export class ChatEndpoint {
  readonly #options: EndpointOptions;
  readonly #permits: Permits;
  readonly #cache = new ReplyCache();
  readonly #dropped = new Set<string>();
  #servedModel: string | undefined;

  constructor(options: EndpointOptions) {
    this.#options = options;
    this.#permits = new Permits(options.concurrency);
  }

  /** As the server calls it, once it has answered. */
  get model(): string {
    return this.#servedModel ?? this.#options.model;
  }

  /** Fields that the server would not take and that are no longer sent. */
  get droppedFields(): readonly string[] {
    return [...this.#dropped];
  }

  /**
   * The reply without thoughts.
   * @param askedBefore re-asks of a reply that could not be read: each is a question of its own, or the cache would give that reply again
   * @throws Unscored; the signal's reason
   */
  ask(content: ChatContent, askedBefore: number, signal: AbortSignal): Promise<string> {
    const { baseUrl, model } = this.#options;
    const sampling = {
      temperature: askedBefore === 0 ? TEMPERATURE.first : TEMPERATURE.again,
      max_tokens: MOST_TOKENS,
    };
    const question = { model, messages: [{ role: 'user', content }], ...sampling };
    const askNow = (): Promise<string> => this.#askNow(question, Object.keys(sampling), signal);
    return this.#cache.reply({ baseUrl, ...question, askedBefore }, signal, () => this.#permits.with(signal, askNow));
  }

  async #askNow(question: Fields, optional: readonly string[], signal: AbortSignal): Promise<string> {
    for (let tries = 1; ; tries += 1) {
      const attempt = await this.#attempt(question, optional, signal);
      if (attempt.kind === 'reply') {
        this.#servedModel = attempt.model ?? this.#servedModel;
        this.#options.onAnswer?.({ question, answer: attempt.raw });
        return attempt.text;
      }
      if (attempt.kind === 'refused' || tries === TRIES) throw attempt.failure;
      await sleep(attempt.afterMs ?? this.#backoff(tries), undefined, { signal }).catch(() => {
        signal.throwIfAborted();
      });
    }
  }

  /** A field that is refused costs no try: the same question is asked at once without it, and no later one has it. */
  async #attempt(
    question: Fields,
    optional: readonly string[],
    signal: AbortSignal,
  ): Promise<Exclude<Attempt, { kind: 'without' }>> {
    const { baseUrl, apiKey, timeoutMs } = this.#options;
    for (;;) {
      const body = Object.fromEntries(Object.entries(question).filter(([field]) => !this.#dropped.has(field)));
      const headers: Record<string, string> = apiKey === undefined ? {} : { authorization: `Bearer ${apiKey}` };
      const call = { url: `${baseUrl}/chat/completions`, headers, body, optional, timeoutMs };
      const attempt = await attemptChat(call, signal);
      if (attempt.kind !== 'without') return attempt;
      this.#dropped.add(attempt.field);
    }
  }

  /** Doubles, with jitter: a judge that was overloaded must not get all questions back at one moment. */
  #backoff(tries: number): number {
    const { backoffMs = FIRST_BACKOFF_MS } = this.#options;
    return Math.min(MOST_BACKOFF_MS, backoffMs * 2 ** (tries - 1)) * (0.5 + Math.random() / 2);
  }
}
