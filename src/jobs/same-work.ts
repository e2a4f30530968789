// The same work in several items is done once: the same bytes, captioned in the same way, for the same owner.
import { withSignal } from '../base/abort.ts';
import { AvocadoError } from '../base/errors.ts';
import { answerInLine, requestId } from './item-lines.ts';
import type { ItemStore } from './store/item-store.ts';
import type { Answer, Claim } from './types.ts';

/** Makes the answer of some work, or takes one that was made. @throws WorkElsewhere, and what `make` throws */
export type MakeOnce = (work: string, make: () => Promise<Answer>) => Promise<Answer>;

/** Another server has the same work: the item is given back, and finds the answer later. */
export class WorkElsewhere extends AvocadoError {
  constructor() {
    super('aborted', 'Another server captions the same file.');
  }
}

interface Made {
  /** request id of the item that it was made for */
  readonly by: string;
  readonly answer: Answer;
}

export class SameWork {
  readonly #items: Pick<ItemStore, 'sameWork'>;
  /** of this server, by owner and work */
  readonly #making = new Map<string, Promise<Made>>();

  constructor(items: Pick<ItemStore, 'sameWork'>) {
    this.#items = items;
  }

  /** @throws WorkElsewhere; the reason of the signal; what `make` throws */
  async once(claim: Claim, signal: AbortSignal, work: string, make: () => Promise<Answer>): Promise<Answer> {
    const key = `${claim.owner}\n${work}`;
    for (;;) {
      const other = this.#making.get(key);
      if (other === undefined) break;
      const made = await withSignal(
        other.catch(() => undefined),
        signal,
      );
      if (made !== undefined) return repeated(claim, made);
    }
    const making = this.#make(claim, work, make).finally(() => this.#making.delete(key));
    this.#making.set(key, making);
    return (await making).answer;
  }

  async #make(claim: Claim, work: string, make: () => Promise<Answer>): Promise<Made> {
    const by = requestId(claim);
    const same = await this.#items.sameWork(claim, work);
    if (same === undefined) return { by, answer: await make() };
    if (same.line === null) throw new WorkElsewhere();
    const told = answerInLine(same.kind, same.line);
    const answer: Answer = { ...told, promptTokens: 0, completionTokens: 0, mediaSeconds: 0 };
    return { by, answer: repeated(claim, { by: requestId(same), answer }) };
  }
}

/** Nothing was computed for it, so nothing is counted. */
function repeated(claim: Claim, { by, answer }: Made): Answer {
  const { id } = answer.body;
  const own = typeof id === 'string' ? id.replace(by, requestId(claim)) : requestId(claim);
  return {
    body: { ...answer.body, id: own },
    ...{ promptTokens: 0, completionTokens: 0, mediaSeconds: 0 },
    duplicateOf: answer.duplicateOf ?? by,
  };
}
