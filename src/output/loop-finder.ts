/** Longest unit that is looked for, in characters. */
const MOST_PERIOD = 400;
/** Characters remembered: more than the longest unit, a power of two. */
const WINDOW = 512;
const TAIL = { times: 4, characters: 120 };
const INNER = { times: 5, characters: 200 };
/** A unit without words, such as a ruled line, is no collapse. */
const FEWEST_LETTERS = 2;

const LETTER_OR_DIGIT = /[\p{L}\p{N}]/u;

/**
 * Finds loops at the end of text that grows by characters: for each possible unit, how long the text has equalled itself one
 * unit ago. One comparison a unit and character, no looking back.
 */
export class LoopFinder {
  readonly #recent = new Uint32Array(WINDOW);
  /** letters and digits up to each recent character */
  readonly #letters = new Uint32Array(WINDOW);
  /** for each unit, how many characters up to now equal the one a unit before */
  readonly #matching = new Uint32Array(MOST_PERIOD + 1);
  #length = 0;
  #tail: number | undefined;
  #inner: number | undefined;

  /** The shortest unit of which the text ends in a loop. */
  get tail(): number | undefined {
    return this.#tail;
  }

  /** The unit of the first long loop anywhere in the text. */
  get inner(): number | undefined {
    return this.#inner;
  }

  /** @param character one code point */
  push(character: string): void {
    const code = character.codePointAt(0) ?? 0;
    const at = this.#length % WINDOW;
    this.#recent[at] = code;
    this.#letters[at] = this.#lettersAt(this.#length - 1) + (LETTER_OR_DIGIT.test(character) ? 1 : 0);
    this.#length++;
    this.#tail = undefined;
    const recent = this.#recent;
    const matching = this.#matching;
    const longest = Math.min(this.#length - 1, MOST_PERIOD);
    for (let period = 1; period <= longest; period++) {
      const same = recent[(at - period) & (WINDOW - 1)] === code;
      const count = same ? (matching[period] ?? 0) + 1 : 0;
      matching[period] = count;
      if (count >= (TAIL.times - 1) * period) this.#judge(period, count + period);
    }
  }

  /** @param stretch characters at the end that repeat every `period` */
  #judge(period: number, stretch: number): void {
    if (stretch < Math.max(TAIL.times * period, TAIL.characters) || !this.#hasWords(period)) return;
    this.#tail ??= period;
    if (stretch >= Math.max(INNER.times * period, INNER.characters)) this.#inner ??= period;
  }

  #hasWords(period: number): boolean {
    return this.#lettersAt(this.#length - 1) - this.#lettersAt(this.#length - 1 - period) >= FEWEST_LETTERS;
  }

  #lettersAt(index: number): number {
    return index < 0 ? 0 : (this.#letters[index % WINDOW] ?? 0);
  }
}
