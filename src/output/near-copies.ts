const COPIES = 6;
/** Shorter sentences (`Yes.`, the `1.` of a list) are passed over. */
const FEWEST_CHARACTERS = 20;
const WORDS_OF_GROUP = 4;
const FEWEST_WORDS = 200;
const FEWEST_DISTINCT = 0.5;

const SENTENCE_END = /[.!?…]/;
const CLOSING = /["'”’)\]]/;
const WIDE_SENTENCE_END = /[。！？]/;

/** Finds sentences that come again and again with other numbers, and words that come again and again in the same groups. */
export class NearCopies {
  readonly #groups = new Set<string>();
  readonly #lastWords: string[] = [];
  #words = 0;
  #word = '';
  #sentence = '';
  #ends = false;
  #previous = '';
  #copies = 0;
  #foundCopies = false;

  get found(): boolean {
    return (
      this.#foundCopies ||
      (this.#words >= FEWEST_WORDS && this.#groups.size < FEWEST_DISTINCT * (this.#words - WORDS_OF_GROUP + 1))
    );
  }

  /** @param character one code point; blanks come one at a time */
  push(character: string): void {
    if (character === ' ') {
      if (this.#ends) this.#endSentence();
      else this.#sentence += ' ';
      this.#endWord();
      return;
    }
    this.#sentence += character;
    this.#word += character;
    this.#ends = SENTENCE_END.test(character) || (this.#ends && CLOSING.test(character));
    if (WIDE_SENTENCE_END.test(character)) this.#endSentence();
  }

  /** The last word and sentence are whole. */
  finish(): void {
    this.#endWord();
    this.#endSentence();
  }

  #endSentence(): void {
    const sentence = this.#sentence
      .trim()
      .toLowerCase()
      .replace(/\p{N}+/gu, '#');
    const { length } = this.#sentence;
    this.#sentence = '';
    this.#ends = false;
    if (length < FEWEST_CHARACTERS) return;
    this.#copies = sentence === this.#previous ? this.#copies + 1 : 1;
    this.#previous = sentence;
    this.#foundCopies ||= this.#copies >= COPIES;
  }

  #endWord(): void {
    if (this.#word === '') return;
    this.#words++;
    this.#lastWords.push(this.#word.toLowerCase());
    this.#word = '';
    if (this.#lastWords.length > WORDS_OF_GROUP) this.#lastWords.shift();
    if (this.#lastWords.length === WORDS_OF_GROUP) this.#groups.add(this.#lastWords.join(' '));
  }
}
