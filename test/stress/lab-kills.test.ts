// `avocado evaluate` and `avocado curate` are killed in the middle, with judge and teacher over HTTP: the reports are
// the same as without a kill, little is asked twice, and every clip of a faulty teacher has one decision.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { afterAll, describe, expect, it } from 'vitest';
import type { ChatQuestion } from '../../src/chat/chat-client.ts';
import { captionOf, MINI_CLIPS, MINIATURES, ruleReply, textOf } from '../fixtures/benchmarks.ts';
import { BUILT_CLI } from '../fixtures/built-cli.ts';
import { jsonLines, variantOf } from '../fixtures/clip-library.ts';
import { clipNamedIn, completenessReply, faultOf, teacherReply } from '../fixtures/curation.ts';
import { examplePath } from '../fixtures/examples.ts';
import { fakeJudge, type FakeJudge, type FakeQuestion, type FakeReply } from '../fixtures/fake-judge.ts';
import { scratchDirectory } from '../fixtures/scratch.ts';
import { isLongStress, stressSize } from '../fixtures/stress-size.ts';

const scratch = scratchDirectory();
const CONCURRENCY = 4;
const servers: FakeJudge[] = [];
afterAll(async () => {
  await Promise.all(servers.map((server) => server.close()));
});

/** A server whose question number `killAt` kills who asked it. */
async function deadly(answer: (asked: FakeQuestion) => FakeReply) {
  const own = { killAt: Infinity, kill: (): void => undefined };
  const server = await fakeJudge((asked, index) => {
    if (index !== own.killAt) return answer(asked);
    own.kill();
    return undefined;
  });
  servers.push(server);
  return Object.assign(own, { server });
}

interface Ended {
  readonly code: number | null;
  readonly signal: string | null;
  readonly stdout: string;
  /** all that is known of it, for messages */
  readonly told: string;
}

