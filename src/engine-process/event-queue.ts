import type { CaptionEvent } from '../output/events.ts';

/** Events of one caption between the line and its one reader. */
export class EventQueue {
  #events: CaptionEvent[] = [];
  #read = 0;
  #wake: (() => void) | undefined;

  push(events: readonly CaptionEvent[]): void {
    this.#events.push(...events);
    this.#wake?.();
  }

  /** Forgets what was not read. */
  clear(): void {
    this.#events = [];
    this.#read = 0;
  }

  async next(): Promise<CaptionEvent> {
    for (;;) {
      const event = this.#events[this.#read];
      if (event !== undefined) {
        this.#read++;
        return event;
      }
      this.clear();
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      this.#wake = undefined;
    }
  }
}
