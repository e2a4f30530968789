import type { ItemScore, RewardName } from './types.ts';

/** Mean and number of the values that are there. */
class Mean {
  #sum = 0;
  count = 0;

  add(value: number | null | undefined): void {
    if (value == null) return;
    this.#sum += value;
    this.count += 1;
  }

  toString(): string {
    return this.count === 0 ? '-' : (this.#sum / this.count).toFixed(4);
  }
}

/** What many scores come to: means over those that were given, how many those are, and why the others were not. */
export class Summary {
  readonly #total = new Mean();
  readonly #means: ReadonlyMap<RewardName, Mean>;
  readonly #reasons = new Map<string, number>();
  #items = 0;

  constructor(rewards: readonly RewardName[]) {
    this.#means = new Map(rewards.map((reward) => [reward, new Mean()]));
  }

  add(score: ItemScore): void {
    this.#items += 1;
    this.#total.add(score.total);
    for (const [reward, mean] of this.#means) mean.add(score[reward]?.value);
    for (const { reward, code } of score.errors)
      this.#reasons.set(`${reward} ${code}`, (this.#reasons.get(`${reward} ${code}`) ?? 0) + 1);
  }

  /** Lines for people. */
  text(): string {
    const rows = [...this.#means, ['total', this.#total] as const].map(
      ([name, mean]) => `${name.padEnd(10)} ${String(mean).padStart(8)}   of ${mean.count} of ${this.#items}`,
    );
    const reasons = [...this.#reasons].map(([reason, count]) => `null: ${reason}, ${count} times`);
    return `${[...rows, ...reasons].join('\n')}\n`;
  }
}
