/** Interactive requests go first; batch requests still advance while interactive ones wait. */
export type Priority = 'interactive' | 'batch';

/** While both classes wait, one in four scheduling turns is reserved for batch requests. */
const INTERACTIVE_TURNS_IN_A_ROW = 3;

/** Which class gets the next turn, so that neither starves the other. */
export class PriorityTurns {
  #interactiveInARow: number;

  constructor(interactiveInARow = 0) {
    this.#interactiveInARow = interactiveInARow;
  }

  /** Takes a turn. @param waiting how many of each class wait @returns undefined when none do */
  next({ interactive, batch }: Readonly<Record<Priority, number>>): Priority | undefined {
    if (interactive === 0 || batch === 0) return interactive > 0 ? 'interactive' : batch > 0 ? 'batch' : undefined;
    const isBatchTurn = this.#interactiveInARow >= INTERACTIVE_TURNS_IN_A_ROW;
    this.#interactiveInARow = isBatchTurn ? 0 : this.#interactiveInARow + 1;
    return isBatchTurn ? 'batch' : 'interactive';
  }

  /** A copy that predicts future turns without taking them. */
  fork(): PriorityTurns {
    return new PriorityTurns(this.#interactiveInARow);
  }
}
