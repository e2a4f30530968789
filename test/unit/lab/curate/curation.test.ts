// A set of 100 clips with a teacher that fails in every way: each sample has one decision with its reason.
import { mkdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { checkRules, metaReason, sentencesOf } from '../../../../src/lab/curate/rules.ts';
import { exportFiles, EXPORTS } from '../../../../src/lab/curate/exporters.ts';
import { parseCompleteness } from '../../../../src/lab/curate/pipeline.ts';
import { cardOf, runCuration, type CurationOptions } from '../../../../src/lab/curate/run-curation.ts';
import { Unscored } from '../../../../src/lab/rewards/types.ts';
import { textOf } from '../../../fixtures/benchmarks.ts';
import { audioOf, clipNamedIn, completenessReply, teacherReply, visualOf } from '../../../fixtures/curation.ts';
import { scratchDirectory } from '../../../fixtures/scratch.ts';

const scratch = scratchDirectory();
const SAMPLES = 100;

type Endpoint = CurationOptions['teacher']['endpoint'];

const reply = (text: string): Awaited<ReturnType<Endpoint['chat']>> => {
  return { text, model: 'teacher-1', finishReason: 'stop', usage: { promptTokens: 1000, completionTokens: 100 } };
};

/** The clip of a question is the number that its bytes or texts hold. */
function endpoint(answer: (text: string, index: number) => string): Endpoint & { asked: number } {
  const own = {
    asked: 0,
    droppedFields: [],
    chat: async (question: Parameters<Endpoint['chat']>[0]) => {
      const [{ content }] = question.messages as [(typeof question.messages)[number]];
      const part = typeof content === 'string' ? undefined : (content[0]?.['video_url'] as { readonly url: string });
      const text = textOf(question);
      const bytes = Buffer.from(part?.url.split(',')[1] ?? '', 'base64').toString();
      const index = part === undefined ? clipNamedIn(text) : Number(bytes);
      own.asked += 1;
      return reply(answer(text, index));
    },
  };
  return own;
}

const teacher = (isFaulty: boolean) =>
  endpoint((text, index) => {
    const answer = teacherReply(text, index, isFaulty);
    if (answer === undefined) throw new Unscored('judge_timeout', 'No answer.');
    return answer;
  });

const judge = () => endpoint(completenessReply);

function optionsFor(at: string, over: Partial<CurationOptions> = {}): CurationOptions {
  const directory = scratch(at);
  mkdirSync(join(directory, 'clips'), { recursive: true });
  const rows = Array.from({ length: SAMPLES }, (_, index) => {
    writeFileSync(join(directory, 'clips', `${index}.mp4`), String(index));
    return JSON.stringify({
      sample_id: `s${index}`,
      source: index < 50 ? 'one' : 'two',
      video: `clips/${index}.mp4`,
      duration: 20,
    });
  });
  const manifest = join(directory, 'manifest.jsonl');
  writeFileSync(manifest, rows.join('\n'));
  return {
    manifest,
    out: join(directory, 'out'),
    teacher: { endpoint: teacher(true), identity: 'teacher', model: 'teacher' },
    judge: { endpoint: judge(), identity: 'judge', model: 'judge' },
    exports: EXPORTS,
    keepFrom: 4,
    grpo: 10,
    seed: 0,
    concurrency: 4,
    signal: new AbortController().signal,
    onProgress: () => undefined,
    ...over,
  };
}

describe('a set of 100 clips', () => {
  it('has a decision with a reason for each, and counts that add up', async () => {
    const options = optionsFor('faults');
    const card = await runCuration(options);
    expect(card).toMatchObject({ samples: 100, kept: 30, dropped: 60, open: 10, grpo: 10 });
    expect(card.sources['one']).toEqual({
      kept: 15,
      'dropped visual: refusal': 5,
      'dropped rules: too_short': 5,
      'dropped rules: repetition': 5,
      'dropped rules: lost_sentences': 5,
      'dropped completeness: score_3': 5,
      'dropped completeness: unreadable': 5,
      'open audio: judge_timeout': 5,
    });
    const counts = Object.values(card.sources).flatMap((source) => Object.values(source));
    expect(counts.reduce((sum, count) => sum + count, 0)).toBe(100);
    expect(card.completeness).toEqual({ 3: 10, 5: 30 });

    const again = { ...options, teacher: { ...options.teacher, endpoint: teacher(false) } };
    const resumed = await runCuration(again);
    expect(resumed).toMatchObject({ kept: 40, dropped: 60, open: 0 });
    // Only the clips that had timed out are asked about: their sound and their fusion.
    expect((again.teacher.endpoint as { asked?: number }).asked).toBe(20);
  });

  it('is exported in the row shapes of the trainers', async () => {
    const options = optionsFor('exports', {
      teacher: { endpoint: teacher(false), identity: 't', model: 't' },
      grpo: 3,
    });
    const card = await runCuration(options);
    const read = (name: string): string => readFileSync(join(options.out, name), 'utf8');
    const rows = (name: string): Record<string, unknown>[] =>
      read(name)
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line) as Record<string, unknown>);
    const swift = rows('ms-swift-sft.jsonl');
    expect(swift).toHaveLength(card.kept);
    for (const row of swift) {
      const messages = row['messages'] as { role: string; content: string }[];
      expect(messages.map(({ role }) => role)).toEqual(['system', 'user', 'assistant']);
      expect(messages[1]!.content.split('<video>')).toHaveLength(2);
      expect([Object.keys(row), (row['videos'] as unknown[]).length]).toEqual([['messages', 'videos'], 1]);
    }
    const grpo = rows('ms-swift-grpo.jsonl');
    expect(grpo).toHaveLength(3);
    expect((grpo[0]!['messages'] as unknown[]).length).toBe(2);
    expect(grpo[0]).toMatchObject({ dialogues: [{ speaker: 'Man', content: 'We begin' }] });
    const factory = JSON.parse(read('llama-factory.json')) as {
      messages: { content: string }[];
      videos: string[];
      audios: string[];
    }[];
    for (const { messages, videos, audios } of factory) {
      expect(messages[0]!.content.startsWith('<video><audio>')).toBe(true);
      expect(audios).toHaveLength(videos.length);
    }
    expect(JSON.parse(read('dataset_info.json'))).toMatchObject({ avocado_sft: { formatting: 'sharegpt' } });
    const [trl] = rows('trl-sft.jsonl');
    expect(trl).toMatchObject({
      messages: [{ content: [{ type: 'video' }, { type: 'text' }] }, { role: 'assistant' }],
    });
    const [verl] = rows('verl-grpo.jsonl');
    expect(Object.keys(verl!)).toEqual(['data_source', 'prompt', 'ability', 'reward_model', 'extra_info', 'videos']);
    const truth = (verl!['reward_model'] as { ground_truth: string }).ground_truth;
    expect(Object.keys(JSON.parse(truth) as object)).toEqual(['caption', 'keypoints', 'dialogues']);
    expect(rows('captions.jsonl')[0]).toMatchObject({ sample_id: 's0', completeness: 5 });
  });

  it('goes on behind files that cannot be read, and leaves the names of sources as they are', async () => {
    const options = optionsFor('unreadable');
    const large = join(options.out, '..', 'clips', 'large.mp4');
    writeFileSync(large, '');
    truncateSync(large, 3 * 1024 ** 3);
    const rows = ['.', 'clips/large.mp4', 'clips/7.mp4'].map((video, index) =>
      JSON.stringify({ sample_id: `u${index}`, source: 'ActivityNet', video, duration: '' }),
    );
    writeFileSync(options.manifest, `\uFEFF${rows.join('\r\n')}`);
    const card = await runCuration({ ...options, teacher: { ...options.teacher, endpoint: teacher(false) } });
    const told = {
      'dropped ingest: media_not_a_file': 1,
      'dropped ingest: media_too_large': 1,
      kept: 1,
    };
    expect(card.sources).toEqual({ ActivityNet: told });
    const written = JSON.parse(readFileSync(join(options.out, 'card.json'), 'utf8')) as Record<string, unknown>;
    expect(written).toMatchObject({ sources: { ActivityNet: told }, prompts_sha256: card.prompts_sha256 });
    await expect(runCuration({ ...options, manifest: options.out })).rejects.toMatchObject({ code: 'bad_request' });
  });

  it('has the same samples for GRPO in any order of the manifest', async () => {
    const options = optionsFor('order', { teacher: { endpoint: teacher(false), identity: 't', model: 't' }, grpo: 5 });
    const chosen = (): string[] =>
      readFileSync(join(options.out, 'ms-swift-grpo.jsonl'), 'utf8')
        .trim()
        .split('\n')
        .map((line) => (JSON.parse(line) as { sample_id: string }).sample_id)
        .sort();
    await runCuration(options);
    const first = chosen();
    writeFileSync(options.manifest, readFileSync(options.manifest, 'utf8').split('\n').reverse().join('\n'));
    await runCuration(options);
    expect([first.length, chosen()]).toEqual([5, first]);
    await runCuration({ ...options, seed: 1 });
    expect(chosen()).not.toEqual(first);
  });

  it('tells of samples whose checklists the judge did not answer, and asks again', async () => {
    const options = optionsFor('grpo-open', {
      teacher: { endpoint: teacher(false), identity: 't', model: 't' },
      grpo: 4,
    });
    const gone = endpoint((text, index) => {
      if (text.includes('everything that is said')) throw new Unscored('judge_unreachable', 'Nothing answers.');
      return completenessReply(text, index);
    });
    const card = await runCuration({ ...options, judge: { ...options.judge, endpoint: gone } });
    expect(card).toMatchObject({ open: 0, grpo: 0, grpoOpen: 4 });
    expect(readFileSync(join(options.out, 'card.md'), 'utf8')).toContain('4 more wait for the judge');
    expect(await runCuration(options)).toMatchObject({ grpo: 4, grpoOpen: 0 });
  });

  it('may be larger than a string or the arguments of a call may be', () => {
    const sample = { id: 's', source: 'one', video: 'v.mp4' };
    const decision = { sample, state: 'kept', stage: 'completeness', reason: '', caption: 'A dog.' } as const;
    const many = Array.from({ length: 200_000 }, () => decision);
    const account = () => ({
      questions: 0,
      promptTokens: 0,
      completionTokens: 0,
      uncounted: 0,
      cost: undefined,
      models: [],
    });
    const models = { teacher: { model: 't' }, judge: { model: 'j' } };
    const card = cardOf(many, 0, models, { teacher: { account }, judge: { account } });
    expect(card).toMatchObject({ kept: 200_000, words: { longest: 2 } });
    for (const name of EXPORTS)
      for (const [file, text] of Object.entries(exportFiles(name, [decision, decision])))
        for (const piece of text) expect(piece.match(/v\.mp4/g)?.length ?? 0, file).toBeLessThanOrEqual(2);
  });

  it('stops asking when the money is spent', async () => {
    const options = optionsFor('budget', { grpo: 0 });
    const price = { prompt: 100, completion: 100 };
    const endpointWithPrice = { endpoint: teacher(false), identity: 't', model: 't', price, maxCost: 5 };
    const card = await runCuration({ ...options, concurrency: 1, teacher: endpointWithPrice });
    expect(card.open).toBeGreaterThan(0);
    expect(card.kept + card.dropped + card.open).toBe(SAMPLES);
    expect(card.teacher.account.cost).toBeCloseTo(5.06, 1);
  });
});

