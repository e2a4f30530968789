// An OpenAI-compatible chat server as a client asks it: one question, one reply, with retries and limited concurrency.
import { setTimeout as sleep } from 'node:timers/promises';
import { parseJson } from '../base/json.ts';
import { retryAfterMs } from '../base/retry-after.ts';
import { Places } from '../base/places.ts';
import { Check, Type } from '../base/schema.ts';
import { patientPost, type PatientResponse } from './patient-fetch.ts';

/** refused: by what the server says, no repetition helps */
export type ChatFault = 'timeout' | 'unreachable' | 'refused';

/** Why there is no reply, in a sentence that says what to do. */
export class ChatFailure extends Error {
  readonly fault: ChatFault;

  constructor(fault: ChatFault, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = 'ChatFailure';
    this.fault = fault;
  }
}

export interface ChatClientOptions {
  /** such as http://127.0.0.1:8000/v1, without a slash at its end */
  readonly baseUrl: string;
  readonly model: string;
  readonly apiKey: string | undefined;
  /** maximum number of concurrent requests */
  readonly concurrency: number;
  /** of one attempt */
  readonly timeoutMs: number;
  /** before the second attempt; doubles with each further one */
  readonly backoffMs?: number | undefined;
  /** who answers, and the flags of its address and of its time, for messages */
  readonly role: { readonly name: string; readonly flag: string; readonly timeoutFlag: string };
  readonly onReply?: ((exchange: ChatExchange) => void) | undefined;
  /** told once when nothing answers and questions wait for their next attempts, in sentences */
  readonly onWait?: ((sentences: string) => void) | undefined;
}

/** One question and its reply as they were sent. */
export interface ChatExchange {
  readonly question: Fields;
  /** body of the reply, reasoning included */
  readonly answer: string;
}

/** A replacer of JSON.stringify for exchanges in a file: a video in a question would be most of it. */
export function withoutMedia(_key: string, value: unknown): unknown {
  return typeof value === 'string' && value.startsWith('data:') ? `data: URL of ${value.length} characters` : value;
}

/** Text, or OpenAI's content parts. */
export type ChatContent = string | readonly Fields[];

type Fields = Readonly<Record<string, unknown>>;

export interface ChatQuestion {
  readonly messages: readonly { readonly role: 'system' | 'user'; readonly content: ChatContent }[];
  /** such as temperature and max_tokens; what the server rejects of them is left out */
  readonly sampling: Fields;
}

export interface ChatReply {
  /** without its reasoning */
  readonly text: string;
  /** as the server calls it */
  readonly model: string | undefined;
  readonly finishReason: string | undefined;
  /** undefined = the server does not count */
  readonly usage: { readonly promptTokens: number; readonly completionTokens: number } | undefined;
}

const ATTEMPTS = 8;
const FIRST_BACKOFF_MS = 500;
const MAX_BACKOFF_MS = 30_000;

export class ChatClient {
  readonly #options: ChatClientOptions;
  readonly #places: Places;
  readonly #dropped = new Set<string>();
  #servedModel: string | undefined;
  #isWaiting = false;

  constructor(options: ChatClientOptions) {
    this.#options = options;
    this.#places = new Places({ places: options.concurrency });
  }

  /** The name that the server uses, once it has answered. */
  get model(): string {
    return this.#servedModel ?? this.#options.model;
  }

