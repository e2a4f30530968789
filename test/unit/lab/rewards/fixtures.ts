// rewards.json and dialogue.json were computed by a Python reference; their notes say how.
import { readFileSync } from 'node:fs';

interface RewardFixtures {
  readonly similarity: readonly {
    readonly a: string;
    readonly b: string;
    readonly lev: number;
    readonly sim: number;
  }[];
  readonly dp: readonly {
    readonly S: readonly (readonly number[])[];
    readonly score: number;
    readonly pairs: readonly (readonly number[])[];
  }[];
  readonly rd: readonly {
    readonly N: number;
    readonly M: number;
    readonly content?: number;
    readonly speaker?: number;
    readonly value: number;
  }[];
  readonly rl: readonly (readonly [tokens: number, value: number])[];
}

export interface DialogueRow {
  readonly generated: readonly string[];
  readonly reference: readonly string[];
  readonly lev: readonly (readonly number[])[];
  readonly content_score: number;
  readonly pairs_1_based: readonly (readonly number[])[];
  readonly speaker_yes: readonly boolean[];
  readonly speaker_score: number;
  readonly value: number;
}

function read(name: string): unknown {
  return JSON.parse(readFileSync(new URL(`../../../fixtures/rewards/${name}`, import.meta.url), 'utf8'));
}

export const REWARD_FIXTURES = read('rewards.json') as RewardFixtures;
export const DIALOGUE_ROWS = (read('dialogue.json') as { readonly rows: readonly DialogueRow[] }).rows;