describe('rules', () => {
  it('find what fusion lost', () => {
    const [visual, audio] = [visualOf(1), audioOf(1)];
    const added =
      'Far away lies an island which nobody in this film ever speaks of or looks at or dreams about. '.repeat(3);
    const check = (fused: string) => checkRules({ visual, audio, fused }, 20);
    expect(check(`${audio} ${visual}`)).toMatchObject({ reason: undefined, preserved: { sentences: 1, quotes: 1 } });
    expect(check(`${visual} ${audio}`.replace('number 1 today', 'something else')).reason).toBe('lost_speech');
    expect(check(`Visual caption: ${visual} ${audio}`).reason).toBe('meta');
    expect(check(`${visual} ${audio} ${added}`).reason).toBe('added_length');
    expect(checkRules({ visual, audio, fused: `${visual} ${audio}` }, 0.5).reason).toBe('too_much_speech');
    expect(sentencesOf('He says "Stop!" Then 3 beeps.')).toHaveLength(2);
  });

  it('cut no number, abbreviation or address in two', () => {
    const sentences = [
      'The 3.5 m pole of the U.S. team, etc., stands at example.com...',
      '...and "It is 10.15 a.m.!", he says.',
      'Wait?!',
      '他走。',
      '她说：“好！”',
      'No end',
    ];
    expect(sentencesOf(sentences.join(' '))).toEqual([
      'The 3.5 m pole of the U.S.',
      'team, etc., stands at example.com...',
      ...sentences.slice(1),
    ]);
    expect(sentencesOf('One\nTwo.')).toEqual(['One', 'Two.']);
  });

  it('take no words that people in the video say for a refusal', () => {
    expect(metaReason('She whispers “I’m sorry”, and he shouts "I can\'t hear you". Rain falls.')).toBeUndefined();
    expect(metaReason('I\'m sorry, but I cannot watch "Tom and Jerry".')).toBe('refusal');
  });

  it('of completeness take numbers alone', () => {
    for (const bad of ['{"score": [4]}', '{"score": true}']) expect(parseCompleteness(bad)).toBeUndefined();
  });

  it('read a completeness from 1 to 5', () => {
    expect(parseCompleteness('{"score": 4, "missing": ["x"]}')).toEqual({ score: 4, missing: ['x'] });
    for (const bad of ['{"score": 6}', '4', '{"score": 4.5}', 'none']) expect(parseCompleteness(bad)).toBeUndefined();
  });
});
