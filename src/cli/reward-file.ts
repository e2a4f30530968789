import { createReadStream } from 'node:fs';
import process from 'node:process';
import { createInterface } from 'node:readline';
import { AvocadoError } from '../base/errors.ts';
import { checkValue } from '../base/check-value.ts';
import { scoreBatch } from '../lab/rewards/score-batch.ts';
import type { Scorer } from '../lab/rewards/score-item.ts';
import { Summary } from '../lab/rewards/summary.ts';
import type { RewardOptions } from '../lab/rewards/types.ts';
import { Unscored } from '../lab/rewards/unscored.ts';
import { answerOf, ITEM, itemOf, type WireItem } from '../lab/rewards/wire.ts';
import { write, writeJson } from './terminal.ts';
import type { CliEnvironment } from './cli-environment.ts';

/** Captions that are read ahead and scored together; their lines come out in order. */
const AT_ONCE = 256;

function itemIn(line: string, number: number): WireItem {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch (cause) {
    throw new AvocadoError('bad_request', `Line ${number} is not JSON: ${(cause as Error).message}.`, { cause });
  }
  return checkValue(ITEM, value, `line ${number}`);
}

async function* itemsOf(file: string): AsyncGenerator<readonly WireItem[]> {
  const input = file === '-' ? process.stdin : createReadStream(file);
  const lines = createInterface({ input, crlfDelay: Infinity });
  let items: WireItem[] = [];
  let number = 0;
  try {
    for await (const line of lines) {
      number += 1;
      if (line.trim() !== '') items.push(itemIn(line, number));
      if (items.length < AT_ONCE) continue;
      yield items;
      items = [];
    }
  } catch (error) {
    if (error instanceof AvocadoError) throw error;
    throw new AvocadoError(
      'bad_request',
      `${file} cannot be read (${(error as NodeJS.ErrnoException).code ?? String(error)}): name a file of JSON lines, or - for stdin.`,
      { cause: error },
    );
  }
  if (items.length > 0) yield items;
}

/**
 * Scores of every line on stdout in order, means on stderr.
 * @throws AvocadoError `bad_request` or `unknown_field` naming the line, `aborted`
 */
export async function rewardFile(
  file: string,
  scorer: Scorer,
  plan: RewardOptions,
  environment: CliEnvironment,
): Promise<void> {
  const interruption = environment.interruption();
  const stopping = new AbortController();
  const stop = (): void => {
    stopping.abort(new Unscored('aborted', 'Cancelled.'));
  };
  if (interruption.aborted) stop();
  interruption.addEventListener('abort', stop, { once: true });
  const summary = new Summary(plan.rewards);
  for await (const items of itemsOf(file)) {
    const scores = await scoreBatch(items.map(itemOf), scorer, plan, stopping.signal);
    if (interruption.aborted) throw new AvocadoError('aborted', 'The request was cancelled.');
    for (const [index, score] of scores.entries()) {
      await writeJson(environment.stdout, answerOf(items[index] ?? { completion: '' }, score));
      summary.add(score);
    }
  }
  await write(environment.stderr, summary.text());
}
