// The stages of a request, one line each: its name, a progress bar, and its duration in seconds.

const NAMES = {
  upload: 'Sending',
  queued: 'Waiting for its turn',
  fetch: 'Fetching',
  probe: 'Looking at the file',
  decode: 'Reading frames and sound',
  encode: 'Seeing and hearing',
  prefill: 'Reading the prompt',
  generate: 'Writing',
};

/** Fills `list`, an <ol>. `say` receives the name of every new stage, for screen readers. */
export class StageList {
  constructor(list, say) {
    this.list = list;
    this.say = say;
  }

  clear() {
    this.list.replaceChildren();
    this.current = undefined;
  }

  /** Shows that a stage is running, `done` of `total`; the stage before it has ended. */
  show(stage, done, total) {
    if (this.current?.stage !== stage) this.#begin(stage);
    const { bar } = this.current;
    if (total > 1 && done <= total) {
      bar.max = total;
      bar.value = done;
    }
  }

  /** Ends the running stage. */
  end() {
    if (this.current === undefined) return;
    const { line, bar, seconds, startedMs } = this.current;
    line.removeAttribute('aria-current');
    bar.max = 1;
    bar.value = 1;
    seconds.textContent = ((performance.now() - startedMs) / 1000).toFixed(2) + ' s';
    this.current = undefined;
  }

  #begin(stage) {
    this.end();
    const name = NAMES[stage] ?? stage;
    const [line, label, bar, seconds] = ['li', 'span', 'progress', 'span'].map((tag) => document.createElement(tag));
    label.textContent = name;
    bar.setAttribute('aria-label', name);
    seconds.className = 'seconds';
    line.setAttribute('aria-current', 'step');
    line.append(label, bar, seconds);
    this.list.append(line);
    this.current = { stage, line, bar, seconds, startedMs: performance.now() };
    this.say(name + ' …');
  }
}
