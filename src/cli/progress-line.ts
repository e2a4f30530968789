import type { Writable } from 'node:stream';

const CLEAR_LINE = '\r\u001b[2K';

/** Where the work stands, on stderr: one line that rewrites itself for a person, plain lines for a log, nothing for a script. */
export class ProgressLine {
  readonly #stderr: Writable;
  readonly #mode: 'rewrite' | 'lines' | 'off';
  #shown = '';
  #text = '';

  constructor(stderr: Writable, options: { readonly terminal: boolean; readonly verbose: boolean }) {
    this.#stderr = stderr;
    this.#mode = options.terminal ? 'rewrite' : options.verbose ? 'lines' : 'off';
  }

  get visible(): boolean {
    return this.#mode !== 'off';
  }

  /** `done` of `total` of something; in a log every text is worth one line, its numbers are not. */
  show(text: string, done = 0, total = 0): void {
    if (this.#mode === 'off') return;
    const shown = total > 1 ? `${text} ${done}/${total}` : text;
    if (shown === this.#shown) return;
    if (this.#mode === 'rewrite') this.#stderr.write(`${CLEAR_LINE}${shown} …`);
    else if (text !== this.#text) this.#stderr.write(`${text}\n`);
    this.#shown = shown;
    this.#text = text;
  }

  /** Makes room for other text. */
  clear(): void {
    if (this.#mode === 'rewrite' && this.#shown !== '') this.#stderr.write(CLEAR_LINE);
    this.#shown = '';
    this.#text = '';
  }

  /** A line that stays. */
  note(text: string): void {
    if (this.#mode === 'off') return;
    this.clear();
    this.#stderr.write(`${text}\n`);
  }
}
