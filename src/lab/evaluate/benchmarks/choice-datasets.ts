// Daily-Omni, WorldSense and the AVQA family: their files.
import { AvocadoError } from '../../../base/errors.ts';
import { numberOf, recoverJson } from '../../rewards/json-recovery.ts';
import { CAPTION_PROMPTS, isRow, textField, textList, type DatasetFiles, type Item, type Row } from '../benchmark.ts';
import { requiredField, usualPlaces } from '../dataset-files.ts';
import { PUBLISHED } from '../published.ts';
import { choiceBenchmark, letteredChoices, type ChoiceQuestion, type QuestionData } from './choice-questions.ts';

const QA_NOTES = [
  'Scripts count a reply only when all of it is the letter; strict reads the letter in `B.` and `B. Sizzling` too.',
];

/** `Type` and `type` are one key: the two forms of the file differ in case. */
function anyCase(row: Row, name: string): unknown {
  const key = Object.keys(row).find((one) => one.toLowerCase() === name);
  return key === undefined ? undefined : row[key];
}

function omniQuestion(row: Row, at: string, kinds: Readonly<Record<string, string>>): ChoiceQuestion {
  const answer = anyCase(row, 'answer');
  const question = anyCase(row, 'question');
  const type = anyCase(row, 'type');
  return {
    question: typeof question === 'string' ? question : requiredField(row, at, 'Question'),
    choices: letteredChoices(textList(anyCase(row, 'choice') ?? anyCase(row, 'choices'))),
    answer: (typeof answer === 'string' ? answer : requiredField(row, at, 'Answer')).trim().charAt(0).toUpperCase(),
    kinds: { ...kinds, ...(typeof type === 'string' ? { type } : {}) },
  };
}

/** Rows of one question each become items, in the order of their first questions. */
function grouped(
  rows: readonly { readonly id: string; readonly question: ChoiceQuestion }[],
): Map<string, ChoiceQuestion[]> {
  const groups = new Map<string, ChoiceQuestion[]>();
  for (const { id, question } of rows) groups.set(id, [...(groups.get(id) ?? []), question]);
  return groups;
}

export const dailyOmni = choiceBenchmark({
  name: 'daily-omni',
  title: 'Daily-Omni',
  from: 'the Hugging Face dataset liarliar/Daily-Omni (qa.json and the folders of its clips)',
  notes: QA_NOTES,
  published: PUBLISHED.dailyOmni,
  read: async (files) => {
    const rows = (await files.rows(['qa.json', 'daily_omni.json', 'daily-omni.json'])).flatMap((row, index) => {
      const id = requiredField(row, `Row ${index + 1}`, 'video_id');
      const kinds = { duration: textField(row, 'video_duration') ?? 'unknown' };
      const questions = Array.isArray(row['questions']) ? (row['questions'] as unknown[]).filter(isRow) : [row];
      return questions.map((question) => ({ id, question: omniQuestion(question, `Clip ${id}`, kinds) }));
    });
    return [...grouped(rows)].map(([id, questions]) => ({
      id,
      videos: [`${id}/${id}_video.mp4`, `Videos/${id}/${id}_video.mp4`, `videos/${id}/${id}_video.mp4`],
      prompt: CAPTION_PROMPTS.both,
      data: { questions },
    }));
  },
});

function worldQuestions(row: Row, id: string): ChoiceQuestion[] {
  const tasks = Object.keys(row).filter((key) => /^task\d+$/.test(key));
  return tasks.flatMap((key) => {
    const task = row[key];
    if (!isRow(task)) return [];
    const kinds: Record<string, string> = {};
    const kind = { 'task type': textField(task, 'task_type'), domain: textField(row, 'domain') };
    for (const [name, value] of Object.entries(kind)) if (value !== undefined) kinds[name] = value;
    kinds['duration'] = durationBucket(numberOf(row['duration']));
    const audio = textList(row['audio_class']).join(' and ');
    if (audio !== '') kinds['sound'] = audio;
    return [
      {
        question: requiredField(task, `Task of clip ${id}`, 'question'),
        choices: letteredChoices(textList(task['candidates'])),
        answer: requiredField(task, `Task of clip ${id}`, 'answer').trim().charAt(0).toUpperCase(),
        kinds,
      },
    ];
  });
}

function durationBucket(seconds: number): string {
  if (!Number.isFinite(seconds)) return 'unknown';
  return seconds <= 60 ? 'to 60 s' : seconds <= 128 ? '60 to 128 s' : seconds <= 300 ? '128 to 300 s' : 'over 300 s';
}

export const worldSense = choiceBenchmark({
  name: 'worldsense',
  title: 'WorldSense',
  from: 'the Hugging Face dataset honglyhly/WorldSense (QA file and videos/)',
  notes: [
    ...QA_NOTES,
    'On clips over 128 s the scripts misplace frames in time; this program does not, so long clips can differ.',
  ],
  published: PUBLISHED.worldSense,
  read: async (files) => {
    const found = await files.json(['worldsense_qa.json', 'qa.json', 'worldsense.json']);
    const entries = isRow(found) ? Object.entries(found) : [];
    return entries.flatMap(([id, row]) => {
      const questions = isRow(row) ? worldQuestions(row, id) : [];
      if (questions.length === 0) return [];
      return [{ id, videos: usualPlaces(id, 'videos', ''), prompt: CAPTION_PROMPTS.both, data: { questions } }];
    });
  },
});

const AVQA_NOTES = [
  ...QA_NOTES,
  'The paper gives numbers only: split, prompt and form of the choices are ours, so compare loosely.',
];
const RELATIONS: Readonly<Record<string, string>> = {
  view: 'visual',
  visual: 'visual',
  sound: 'audio',
  audio: 'audio',
};