async function avocado(args: readonly string[], onStart: (kill: () => void) => void = () => undefined): Promise<Ended> {
  const child = spawn(process.execPath, [BUILT_CLI, ...args]);
  const out = { stdout: '', stderr: '' };
  child.stdout.setEncoding('utf8').on('data', (text: string) => (out.stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (out.stderr += text));
  onStart(() => child.kill('SIGKILL'));
  const [code, signal] = (await once(child, 'close')) as [number | null, string | null];
  return { code, signal, stdout: out.stdout, told: `${code ?? signal}: ${out.stdout}\n${out.stderr}` };
}

const REPORTS = ['report.json', 'report.md', 'report.html', 'verdicts.jsonl'];
const BENCHMARKS = isLongStress ? Object.keys(MINIATURES) : ['video-salmonn-2'];
stressSize('benchmarks', { short: 1, long: Object.keys(MINIATURES).length });

describe.each(BENCHMARKS)('avocado evaluate %s', (name) => {
  it('gives the same reports after two kills', async () => {
    const data = scratch(`${name}-data`);
    mkdirSync(data);
    MINIATURES[name]!(data, MINI_CLIPS);
    const captions = scratch(`${name}.jsonl`);
    const lines = Array.from({ length: MINI_CLIPS }, (_, index) =>
      JSON.stringify({ video_id: String(index).padStart(4, '0'), caption: captionOf(index, 3, index % 2) }),
    );
    writeFileSync(captions, `${lines.join('\n')}\n`);
    const judge = await deadly((asked) => ruleReply(textOf(asked.body as unknown as ChatQuestion)));
    const argsFor = (out: string): string[] => [
      ...['evaluate', name, '--data', data, '--captions', captions, '--out', scratch(out), '--resamples', '20'],
      ...['--judge', judge.server.url, '--judge-model', 'rules', '--judge-concurrency', String(CONCURRENCY)],
    ];
    const whole = await avocado(argsFor(`${name}-whole`));
    expect(whole.code, whole.told).toBe(0);
    const questions = judge.server.asked.length;

    for (const share of [0.3, 0.4]) {
      judge.killAt = judge.server.asked.length + Math.floor(share * questions);
      const killed = await avocado(argsFor(`${name}-killed`), (kill) => (judge.kill = kill));
      expect(killed.signal, killed.told).toBe('SIGKILL');
    }
    judge.killAt = Infinity;
    const last = await avocado(argsFor(`${name}-killed`));
    expect(last.code, last.told).toBe(0);
    const reportsIn = (out: string): string[] =>
      REPORTS.map((file) => readFileSync(join(scratch(out), file), 'utf8').replaceAll(out, 'out'));
    expect(reportsIn(`${name}-killed`)).toEqual(reportsIn(`${name}-whole`));
    // Only what was on its way when a kill came is asked again.
    const again = judge.server.asked.length - 2 * questions;
    expect(again).toBeGreaterThanOrEqual(2);
    expect(again).toBeLessThanOrEqual(2 * CONCURRENCY);
  });
});

describe('avocado curate', () => {
  it('decides every clip of a teacher that fails in every way once, though it is killed', async () => {
    const directory = scratch('curate');
    mkdirSync(join(directory, 'clips'), { recursive: true });
    const clip = readFileSync(examplePath('square-4s.mp4'));
    const clips = new Map<string, number>();
    const rows = Array.from({ length: 100 }, (_, index) => {
      const bytes = variantOf(clip, String(index));
      clips.set(bytes.toString('base64'), index);
      writeFileSync(join(directory, 'clips', `${index}.mp4`), bytes);
      return JSON.stringify({ sample_id: `s${index}`, source: 'nano', video: `clips/${index}.mp4`, duration: 4 });
    });
    writeFileSync(join(directory, 'manifest.jsonl'), rows.join('\n'));
    let isFaulty = true;
    const teacher = await deadly((asked) => {
      const [{ content }] = asked.body['messages'] as [
        { readonly content: readonly { readonly video_url?: { readonly url: string } }[] },
      ];
      const index = clips.get(content[0]?.video_url?.url.split(',')[1] ?? '') ?? NaN;
      const reply = teacherReply(asked.text, index, isFaulty);
      // The long form waits for the time limit; a refusal ends at once.
      return reply ?? (isLongStress ? undefined : { status: 400, body: 'This sound is refused.' });
    });
    const judge = await deadly((asked) => completenessReply(asked.text, clipNamedIn(asked.text)));
    const args = [
      ...['curate', join(directory, 'manifest.jsonl'), '--out', join(directory, 'out'), '--grpo', '10', '--json'],
      ...['--teacher', teacher.server.url, '--teacher-model', 'rules', '--teacher-timeout', isLongStress ? '2' : '120'],
      ...['--judge', judge.server.url, '--judge-model', 'rules', '--teacher-concurrency', String(CONCURRENCY)],
    ];
    for (const question of [90, 200]) {
      teacher.killAt = question;
      const killed = await avocado(args, (kill) => (teacher.kill = kill));
      expect(killed.signal, killed.told).toBe('SIGKILL');
    }
    const faulty = await avocado(args);
    expect(faulty.code, faulty.told).not.toBe(0); // some clips are open
    const open = isLongStress ? 'judge_timeout' : 'judge_refused';
    expect(JSON.parse(faulty.stdout)).toMatchObject({
      ...{ samples: 100, kept: 30, dropped: 60, open: 10, grpo: 10 },
      sources: { nano: { kept: 30, 'dropped visual: refusal': 10, [`open audio: ${open}`]: 10 } },
    });
    isFaulty = false;
    const whole = await avocado(args);
    expect(whole.code, whole.told).toBe(0);
    const decisions = jsonLines<{ sample: { id: string }; state: string }>(join(directory, 'out', 'decisions.jsonl'));
    expect(decisions.map(({ sample }) => sample.id)).toEqual(rows.map((_, index) => `s${index}`));
    for (const [index, { state }] of decisions.entries())
      expect(state).toBe(['timeout', 'none'].includes(faultOf(index)) ? 'kept' : 'dropped');
    expect(jsonLines(join(directory, 'out', 'ms-swift-sft.jsonl')).length).toBe(40);
  });
});
