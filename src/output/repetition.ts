// Whether a caption has collapsed into repeating itself. Three signs: a loop at its end, a loop inside it, near-copies of sentences.
import { LoopFinder } from './loop-finder.ts';
import { NearCopies } from './near-copies.ts';

/** Which signs a caption shows; loops by the length of what repeats, in characters. */
export interface Repetition {
  /** it ends in a loop: at least 4 times, at least 120 characters */
  readonly tail: number | undefined;
  /** a loop lies anywhere in it: at least 5 times, at least 200 characters */
  readonly inner: number | undefined;
  /** six sentences in a row differ in their numbers at most, or fewer than half of the groups of four words are different ones */
  readonly nearCopy: boolean;
}

/**
 * Watches text that grows, whitespace collapsed. What a character costs does not depend on how long the text is: a few
 * hundred comparisons, some microseconds a token.
 */
export class RepetitionDetector {
  readonly #loops = new LoopFinder();
  readonly #copies = new NearCopies();
  #gap = false;
  #empty = true;

  push(text: string): void {
    for (const character of text) {
      if (/\s/.test(character)) {
        this.#gap = !this.#empty;
        continue;
      }
      if (this.#gap) this.#take(' ');
      this.#gap = false;
      this.#empty = false;
      this.#take(character);
    }
  }

  /** The text so far has collapsed. */
  get collapsing(): boolean {
    return this.#loops.tail !== undefined || this.#copies.found;
  }

  /** Of the text as a whole: call it when nothing more comes. */
  finish(): Repetition {
    this.#copies.finish();
    return { tail: this.#loops.tail, inner: this.#loops.inner, nearCopy: this.#copies.found };
  }

  #take(character: string): void {
    this.#loops.push(character);
    this.#copies.push(character);
  }
}

/** The signs of collapse in a whole caption; undefined when there are none. */
export function repetitionOf(text: string): Repetition | undefined {
  const detector = new RepetitionDetector();
  detector.push(text);
  const found = detector.finish();
  return found.tail !== undefined || found.inner !== undefined || found.nearCopy ? found : undefined;
}
