const KEPT_LINES = 20;
const KEPT_CHARACTERS = 300;

/** What ffmpeg wrote to stderr under `-loglevel level+…`: the last lines and the number of errors, however much it wrote. */
export class DecoderLog {
  readonly #lines: string[] = [];
  #errors = 0;

  add(line: string): void {
    if (line.trim() === '' || line.includes('[info]')) return;
    if (/\[(error|fatal|panic)\]/.test(line)) this.#errors++;
    // Addresses change from run to run and say nothing.
    this.#lines.push(line.replaceAll(/ @ 0x[0-9a-f]+/g, '').slice(0, KEPT_CHARACTERS));
    if (this.#lines.length > KEPT_LINES) this.#lines.shift();
  }

  get errors(): number {
    return this.#errors;
  }

  lines(): readonly string[] {
    return [...this.#lines];
  }
}
