import { createHash } from 'node:crypto';

/** Late in a training the rollouts of a group are often the same words. */
const MOST_REPLIES = 20_000;

/** Replies of a judge by what it was asked, the latest used ones; within one batch also those that are still under way. */
export class ReplyCache {
  readonly #replies = new Map<string, string>();
  /** by batch, so that one whose client has gone takes no other's answer with it */
  readonly #underWay = new WeakMap<AbortSignal, Map<string, Promise<string>>>();

  /** `question` is everything the reply depends on. A failure is not kept. */
  async reply(question: unknown, batch: AbortSignal, ask: () => Promise<string>): Promise<string> {
    const key = createHash('sha256').update(JSON.stringify(question)).digest('hex');
    const known = this.#replies.get(key);
    if (known !== undefined) {
      this.#keep(key, known);
      return known;
    }
    const asked = this.#underWay.get(batch) ?? new Map<string, Promise<string>>();
    this.#underWay.set(batch, asked);
    const running = asked.get(key);
    if (running !== undefined) return running;
    const reply = ask();
    asked.set(key, reply);
    try {
      const text = await reply;
      this.#keep(key, text);
      return text;
    } finally {
      asked.delete(key);
    }
  }

  #keep(key: string, text: string): void {
    this.#replies.delete(key);
    this.#replies.set(key, text);
    const [oldest] = this.#replies.keys();
    if (this.#replies.size > MOST_REPLIES && oldest !== undefined) this.#replies.delete(oldest);
  }
}
