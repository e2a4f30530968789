// Frames that are encoded while the rest of their file is still decoded: the pool asks a thread for temporal steps, and
// gets copies of them as soon as they are complete. Asking bounds the memory: a slow encoder lets nothing pile up.
import { MessageChannel, type MessagePort } from 'node:worker_threads';
import { copyOfSteps } from './patches.ts';
import type { FrameStack } from './types.ts';

interface Want {
  readonly fromStep: number;
  readonly toStep: number;
}

/** Of the thread. */
export type EarlyPort = MessagePort;

/** `late`: no step is given early any more. */
type Answer = FrameStack | 'late';

/** The pool's end. */
export class EarlySteps {
  /** for the thread */
  readonly port: EarlyPort;
  readonly #port: MessagePort;
  #isLate = false;
  #resolve: (answer: Answer) => void = () => undefined;

  constructor() {
    const { port1, port2 } = new MessageChannel();
    this.#port = port1;
    this.port = port2;
    const take = (answer: Answer): void => {
      if (answer === 'late') this.#isLate = true;
      this.#resolve(answer);
    };
    port1.on('message', take);
    port1.once('close', () => {
      take('late');
    });
  }

  /**
   * Frames of the temporal steps [fromStep, toStep), once they are decoded; one call at a time.
   * @returns undefined when the decoder has ended, failed or started over: the caller waits for its result then
   */
  async get(fromStep: number, toStep: number): Promise<FrameStack | undefined> {
    if (this.#isLate) return undefined;
    const answer = await new Promise<Answer>((resolve) => {
      this.#resolve = resolve;
      this.#port.postMessage({ fromStep, toStep } satisfies Want);
    });
    return answer === 'late' ? undefined : answer;
  }

  close(): void {
    this.#port.close();
  }
}

/** The thread's end. */
export class StepSender {
  readonly #port: MessagePort;
  #stack: FrameStack | undefined;
  readonly #hasArrived: boolean[] = [];
  #complete = 0;
  #want: Want | undefined;
  #isLate = false;

  constructor(port: EarlyPort) {
    this.#port = port;
    port.on('message', (want: Want) => {
      this.#want = want;
      this.#answer();
    });
  }

  /** @param stack that is filled from now on */
  begin(stack: FrameStack): void {
    this.#stack = stack;
  }

  /** The frame at `position` is in the stack. */
  arrived(position: number): void {
    this.#hasArrived[position] = true;
    while (this.#hasArrived[this.#complete] === true) this.#complete++;
    this.#answer();
  }

  /** The frames will be decoded again and may be others. */
  startOver(): void {
    this.#isLate = true;
    this.#answer();
  }

  close(): void {
    this.#port.close();
  }

  #answer(): void {
    const { fromStep, toStep } = this.#want ?? {};
    if (fromStep === undefined || toStep === undefined) return;
    if (this.#isLate) {
      this.#want = undefined;
      this.#port.postMessage('late' satisfies Answer);
    } else if (this.#stack !== undefined && this.#complete >= Math.min(2 * toStep, this.#stack.frames)) {
      this.#want = undefined;
      const steps = copyOfSteps(this.#stack, fromStep, toStep);
      this.#port.postMessage(steps satisfies Answer, [steps.data.buffer]);
    }
  }
}
