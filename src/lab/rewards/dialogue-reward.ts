import { align } from './alignment.ts';
import { dialogueF1 } from './dialogue-f1.ts';
import type { Judge } from './judges/judge.ts';
import { isWordless, normalise } from './normalise.ts';
import { codePoints, pairableSimilarity } from '../similarity.ts';
import type { DialogueLine, DialogueScore, Reference, RewardItem, RewardOptions } from './types.ts';
import { Unscored } from './unscored.ts';

type DialogueOptions = Pick<RewardOptions, 'normalisation' | 'emptyBoth' | 'strictGamma'>;

interface Lines {
  readonly said: readonly DialogueLine[];
  /** [lines, code points] */
  readonly words: readonly (readonly number[])[];
}

function linesOf(lines: readonly DialogueLine[], { normalisation }: DialogueOptions): Lines {
  const read = lines
    .map((line) => ({ line, words: normalise(line.content, normalisation) }))
    .filter(({ words }) => !isWordless(words));
  return { said: read.map(({ line }) => line), words: read.map(({ words }) => codePoints(words)) };
}

function referenceLines(
  { caption, dialogues }: Reference,
  judge: Judge,
  signal: AbortSignal,
): Promise<readonly DialogueLine[]> {
  if (dialogues !== undefined) return Promise.resolve(dialogues);
  if (caption !== undefined) return judge.dialogues(caption, 'reference', signal);
  throw new Unscored(
    'no_reference',
    'R_D compares with reference.dialogues or with the lines in reference.caption: give one of them.',
  );
}

/**
 * R_D (Eq. 4 to 7): extract the spoken lines of both sides, align them by their words, ask who speaks, and take the F1.
 * @throws Unscored
 */
export async function dialogueReward(
  { completion, reference = {}, video }: RewardItem,
  judge: Judge,
  options: DialogueOptions,
  signal: AbortSignal,
): Promise<DialogueScore> {
  const [told, truth] = await Promise.all([
    completion.trim() === '' ? [] : judge.dialogues(completion, 'caption', signal),
    referenceLines(reference, judge, signal),
  ]);
  const [generated, expected] = [linesOf(told, options), linesOf(truth, options)];
  const { content, pairs } = align(
    generated.words.map((line) => expected.words.map((other) => pairableSimilarity(line, other, options.strictGamma))),
  );
  const described = pairs.map(([row, column]) => ({
    generated: generated.said[row]?.speaker ?? '',
    reference: expected.said[column]?.speaker ?? '',
  }));
  const setting = { caption: completion, reference: reference.caption, video };
  const verdict = described.length === 0 ? undefined : await judge.sameSpeakers(described, setting, signal);
  const speakers = verdict?.same.filter(Boolean).length ?? 0;
  const counts = { generated: generated.said.length, reference: expected.said.length, content, speakers };
  return {
    value: dialogueF1(counts, options.emptyBoth),
    ...counts,
    pairs,
    ...(verdict === undefined ? {} : { speakerMode: verdict.mode }),
  };
}
