// Published scores to compare with: tables 1, 2, 3 and 5 of the AVoCaDO paper, and those of the newer benchmarks.

export interface PublishedRow {
  readonly model: string;
  readonly scores: Readonly<Record<string, number>>;
}

/** @param text lines of a model and its values, with `|` between; `-` = not given */
function table(names: readonly string[], text: string): PublishedRow[] {
  return text
    .trim()
    .split('\n')
    .map((line) => {
      const [model = '', ...values] = line.split('|').map((cell) => cell.trim());
      const given = names.flatMap((name, index) => {
        const value = values[index];
        return value === undefined || value === '-' ? [] : [[name, Number(value)] as const];
      });
      return { model, scores: Object.fromEntries(given) };
    });
}

function columnsOf(rows: readonly PublishedRow[], names: Readonly<Record<string, string>>): PublishedRow[] {
  return rows.flatMap(({ model, scores }) => {
    const kept = Object.entries(names).flatMap(([from, to]) => {
      const value = scores[from];
      return value === undefined ? [] : [[to, value] as const];
    });
    return kept.length === 0 ? [] : [{ model, scores: Object.fromEntries(kept) }];
  });
}

const TABLE_1 = table(
  ['miss', 'hall', 'total', 'audio', 'visual', 'details', 'average'],
  `
Gemini-2.5-Pro | 18.1 | 13.3 | 31.3 | 69.5 | 74.7 | 73.7 | 72.6
Gemini-2.5-Flash | 19.3 | 13.9 | 33.3 | 69.1 | 75.8 | 74.0 | 73.0
InternVL3.5 8B | 53.8 | 25.5 | 79.4 | 47.9 | 64.8 | 59.5 | 57.4
Qwen2.5-VL 7B | 40.5 | 17.0 | 57.5 | 46.6 | 69.1 | 62.3 | 59.3
HumanOmniV2 7B | 49.2 | 12.3 | 61.6 | 45.6 | 66.3 | 59.5 | 57.1
ARC-Hunyuan-Video 7B | 45.7 | 12.5 | 58.2 | 52.7 | 56.0 | 55.8 | 54.8
Qwen2.5-Omni 7B | 41.7 | 15.4 | 57.1 | 46.9 | 66.1 | 60.0 | 57.7
MiniCPM-o-2.6 8B | 42.2 | 14.3 | 56.5 | 38.6 | 68.5 | 57.7 | 54.9
UGC-VideoCaptioner 3B | 31.6 | 17.0 | 48.6 | 61.4 | 58.4 | 57.5 | 59.1
video-SALMONN-2 7B | 21.2 | 17.6 | 38.8 | 61.8 | 71.4 | 68.5 | 67.2
Qwen3-Omni-Instruct 30B-A3B | 32.0 | 13.6 | 45.6 | 67.5 | 74.8 | 72.3 | 71.5
Qwen3-Omni-Captioner 30B-A3B | 31.0 | 16.6 | 47.6 | 69.0 | 75.5 | 72.3 | 72.5
AVoCaDO 7B | 21.1 | 16.2 | 37.3 | 73.0 | 74.6 | 71.8 | 73.2`,
);

const TABLE_2 = table(
  ['daily', 'world'],
  `
Gemini-2.5-Pro | 60.2 | 33.8
Gemini-2.5-Flash | 55.3 | 31.0
HumanOmniV2 7B | 8.2 | 6.6
ARC-Hunyuan-Video 7B | 8.6 | 8.7
MiniCPM-o-2.6 8B | 9.8 | 7.2
Qwen2.5-Omni 7B | 13.4 | 8.6
UGC-VideoCaptioner 3B | 17.0 | 11.2
video-SALMONN-2 7B | 29.9 | 18.2
Qwen3-Omni-Instruct 30B-A3B | 17.5 | 12.7
Qwen3-Omni-Captioner 30B-A3B | 27.2 | 14.1
AVoCaDO 7B | 50.1 | 25.7`,
);

const TABLE_3 = table(
  ['accuracy', 'score', 'f1'],
  `
VideoLLaMA3 7B | 33.4 | 1.9 | 30.5
ShareGPT4Video 8B | 35.6 | 1.8 | 19.5
AuroraCap 7B | 41.3 | 2.2 | 20.8
Qwen2.5-VL 7B | 44.5 | 2.4 | 30.1
Qwen2.5-Omni 7B | 39.7 | 2.2 | 31.6
video-SALMONN-2 7B | 46.1 | 2.5 | 34.4
AVoCaDO 7B | 47.4 | 2.5 | 35.9`,
);

const TABLE_5 = table(
  ['avqa', 'music', 'music2'],
  `
Gemini-2.5-Pro | 72.4 | 72.8 | 50.5
Qwen2.5-Omni 7B | 66.6 | 55.8 | 29.2
AVoCaDO 7B | 71.8 | 62.0 | 45.8`,
);

export const PUBLISHED = {
  videoSalmonn2: columnsOf(TABLE_1, { miss: 'miss', hall: 'hall', total: 'total' }),
  ugc: columnsOf(TABLE_1, { audio: 'audio', visual: 'visual', details: 'details', average: 'average' }),
  dailyOmni: columnsOf(TABLE_2, { daily: 'accuracy' }),
  worldSense: columnsOf(TABLE_2, { world: 'accuracy' }),
  vdc: columnsOf(TABLE_3, { accuracy: 'accuracy', score: 'score' }),
  dream: columnsOf(TABLE_3, { f1: 'f1' }),
  avqa: columnsOf(TABLE_5, { avqa: 'accuracy' }),
  musicAvqa: columnsOf(TABLE_5, { music: 'accuracy' }),
  musicAvqa2: columnsOf(TABLE_5, { music2: 'accuracy' }),
  capricorn: table(
    ['accuracy', 'coverage', 'consistency'],
    `
Gemini-3.1-Pro | 42.5 | 53.3 | 39.1
AVoCaDO 7B | 28.8 | 41.9 | 18.4
DiaDem 7B | 24.6 | - | -
video-SALMONN-2 | 22.5 | - | -
ASID-Captioner | 18.9 | - | -
Qwen3-Omni-Captioner | 14.3 | - | -
UGC-VideoCaptioner | 11.8 | - | -`,
  ),
  avscap: table(
    ['total', 'speech', 'music', 'sfx', 'synergy'],
    `
Gemini-3-Pro | 61.0 | - | - | - | -
AVSCap 7B | 60.4 | - | - | - | -
AVoCaDO 7B | 49.3 | 70.4 | 38.7 | 19.3 | 29.1
Qwen3-Omni 30B | 35.3 | - | - | - | -`,
  ),
  omniCloze: table(
    ['accuracy'],
    `
AudioMap 7B | 64.6
Qwen3-Omni-Captioner | 56.3
AVoCaDO 7B | 48.1
TimeChat-Captioner | 43.1`,
  ),
} as const;