/** @throws AvocadoError `bad_request` for an index that no choice has, which would make every reply wrong */
function letterAt(index: number, choices: number, at: string): string {
  if (Number.isInteger(index) && index >= 0 && index < choices) return String.fromCharCode(65 + index);
  throw new AvocadoError('bad_request', `${at}: its answer must be the index of a choice, from 0. Is the file whole?`);
}

export const avqa = choiceBenchmark({
  name: 'avqa',
  title: 'AVQA',
  from: 'the authors of AVQA (val_qa.json), with the clips of VGG-Sound',
  clipsVanish: true,
  notes: [...AVQA_NOTES, 'Clips vanish from YouTube: those that are not there are left out, and the others counted.'],
  published: PUBLISHED.avqa,
  read: async (files) => {
    const rows = (await files.rows(['val_qa.json'])).map((row, index) => {
      const at = `Row ${index + 1}`;
      const relation = textField(row, 'question_relation') ?? 'unknown';
      const choices = letteredChoices(textList(row['multi_choice']));
      const question: ChoiceQuestion = {
        question: requiredField(row, at, 'question_text'),
        choices,
        answer: letterAt(numberOf(requiredField(row, at, 'answer')), choices.length, at),
        kinds: {
          relation: RELATIONS[relation.toLowerCase()] ?? relation.toLowerCase(),
          type: textField(row, 'question_type') ?? 'unknown',
        },
      };
      return { id: requiredField(row, at, 'video_name'), question };
    });
    return [...grouped(rows)].map(([id, questions]) => {
      const short = id.replace(/_0+(\d+)$/, '_$1'); // the start in seconds, behind the id of YouTube
      return {
        id,
        videos: [...usualPlaces(id, 'videos', ''), ...usualPlaces(short, 'videos', '')],
        prompt: CAPTION_PROMPTS.both,
        data: { questions },
      };
    });
  },
});

/** A list of texts that may be written as JSON inside a text. */
function listInText(value: unknown): string[] {
  return typeof value === 'string' ? textList(recoverJson(value)?.value) : textList(value);
}

/** `<Object>` and the like, from left to right. */
export function filledTemplate(template: string, values: readonly string[]): string {
  const left = [...values];
  return template.replace(/<\w+>/g, (placeholder) => left.shift() ?? placeholder).replace(/[\s？?]+$/u, '') + '?';
}

/** Answers that a template has in the rows, sorted: its choices. */
function answersByTemplate(rows: readonly Row[]): Map<string, string[]> {
  const answers = new Map<string, Set<string>>();
  for (const row of rows) {
    const template = textField(row, 'question_content');
    const answer = textField(row, 'anser', 'answer');
    if (template === undefined || answer === undefined) continue;
    const known = answers.get(template.trim()) ?? new Set<string>();
    answers.set(template.trim(), known.add(answer.trim()));
  }
  return new Map([...answers].map(([template, known]) => [template, [...known].sort()]));
}

async function readMusic(
  files: DatasetFiles,
  tests: readonly string[],
  training: readonly string[],
): Promise<Item<QuestionData>[]> {
  const rows = await files.rows(tests);
  const choices = answersByTemplate((await files.optionalRows(training)) ?? rows);
  const questions = rows.map((row, index) => {
    const at = `Row ${index + 1}`;
    const template = requiredField(row, at, 'question_content').trim();
    const answer = requiredField(row, at, 'anser', 'answer').trim();
    const offered = [...new Set([...(choices.get(template) ?? []), answer])].sort();
    const [modality = 'unknown', kind = 'unknown'] = listInText(row['type']);
    const question: ChoiceQuestion = {
      question: filledTemplate(template, listInText(row['templ_values'])),
      choices: letteredChoices(offered),
      answer: String.fromCharCode(65 + offered.indexOf(answer)),
      kinds: { modality, type: `${modality} ${kind}` },
    };
    return { id: requiredField(row, at, 'video_id'), question };
  });
  return [...grouped(questions)].map(([id, own]) => ({
    id,
    videos: usualPlaces(id, 'videos', 'video', ''),
    prompt: CAPTION_PROMPTS.both,
    data: { questions: own },
  }));
}

const MUSIC_NOTES = [
  ...AVQA_NOTES,
  'The choices of a question are the answers that its template has in the training file, or in the test file itself ' +
    'where the training file is not there.',
];

export const musicAvqa = choiceBenchmark({
  name: 'music-avqa',
  title: 'MUSIC-AVQA',
  from: 'the authors of MUSIC-AVQA (avqa-test.json, avqa-train.json, videos/)',
  notes: MUSIC_NOTES,
  published: PUBLISHED.musicAvqa,
  read: (files) =>
    readMusic(
      files,
      ['avqa-test.json', 'json_update/avqa-test.json'],
      ['avqa-train.json', 'json_update/avqa-train.json'],
    ),
});

export const musicAvqa2 = choiceBenchmark({
  name: 'music-avqa-v2',
  title: 'MUSIC-AVQA-v2.0',
  from: 'the authors of MUSIC-AVQA-v2.0 (balance_full_set test and training files, videos/)',
  notes: [
    ...MUSIC_NOTES,
    'Clips with `_flip` are mirrored and clips with a foreign sound track are prepared by you; the paper does not say ' +
      'which test set it used.',
  ],
  published: PUBLISHED.musicAvqa2,
  read: (files) =>
    readMusic(
      files,
      ['balance_full_set/test.json', 'music_avqa_balance_full_test.json', 'test.json'],
      ['balance_full_set/train.json', 'music_avqa_balance_full_train.json', 'train.json'],
    ),
});
