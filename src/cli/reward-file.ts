import { createReadStream } from 'node:fs';
import process from 'node:process';
import { createInterface } from 'node:readline';
import { abortError } from '../base/abort.ts';
import { checkValue } from '../base/check-value.ts';
import { AvocadoError } from '../base/errors.ts';
import { scoreBatch, type Scorer } from '../lab/rewards/score.ts';
import { Unscored, type ItemScore, type RewardName, type RewardOptions } from '../lab/rewards/types.ts';
import { ITEM, itemOf, scoreJson, type WireItem } from '../lab/rewards/wire.ts';
import { write, writeJson } from './terminal.ts';
import type { CliEnvironment } from './cli-environment.ts';

/** Captions that are read ahead and scored together. */
const BATCH_ITEMS = 256;

/**
 * Writes the scores of every line to stdout, in order, and the means to stderr.
 * @throws AvocadoError `bad_request` or `unknown_field` naming the line, `aborted`
 */
export async function rewardFile(
  file: string,
  scorer: Scorer,
  options: RewardOptions,
  environment: CliEnvironment,
): Promise<void> {
  const interruption = environment.interruption();
  const controller = new AbortController();
  const abort = (): void => {
    controller.abort(new Unscored('aborted', 'Cancelled.'));
  };
  if (interruption.aborted) abort();
  interruption.addEventListener('abort', abort, { once: true });
  const summary = new Summary(options.rewards);
  for await (const items of batchesOf(file)) {
    const scores = await scoreBatch(items.map(itemOf), scorer, options, controller.signal);
    if (interruption.aborted) throw abortError(interruption);
    for (const [index, score] of scores.entries()) {
      await writeJson(environment.stdout, scoreJson(items[index] ?? { completion: '' }, score));
      summary.add(score);
    }
  }
  await write(environment.stderr, summary.text());
}

async function* batchesOf(file: string): AsyncGenerator<readonly WireItem[]> {
  const input = file === '-' ? process.stdin : createReadStream(file);
  const lines = createInterface({ input, crlfDelay: Infinity });
  let items: WireItem[] = [];
  let number = 0;
  try {
    for await (const line of lines) {
      number += 1;
      if (line.trim() !== '') items.push(parseLine(line, number));
      if (items.length < BATCH_ITEMS) continue;
      yield items;
      items = [];
    }
  } catch (error) {
    if (error instanceof AvocadoError) throw error;
    const reason = (error as NodeJS.ErrnoException).code ?? String(error);
    throw new AvocadoError(
      'bad_request',
      `${file} cannot be read (${reason}): name a file of JSON lines, or - for stdin.`,
      { cause: error },
    );
  }
  if (items.length > 0) yield items;
}

function parseLine(line: string, number: number): WireItem {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch (cause) {
    throw new AvocadoError('bad_request', `Line ${number} is not JSON: ${(cause as Error).message}.`, { cause });
  }
  return checkValue(ITEM, value, `line ${number}`);
}

/** Mean and count of the values that are not null. */
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

/** The mean of each reward over the captions that have it, how many have it, and the reasons why others do not. */
class Summary {
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

  /** A text table. */
  text(): string {
    const rows = [...this.#means, ['total', this.#total] as const].map(
      ([name, mean]) => `${name.padEnd(10)} ${String(mean).padStart(8)}   of ${mean.count} of ${this.#items}`,
    );
    const reasons = [...this.#reasons].map(([reason, count]) => `null: ${reason}, ${count} times`);
    return `${[...rows, ...reasons].join('\n')}\n`;
  }
}