  /** Fields that the server rejected and that are no longer sent. */
  get droppedFields(): readonly string[] {
    return [...this.#dropped];
  }

  /**
   * One question, with retries, when its turn comes.
   * @throws ChatFailure; the signal's reason
   */
  async chat({ messages, sampling }: ChatQuestion, signal: AbortSignal): Promise<ChatReply> {
    const question = { model: this.#options.model, messages, ...sampling };
    try {
      return await this.#places.run(() => this.#askWithRetries(question, Object.keys(sampling), signal), signal);
    } catch (thrown) {
      signal.throwIfAborted(); // while it waited, which gives an error of another kind
      throw thrown;
    }
  }

  async #askWithRetries(question: Fields, optional: readonly string[], signal: AbortSignal): Promise<ChatReply> {
    for (let attempts = 1; ; attempts += 1) {
      const attempt = await this.#attempt(question, optional, signal);
      if (attempt.kind === 'reply') {
        this.#servedModel = attempt.reply.model ?? this.#servedModel;
        this.#isWaiting = false;
        this.#options.onReply?.({ question, answer: attempt.raw });
        return attempt.reply;
      }
      if (attempt.kind === 'refused' || attempts === ATTEMPTS) throw attempt.failure;
      if (attempt.isAway === true && !this.#isWaiting) {
        this.#isWaiting = true;
        this.#options.onWait?.(`${attempt.failure.message} It is asked up to ${ATTEMPTS - attempts} times more.`);
      }
      await sleep(Math.max(this.#backoff(attempts), attempt.afterMs ?? 0), undefined, { signal }).catch(() => {
        signal.throwIfAborted();
      });
    }
  }

  /**
   * A rejected field does not count as an attempt: the question is repeated at once without it, and no later one has
   * it.
   */
  async #attempt(
    question: Fields,
    optional: readonly string[],
    signal: AbortSignal,
  ): Promise<Exclude<Attempt, { kind: 'drop-field' }>> {
    const { baseUrl, apiKey, timeoutMs, role } = this.#options;
    for (;;) {
      const body = Object.fromEntries(Object.entries(question).filter(([field]) => !this.#dropped.has(field)));
      const headers: Record<string, string> = apiKey === undefined ? {} : { authorization: `Bearer ${apiKey}` };
      const call = { url: `${baseUrl}/chat/completions`, headers, body, optional, timeoutMs, role };
      const attempt = await attemptChat(call, signal);
      if (attempt.kind !== 'drop-field') return attempt;
      this.#dropped.add(attempt.field);
    }
  }

  /** Doubles, with jitter, so that an overloaded server does not get all questions again at the same moment. */
  #backoff(attempts: number): number {
    const { backoffMs = FIRST_BACKOFF_MS } = this.#options;
    return Math.min(MAX_BACKOFF_MS, backoffMs * 2 ** (attempts - 1)) * (0.5 + Math.random() / 2);
  }
}

type Attempt =
  | { readonly kind: 'reply'; readonly reply: ChatReply; readonly raw: string }
  | {
      readonly kind: 'retry';
      readonly afterMs: number | undefined;
      readonly failure: ChatFailure;
      /** there is no answer at all, not one that says why */
      readonly isAway?: boolean;
    }
  /** the server does not know this field: repeat without it */
  | { readonly kind: 'drop-field'; readonly field: string }
  | { readonly kind: 'refused'; readonly failure: ChatFailure };

interface ChatCall {
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Fields;
  /** fields of the body that may be left out */
  readonly optional: readonly string[];
  readonly timeoutMs: number;
  readonly role: ChatClientOptions['role'];
}

/** One POST to /chat/completions. Throws only the signal's reason. */
async function attemptChat(call: ChatCall, signal: AbortSignal): Promise<Attempt> {
  const timeout = AbortSignal.timeout(call.timeoutMs);
  try {
    const response = await patientPost(call.url, {
      headers: { ...call.headers, 'content-type': 'application/json' },
      body: JSON.stringify(call.body),
      signal: AbortSignal.any([signal, timeout]),
    });
    return await readResponse(response, call);
  } catch (cause) {
    signal.throwIfAborted();
    const failure = timeout.aborted
      ? new ChatFailure(
          'timeout',
          `The ${call.role.name} did not answer within ${call.timeoutMs / 1000} s: check its load, or allow more time ` +
            `with ${call.role.timeoutFlag}.`,
          cause,
        )
      : new ChatFailure(
          'unreachable',
          `Nothing answers at ${call.url}: start the ${call.role.name}, or correct ${call.role.flag}.`,
          cause,
        );
    return { kind: 'retry', afterMs: undefined, failure, isAway: !timeout.aborted };
  }
}

const QUOTED_CHARACTERS = 300;

async function readResponse(response: PatientResponse, { optional, body, role }: ChatCall): Promise<Attempt> {
  const text = await response.text();
  const { status } = response;
  if (response.ok) return readReply(text, role);
  const message = `The ${role.name} answers ${status}: ${text.slice(0, QUOTED_CHARACTERS)}`;
  if (status === 408 || status === 429 || status >= 500) {
    return {
      kind: 'retry',
      afterMs: retryAfterMs(response.headers.get('retry-after'), Date.now()),
      failure: new ChatFailure('unreachable', message),
    };
  }
  const field =
    status === 400 || status === 422
      ? optional.find((name) => name in body && new RegExp(`\\b${name}\\b`).test(text))
      : undefined;
  return field === undefined
    ? { kind: 'refused', failure: new ChatFailure('refused', message) }
    : { kind: 'drop-field', field };
}

const COMPLETION = Type.Object({
  model: Type.Optional(Type.Unknown()),
  choices: Type.Array(
    Type.Object({
      message: Type.Object({ content: Type.Optional(Type.Unknown()) }),
      finish_reason: Type.Optional(Type.Unknown()),
    }),
    { minItems: 1 },
  ),
  usage: Type.Optional(
    Type.Union([
      Type.Object({
        prompt_tokens: Type.Optional(Type.Unknown()),
        completion_tokens: Type.Optional(Type.Unknown()),
      }),
      Type.Null(),
    ]),
  ),
});

/** An answer that holds no reply is no empty reply: some servers tell an error with status 200. */
function readReply(text: string, role: ChatClientOptions['role']): Attempt {
  const completion = parseJson(text);
  if (!Check(COMPLETION, completion)) {
    const quoted = text.slice(0, QUOTED_CHARACTERS);
    const sentence =
      `The server at the ${role.name}’s URL does not answer as OpenAI’s does: check ${role.flag}. ` +
      `It answers: ${quoted === '' ? 'nothing' : quoted}`;
    return { kind: 'retry', afterMs: undefined, failure: new ChatFailure('unreachable', sentence) };
  }
  const [choice] = completion.choices;
  const content = choice?.message.content;
  const { prompt_tokens: promptTokens, completion_tokens: completionTokens } = completion.usage ?? {};
  const reply: ChatReply = {
    text: typeof content === 'string' ? withoutReasoning(content) : '',
    model: typeof completion.model === 'string' ? completion.model : undefined,
    finishReason: typeof choice?.finish_reason === 'string' ? choice.finish_reason : undefined,
    usage:
      typeof promptTokens === 'number' && typeof completionTokens === 'number'
        ? { promptTokens, completionTokens }
        : undefined,
  };
  return { kind: 'reply', reply, raw: text };
}

/** The text after a reasoning model's `</think>`; empty when the reasoning was cut off. */
export function withoutReasoning(text: string): string {
  const end = text.lastIndexOf('</think>');
  if (end !== -1) return text.slice(end + '</think>'.length).trim();
  return text.trimStart().startsWith('<think>') ? '' : text.trim();
}
