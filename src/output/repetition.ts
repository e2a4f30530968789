// Detects a caption that has collapsed into repeating itself. Three signs: a loop at its end, a loop inside it,
// near-copies of sentences.
/** Which signs a caption shows; loops by the length of what repeats, in characters. */
export interface Repetition {
  /** it ends in a loop: at least 4 times, at least 120 characters */
  readonly tail: number | undefined;
  /** a loop lies anywhere in it: at least 5 times, at least 200 characters */
  readonly inner: number | undefined;
  /**
   * six sentences in a row differ in their numbers at most, or fewer than half of the groups of
   * four words are different ones
   */
  readonly nearCopy: boolean;
}

/** Longest repeated unit that is detected, in characters. */
const MOST_PERIOD = 400;
/** Characters kept; more than the longest unit, a power of two. */
const WINDOW = 512;
const TAIL = { times: 4, characters: 120 };
const INNER = { times: 5, characters: 200 };
/** A unit without words, such as a ruled line, does not count. */
const FEWEST_LETTERS = 2;

const LETTER_OR_DIGIT = /[\p{L}\p{N}]/u;

/**
 * Finds loops at the end of growing text: for every period, how many characters in a row equal the one a period before.
 * One comparison per period and character.
 */
class LoopFinder {
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

const COPIES = 6;
/** Shorter sentences (`Yes.`, the `1.` of a list) are ignored. */
const FEWEST_CHARACTERS = 20;
const WORDS_OF_GROUP = 4;
const FEWEST_WORDS = 200;
const FEWEST_DISTINCT = 0.5;

const SENTENCE_END = /[.!?…]/;
const CLOSING = /["'”’)\]]/;
const WIDE_SENTENCE_END = /[。！？]/;

/** Finds sentences that repeat with only their numbers changed, and text whose groups of four words repeat. */
class NearCopies {
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

/**
 * Watches growing text, whitespace collapsed. The cost of a character does not grow with the text: a few hundred
 * comparisons.
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
