// Whole evaluations of miniatures of each format: the same report however often it was interrupted, and scores that
// fall as captions get worse.
import { appendFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { AvocadoError } from '../../../../src/base/errors.ts';
import { BENCHMARKS } from '../../../../src/lab/evaluate/benchmarks/all.ts';
import { runEvaluation, type EvaluationOptions } from '../../../../src/lab/evaluate/run-evaluation.ts';
import { Unscored } from '../../../../src/lab/rewards/types.ts';
import { captionOf, MINI_CLIPS, MINIATURES, ruleReply, scriptedEndpoint } from '../../../fixtures/benchmarks.ts';
import { scratchDirectory } from '../../../fixtures/scratch.ts';

const scratch = scratchDirectory();

/** A dataset and captions in which every third clip is told in part. */
function prepare(name: string, at: string, clips = MINI_CLIPS): { data: string; captions: string } {
  const data = scratch(`${at}-data`);
  mkdirSync(data, { recursive: true });
  MINIATURES[name]!(data, clips);
  const captions = scratch(`${at}-captions.jsonl`);
  const lines = Array.from({ length: clips }, (_, index) => {
    const told = index % 3 === 0 ? 2 : 9;
    return JSON.stringify({
      video_id: String(index).padStart(4, '0'),
      caption: captionOf(index, told, index % 2),
      finish_reason: 'stop',
      completion_tokens: 40,
      model: 'mini',
    });
  });
  writeFileSync(captions, `${lines.join('\n')}\n`);
  return { data, captions };
}

function optionsFor(name: string, at: string, over: Partial<EvaluationOptions> = {}): EvaluationOptions {
  const { data, captions } = prepare(name, at);
  return {
    benchmark: BENCHMARKS.find((one) => one.name === name)!,
    directory: data,
    out: scratch(`${at}-out`),
    preset: 'paper',
    runs: undefined,
    limit: undefined,
    captions,
    judge: { endpoint: scriptedEndpoint(), identity: 'fake', model: 'judge', concurrency: 3 },
    prompts: undefined,
    dialogue: false,
    references: undefined,
    resamples: 20,
    seed: 0,
    signal: new AbortController().signal,
    onProgress: () => undefined,
    onWarning: () => undefined,
    ...over,
  };
}

const REPORTS = ['report.json', 'report.md', 'report.html', 'verdicts.jsonl'];
const reportsIn = (out: string): string[] => REPORTS.map((name) => readFileSync(join(out, name), 'utf8'));

class Killed extends Error {}

/** Dies at its `questions`-th question. */
function dyingEndpoint(questions: number): ReturnType<typeof scriptedEndpoint> {
  return scriptedEndpoint((text, index) => {
    if (index >= questions) throw new Killed();
    return ruleReply(text);
  });
}

describe.each(BENCHMARKS.map(({ name }) => name))('%s', (name) => {
  it('gives the same reports after two deaths, and asks nothing twice', async () => {
    const endpoint = scriptedEndpoint();
    const whole = optionsFor(name, `${name}-whole`);
    const { report, missing } = await runEvaluation({ ...whole, judge: { ...whole.judge!, endpoint } });
    expect(missing).toEqual([]);
    expect(report.evaluation!.counts).toMatchObject({ expected: MINI_CLIPS, scored: MINI_CLIPS });
    const [first] = BENCHMARKS.find((one) => one.name === name)!.columns;
    expect(report.evaluation!.tables.strict.scores[first!.name]).not.toBeNull();

    const broken = { ...whole, out: scratch(`${name}-broken-out`) };
    let asked = 0;
    for (const share of [0.3, 0.4]) {
      const dying = dyingEndpoint(Math.floor(endpoint.asked() * share));
      await expect(runEvaluation({ ...broken, judge: { ...whole.judge!, endpoint: dying } })).rejects.toThrow(Killed);
      asked += Math.floor(endpoint.asked() * share);
      appendFileSync(join(broken.out, 'replies.jsonl'), '{"key": "cut in the mid');
    }
    const last = scriptedEndpoint();
    await runEvaluation({ ...broken, judge: { ...whole.judge!, endpoint: last } });
    expect(asked + last.asked()).toBe(endpoint.asked());
    const links = (text: string): string => text.replaceAll('-broken-out', '-whole-out');
    expect(reportsIn(broken.out).map(links)).toEqual(reportsIn(whole.out));
  });
});

it('scores fall as captions get worse by known amounts', async () => {
  for (const { name, columns } of BENCHMARKS) {
    const options = optionsFor(name, `${name}-ranking`, { resamples: 0 });
    const scores: number[] = [];
    for (const kept of [9, 3, 2, 1]) {
      const captions = scratch(`${name}-ranking-${kept}.jsonl`);
      const lines = Array.from({ length: MINI_CLIPS }, (_, index) =>
        JSON.stringify({ video_id: String(index).padStart(4, '0'), caption: captionOf(index, kept, 9 - kept) }),
      );
      writeFileSync(captions, lines.join('\n'));
      const { report } = await runEvaluation({ ...options, captions, out: scratch(`${name}-ranking-out`) });
      scores.push(report.evaluation!.tables.strict.scores[columns[0]!.name]!);
    }
    const better = columns[0]!.better === 'high' ? -1 : 1;
    expect(
      [...scores].sort((one, other) => better * (one - other)),
      name,
    ).toEqual(scores);
    expect(new Set(scores).size, name).toBe(scores.length);
  }
});

describe('the engine', () => {
  const name = 'ugc-videocap';

  it('says what a dataset lacks and where to get it', async () => {
    const empty = scratch('empty');
    mkdirSync(empty);
    for (const benchmark of BENCHMARKS) {
      const run = runEvaluation({ ...optionsFor(name, 'lacks'), benchmark, directory: empty });
      await expect(run, benchmark.name).rejects.toThrow(/Get it from .+--data/);
    }
    const source = { model: 'm', settings: '', concurrency: 1, caption: () => Promise.resolve({ caption: 'x' }) };
    await expect(
      runEvaluation({ ...optionsFor(name, 'no-clips'), captions: () => Promise.resolve(source) }),
    ).rejects.toThrow(`${MINI_CLIPS} of ${MINI_CLIPS} clips of UGC-VideoCap are not in`);
  });

  it('makes captions once, and goes on with those that failed', async () => {
    const options = optionsFor(name, 'made', { judge: undefined });
    mkdirSync(join(options.directory, 'videos'));
    for (let index = 0; index < MINI_CLIPS; index += 1)
      writeFileSync(join(options.directory, 'videos', `${String(index).padStart(4, '0')}.mp4`), '');
    const made: string[] = [];
    let fails = true;
    const source = {
      model: 'm',
      settings: 's',
      concurrency: 2,
      caption: async (path: string) => {
        made.push(path);
        if (fails && path.endsWith('0003.mp4')) throw new AvocadoError('media_undecodable', 'It is broken.');
        return { caption: captionOf(1, 2), finishReason: 'length', completionTokens: 7 };
      },
    };
    const warnings: string[] = [];
    const run = (): ReturnType<typeof runEvaluation> =>
      runEvaluation({
        ...options,
        captions: () => Promise.resolve(source),
        onWarning: (sentence) => warnings.push(sentence),
      });
    expect((await run()).missing).toEqual(['0003']);
    expect(warnings).toEqual(['0003 has no caption: It is broken.']);
    fails = false;
    const { report, missing } = await run();
    expect(missing).toEqual([]);
    expect(made).toHaveLength(MINI_CLIPS + 1);
    expect(report.metrics).toMatchObject({ captions: MINI_CLIPS, repetition: { collapsed: 0, cut: 100 } });
    expect(report.metrics.tokens).toMatchObject({ mean: 7, max: 7, count: MINI_CLIPS });
  });

  it('leaves out the clips of AVQA that are not there any more', async () => {
    const options = optionsFor('avqa', 'vanished');
    for (const index of [1, 3, 4]) writeFileSync(join(options.directory, `000${index}.mp4`), '');
    const caption = (): Promise<{ caption: string }> => Promise.resolve({ caption: captionOf(1, 9) });
    const source = { model: 'm', settings: '', concurrency: 1, caption };
    const warnings: string[] = [];
    const { report, missing } = await runEvaluation({
      ...options,
      limit: 2,
      captions: () => Promise.resolve(source),
      onWarning: (sentence) => warnings.push(sentence),
    });
    expect([report.evaluation!.counts.expected, missing]).toEqual([2, []]);
    expect(warnings).toEqual([expect.stringContaining(`${MINI_CLIPS - 3} of ${MINI_CLIPS} clips are not in`)]);
  });

  it('leaves clips for later when the judge is gone or the money is spent', async () => {
    const options = optionsFor(name, 'budget');
    const price = { prompt: 1e3, completion: 1e3 };
    const judge = { ...options.judge!, price, maxCost: 5, concurrency: 1 };
    const { report } = await runEvaluation({ ...options, judge });
    const { scored, not_asked: open } = report.evaluation!.counts;
    expect([scored + open, scored > 0, open > 0]).toEqual([MINI_CLIPS, true, true]);
    expect(report.judge!.account.cost).toBeGreaterThanOrEqual(5);
    const gone = scriptedEndpoint(() => {
      throw new Unscored('judge_unreachable', 'Nothing answers.');
    });
    const again = await runEvaluation({ ...options, judge: { ...options.judge!, endpoint: gone } });
    expect(again.report.evaluation!.counts).toMatchObject({ scored, not_asked: open });
    expect(readFileSync(join(options.out, 'report.md'), 'utf8')).toContain(`${open} are not judged yet`);
    expect((await runEvaluation(options)).report.evaluation!.counts.scored).toBe(MINI_CLIPS);
  });

  it('tells of clips that only a run beside the reported one lacks', async () => {
    const options = optionsFor('video-salmonn-2', 'open-run', { runs: 3 });
    const endpoint = scriptedEndpoint((text, index) => {
      if (index >= 2 * MINI_CLIPS + 5) throw new Unscored('judge_unreachable', 'Nothing answers.');
      return ruleReply(text);
    });
    const judge = { ...options.judge!, endpoint, concurrency: 1 };
    const { report } = await runEvaluation({ ...options, judge });
    expect(report.evaluation!.counts).toMatchObject({ not_asked: 0, open: MINI_CLIPS - 5 });
    const told = `${MINI_CLIPS - 5} are not judged yet`;
    expect(readFileSync(join(options.out, 'report.md'), 'utf8')).toContain(told);
  });

  it.each(['daily-omni', 'vdc-detailed', 'capricorn-1k'])('%s tells of questions that stay unreadable', async (own) => {
    const options = optionsFor(own, `${own}-questions`);
    const endpoint = scriptedEndpoint((text) => (text.includes('The lamp does thing 0') ? 'Well.' : ruleReply(text)));
    const { report } = await runEvaluation({ ...options, judge: { ...options.judge!, endpoint } });
    const { counts } = report.evaluation!;
    expect([counts.unreadable, counts.unreadable_questions > 0]).toEqual([0, true]);
    const told = `${counts.unreadable_questions} questions about judged clips have no readable reply`;
    expect(readFileSync(join(options.out, 'report.md'), 'utf8')).toContain(told);
  });

  it('says that no run has a score when nothing could be judged', async () => {
    const options = optionsFor('video-salmonn-2', 'nothing', { preset: 'compat' });
    const judge = { ...options.judge!, price: { prompt: 1, completion: 1 }, maxCost: 0 };
    await runEvaluation({ ...options, judge });
    expect(readFileSync(join(options.out, 'report.md'), 'utf8')).toContain('None of 7 runs has a score.');
  });

  it('counts unreadable judges as each counting says, with seven runs in compat', async () => {
    const options = optionsFor('video-salmonn-2', 'unreadable', { preset: 'compat' });
    const endpoint = scriptedEndpoint((text) => (text.includes('The lamp does thing 0') ? 'No.' : ruleReply(text)));
    const { report } = await runEvaluation({ ...options, judge: { ...options.judge!, endpoint } });
    const { counts, tables, runs } = report.evaluation!;
    expect(runs).toHaveLength(7);
    expect(counts.unreadable).toBeGreaterThan(0);
    expect(tables.strict.scores['miss']!).toBeGreaterThan(tables.compat.scores['miss']!);
  });

  it('judges the dialogue against the reference', async () => {
    const options = optionsFor(name, 'dialogue', { dialogue: true, limit: 4 });
    const references = scratch('references.jsonl');
    const line = { speaker: 'Man', content: 'hello there' };
    writeFileSync(references, `${JSON.stringify({ video_id: '0000', dialogues: [line] })}\n`);
    const endpoint = scriptedEndpoint((text) => {
      if (text.includes('everything that is said')) return text.includes('ball') ? 'Man: "hello there"' : 'None';
      return text.includes('pairs of descriptions') ? 'Yes' : ruleReply(text);
    });
    const { report } = await runEvaluation({ ...options, references, judge: { ...options.judge!, endpoint } });
    expect(report.dialogue).toMatchObject({ meanF1: 100, f1OfMeans: 100, micro: 100, silent: 3, unscored: 0 });
  });

  it('knows the clip of a reference by its file, and refuses references of other clips', async () => {
    const options = optionsFor('video-salmonn-2', 'reference-names', { dialogue: true, limit: 2 });
    const references = scratch('named-references.jsonl');
    const endpoint = scriptedEndpoint((text) => (text.includes('is said') ? 'Man: "hi"' : ruleReply(text)));
    const run = (video_id: string): ReturnType<typeof runEvaluation> => {
      writeFileSync(references, JSON.stringify({ video_id, dialogues: [] }));
      return runEvaluation({ ...options, references, judge: { ...options.judge!, endpoint } });
    };
    expect((await run('0001')).report.dialogue).toMatchObject({ scored: 2, meanF1: 50 });
    await expect(run('nobody')).rejects.toThrow('None of the references');
  });

  it('keeps its verdicts when the money is spent on the dialogue', async () => {
    const options = optionsFor(name, 'dialogue-budget', { dialogue: true, limit: 4 });
    const { report } = await runEvaluation({ ...options, dialogue: false });
    const price = { prompt: 1e3, completion: 1e3 };
    const { cost } = (await runEvaluation({ ...options, dialogue: false, judge: { ...options.judge!, price } })).report
      .judge!.account;
    const warnings: string[] = [];
    const judge = { ...options.judge!, price, maxCost: cost };
    const spent = await runEvaluation({ ...options, judge, onWarning: (sentence) => warnings.push(sentence) });
    expect(spent.report.evaluation).toEqual(report.evaluation);
    expect(spent.report.dialogue).toMatchObject({ scored: 0, unscored: 4, failed: 4 });
    expect(warnings).toContainEqual(expect.stringMatching(/^the spoken lines of 0000 have no score: .*US dollars/));
  });

  it('takes own prompts, and refuses a directory without any', async () => {
    const options = optionsFor(name, 'prompts', { limit: 2 });
    const prompts = scratch('prompts');
    mkdirSync(prompts);
    await expect(runEvaluation({ ...options, prompts })).rejects.toThrow('ratings.txt');
    writeFileSync(join(prompts, 'ratings.txt'), 'Grade a candidate {{id}}: {{caption}} against {{reference}}');
    const texts: string[] = [];
    const endpoint = scriptedEndpoint((text) => {
      texts.push(text);
      return '{"visual": 1, "audio": 2, "details": 3}';
    });
    const { report } = await runEvaluation({ ...options, prompts, judge: { ...options.judge!, endpoint } });
    expect(texts[0]).toMatch(/^Grade a candidate 000\d: The /);
    expect(report.judge!.prompts_sha256).not.toBe((await runEvaluation(options)).report.judge!.prompts_sha256);
  });

  it('refuses prompts that do not say where the caption goes, and reads Windows line ends', async () => {
    const options = optionsFor(name, 'fields', { limit: 1 });
    const prompts = scratch('fields-prompts');
    mkdirSync(prompts);
    writeFileSync(join(prompts, 'ratings.txt'), 'Grade {{captions}} against {{reference}}.');
    await expect(runEvaluation({ ...options, prompts })).rejects.toThrow('where these go: write {{caption}}.');
    writeFileSync(join(prompts, 'ratings.txt'), 'Be fair.\r\n=== user ===\r\n{{caption}} {{reference}}\r\n');
    const roles: string[] = [];
    const scripted = scriptedEndpoint(() => '{"visual": 1, "audio": 2, "details": 3}');
    const endpoint: typeof scripted = {
      ...scripted,
      chat: (question, signal) => {
        roles.push(...question.messages.map(({ role }) => role));
        return scripted.chat(question, signal);
      },
    };
    await runEvaluation({ ...options, prompts, judge: { ...options.judge!, endpoint } });
    expect(roles).toEqual(['system', 'user']);
  });

  it('keeps the replies that come after another question of their clip failed', async () => {
    const options = optionsFor('daily-omni', 'late', { limit: 1 });
    const endpoint = scriptedEndpoint(async (text, index) => {
      if (index === 0) throw new Unscored('judge_unreachable', 'Nothing answers.');
      await sleep(20);
      return ruleReply(text);
    });
    const { report, asked } = await runEvaluation({ ...options, judge: { ...options.judge!, endpoint } });
    const kept = readFileSync(join(options.out, 'replies.jsonl'), 'utf8').trim().split('\n');
    expect([kept.length, asked, report.judge!.account.questions]).toEqual([3, 3, 3]);
  });

  it('reads the caption files of the scripts', async () => {
    const at = optionsFor('video-salmonn-2', 'shapes');
    const forms: Readonly<Record<string, string>> = {
      'scripts.json': JSON.stringify([{ id: ['/x/video/0001.mp4'], prompt: '', pred: ['one'] }]),
      'batch.jsonl': '{"file": "clips/0001.mp4", "caption": "one", "usage": {"completion_tokens": 3}}\n',
      'map.json': '\uFEFF{"0001": "one"}',
      'output.jsonl': '\uFEFF{"video_id": "0001.mp4", "output": "one"}\r\n',
    };
    for (const [file, text] of Object.entries(forms)) {
      const captions = scratch(file);
      writeFileSync(captions, text);
      const { report } = await runEvaluation({ ...at, captions, judge: undefined });
      expect(report.metrics.captions, file).toBe(1);
    }
    const captions = scratch('other.jsonl');
    writeFileSync(captions, '{"video_id": "nobody", "caption": "x"}\n');
    await expect(runEvaluation({ ...at, captions })).rejects.toThrow('None of the captions');
  });
});
