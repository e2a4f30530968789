// The judge as benchmarks and curation ask it: replies are kept on disk, re-asked while they cannot be read, counted
// and paid within a budget.
import { createHash } from 'node:crypto';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { ChatContent, ChatQuestion } from '../../chat/chat-client.ts';
import type { ChatEndpoint } from '../rewards/judges/chat-endpoint.ts';
import { fillPrompt } from '../rewards/judges/prompts.ts';
import { Unscored } from '../rewards/types.ts';
import { Journal } from './journal.ts';

export interface JudgeQuestion {
  readonly system?: string | undefined;
  readonly user: ChatContent;
  /** tells people what was asked, such as `vs2/video/7.mp4/events` */
  readonly tag: string;
}

/** @returns undefined when a reply breaks its contract: it is asked for again */
export type ReadReply<T> = (reply: string) => T | undefined;

/** US dollars for a million tokens. */
export interface Price {
  readonly prompt: number;
  readonly completion: number;
}

export interface Account {
  readonly questions: number;
  readonly promptTokens: number;
  readonly completionTokens: number;
  /** replies whose server counted no tokens */
  readonly uncounted: number;
  /** in US dollars; undefined = no price was given */
  readonly cost: number | undefined;
  /** as the servers call them, sorted */
  readonly models: readonly string[];
}

export interface JudgeSessionOptions {
  readonly endpoint: Pick<ChatEndpoint, 'chat' | 'droppedFields'>;
  /** what identifies the endpoint in keys: its URL and model */
  readonly identity: string;
  /** where replies are kept */
  readonly path: string;
  readonly price?: Price | undefined;
  /** in US dollars, over all runs in this directory */
  readonly maxCost?: number | undefined;
  readonly signal: AbortSignal;
}

interface ReplyRow {
  readonly key: string;
  readonly tag: string;
  readonly question: ChatQuestion;
  readonly text: string;
  readonly model?: string | undefined;
  readonly finish_reason?: string | undefined;
  readonly usage?: { readonly promptTokens: number; readonly completionTokens: number } | undefined;
}

type KeptReply = Pick<ReplyRow, 'text' | 'model' | 'usage'>;

/** The budget is spent: what is left can be asked with a larger one. */
export class BudgetSpent extends Error {}

const DEFAULT_ATTEMPTS = 4;
/** A repeated question should not get the same unreadable reply. */
const REPEAT_TEMPERATURE = 0.5;

export class JudgeSession {
  readonly #options: JudgeSessionOptions;
  readonly #journal: Journal<ReplyRow, KeptReply>;
  readonly #pending = new Map<string, Promise<KeptReply>>();
  readonly #used = new Map<string, KeptReply>();
  #asked = 0;
  #spent = 0;

  /** @throws AvocadoError `directory_unwritable` */
  constructor(options: JudgeSessionOptions) {
    this.#options = options;
    this.#journal = new Journal(options.path, ({ text, model, usage }) => ({ text, model, usage }));
    for (const reply of this.#journal.kept()) this.#spent += this.#costOf(reply);
  }

  /** Questions that were sent, not answered from disk. */
  get asked(): number {
    return this.#asked;
  }

  get droppedFields(): readonly string[] {
    return this.#options.endpoint.droppedFields;
  }

  /** All replies that were used, wherever they came from: the same after any number of restarts. */
  account(): Account {
    const replies = [...this.#used.values()];
    const total = (count: (usage: NonNullable<KeptReply['usage']>) => number): number =>
      replies.reduce((sum, { usage }) => sum + (usage === undefined ? 0 : count(usage)), 0);
    return {
      questions: replies.length,
      promptTokens: total(({ promptTokens }) => promptTokens),
      completionTokens: total(({ completionTokens }) => completionTokens),
      uncounted: replies.filter(({ usage }) => usage === undefined).length,
      cost:
        this.#options.price === undefined ? undefined : replies.reduce((sum, reply) => sum + this.#costOf(reply), 0),
      models: [...new Set(replies.flatMap(({ model }) => (model === undefined ? [] : [model])))].sort(),
    };
  }

  /**
   * @param run independent judgements of one caption have different runs, so that one reply does not serve all of them
   * @throws Unscored; BudgetSpent; AvocadoError `directory_unwritable`; the signal's reason
   */
  async ask<T>(
    { system, user, tag }: JudgeQuestion,
    read: ReadReply<T>,
    sampling: Readonly<Record<string, unknown>>,
    { run = 0, attempts = DEFAULT_ATTEMPTS }: { readonly run?: number; readonly attempts?: number | undefined } = {},
  ): Promise<T> {
    let text = '';
    for (let repeat = 0; repeat < attempts; repeat += 1) {
      const question: ChatQuestion = {
        messages: [
          ...(system === undefined ? [] : [{ role: 'system' as const, content: system }]),
          { role: 'user', content: user },
        ],
        sampling: repeat === 0 ? sampling : { ...sampling, temperature: REPEAT_TEMPERATURE },
      };
      ({ text } = await this.#reply(question, tag, { run, repeat }));
      const value = read(text);
      if (value !== undefined) return value;
    }
    throw new Unscored(
      'parse_failed',
      `None of ${attempts} replies has the requested form; the last one begins with ${JSON.stringify(text.slice(0, 100))}.`,
    );
  }

  /** When nothing is being asked any more: beside a question that failed, others may still be under way. */
  async settled(): Promise<void> {
    while (this.#pending.size > 0) {
      await Promise.allSettled(this.#pending.values());
      await nextTurn(); // an answer may lead to the next question
    }
  }

  close(): void {
    this.#journal.close();
  }

  async #reply(
    question: ChatQuestion,
    tag: string,
    turn: { readonly run: number; readonly repeat: number },
  ): Promise<KeptReply> {
    const key = sha256([this.#options.identity, question, turn.run, turn.repeat]);
    const pending = this.#pending.get(key) ?? this.#send(key, question, tag);
    this.#pending.set(key, pending);
    try {
      const reply = await pending;
      this.#used.set(key, reply);
      return reply;
    } finally {
      this.#pending.delete(key);
    }
  }

  async #send(key: string, question: ChatQuestion, tag: string): Promise<KeptReply> {
    const kept = this.#journal.get(key);
    if (kept !== undefined) return kept;
    const { endpoint, maxCost, signal } = this.#options;
    if (maxCost !== undefined && this.#spent >= maxCost)
      throw new BudgetSpent(`${this.#spent.toFixed(4)} of ${maxCost} US dollars are spent.`);
    const { text, model, finishReason, usage } = await endpoint.chat(question, signal);
    this.#asked += 1;
    const row = this.#journal.add({ key, tag, question, text, model, finish_reason: finishReason, usage });
    this.#spent += this.#costOf(row);
    return row;
  }

  #costOf({ usage }: KeptReply): number {
    const { price } = this.#options;
    if (price === undefined || usage === undefined) return 0;
    return (usage.promptTokens * price.prompt + usage.completionTokens * price.completion) / 1e6;
  }
}

export function sha256(value: unknown): string {
  return createHash('sha256').update(JSON.stringify(value)).digest('hex');
}

/** Between system and user message of a prompt. */
const USER_PART = /^=== user ===\n/m;

/** A prompt with its fields filled in, each part of it by `fillPrompt`. */
export function questionOf(prompt: string, fields: Readonly<Record<string, string>>, tag: string): JudgeQuestion {
  const [first = '', second] = prompt.split(USER_PART);
  const fill = (text: string): string => fillPrompt(text, fields).trim();
  return second === undefined ? { user: fill(first), tag } : { system: fill(first), user: fill(second), tag };
}
