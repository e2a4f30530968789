import { createWriteStream, openSync } from 'node:fs';
import { AvocadoError } from '../../../base/errors.ts';
import { withoutMedia, type ChatExchange } from '../../../chat/chat-client.ts';
import { readCaption } from '../../synthetic/read-caption.ts';
import { dialogueOf, scoreCaption, type CaptionScore } from '../../synthetic/score-caption.ts';
import { Unscored, type ChecklistScore, type Reference } from '../types.ts';
import type { Judge } from './judge.ts';

interface JudgeOptions {
  /** `world`, or the base URL of an OpenAI-compatible server */
  readonly judge: string;
  readonly model: string | undefined;
  readonly apiKey: string | undefined;
  /** maximum number of concurrent questions */
  readonly concurrency: number;
  /** of one attempt */
  readonly timeoutMs: number;
  /** the model accepts `video_url` parts */
  readonly seesVideo: boolean;
  /** directory of prompts; undefined = the built-in ones */
  readonly prompts: string | undefined;
  /** file to which all replies are appended */
  readonly log: string | undefined;
  readonly onWarning: (sentence: string) => void;
}

/**
 * Opens the judge that the options name; what asks an endpoint is loaded only for an endpoint.
 * @throws AvocadoError `bad_request`
 */
export async function openJudge({
  judge,
  model,
  prompts,
  seesVideo,
  log,
  onWarning,
  ...options
}: JudgeOptions): Promise<Judge> {
  if (judge === 'world') {
    const given = { 'judge-model': model, 'judge-video': seesVideo || undefined, prompts, 'judge-log': log };
    const [flag] = Object.entries(given).find(([, value]) => value !== undefined) ?? [];
    if (flag === undefined) return worldJudge();
    throw new AvocadoError('bad_request', `--${flag} needs --judge URL: the judge world asks no model.`, {
      param: flag.replaceAll('-', '_'),
    });
  }
  if (model === undefined)
    throw new AvocadoError('bad_request', `--judge ${judge} needs --judge-model: name the model to ask there.`, {
      param: 'judge_model',
    });
  const [{ ChatEndpoint }, { endpointJudge }, { readPrompts }] = await Promise.all([
    import('./chat-endpoint.ts'),
    import('./endpoint-judge.ts'),
    import('./prompts.ts'),
  ]);
  const onReply = log === undefined ? undefined : openJudgeLog(log, onWarning);
  return endpointJudge(new ChatEndpoint({ baseUrl: judge, model, ...options, onReply, onWait: onWarning }), {
    prompts: await readPrompts(prompts),
    seesVideo,
  });
}

/**
 * Appends every reply of a judge to a file of JSON lines, from which all scores can be computed again.
 * @throws AvocadoError `bad_request`
 */
function openJudgeLog(path: string, onWarning: (sentence: string) => void): (exchange: ChatExchange) => void {
  let fd: number;
  try {
    fd = openSync(path, 'a');
  } catch (cause) {
    throw new AvocadoError(
      'bad_request',
      `--judge-log ${path} cannot be written (${(cause as NodeJS.ErrnoException).code ?? String(cause)}).`,
      { param: 'judge_log', cause },
    );
  }
  const log = createWriteStream(path, { fd });
  log.once('error', (error) => {
    onWarning(`--judge-log ${path} is no longer written: ${error.message}`);
  });
  log.on('error', () => undefined);
  return (exchange) => {
    log.write(`${JSON.stringify({ time: new Date().toISOString(), ...exchange }, withoutMedia)}\n`);
  };
}

/**
 * Exact match for captions of avocado-nano's synthetic world: no model, no waiting. Two speakers are the same person
 * when their descriptions are the same words.
 */
export function worldJudge(): Judge {
  return {
    describe: () => ({ kind: 'world', model: null, promptHash: null, droppedFields: [] }),
    checklist: (caption, reference) => Promise.resolve().then(() => checklistOf(compare(caption, reference))),
    dialogues: (text, side) =>
      Promise.resolve().then(() => dialogueOf(side === 'reference' ? checkReference(text) : text)),
    sameSpeakers: (pairs) =>
      Promise.resolve({
        same: pairs.map(({ generated, reference }) => generated === reference),
        mode: 'exact' as const,
      }),
    claims: (caption, reference) => {
      const { toldClaims, falseClaims } = compare(caption, reference);
      return { total: toldClaims, wrong: falseClaims };
    },
  };
}

function compare(caption: string, { caption: reference }: Reference): CaptionScore {
  if (reference === undefined)
    throw new Unscored('no_reference', 'The world judge compares with reference.caption: give one.');
  return scoreCaption(caption, checkReference(reference));
}

/** A reference in other words would be read as one without content, and an empty caption would then get full marks. */
function checkReference(caption: string): string {
  const { facts, beats } = readCaption(caption);
  if (facts.length + beats.length > 0) return caption;
  throw new Unscored(
    'no_reference',
    'The reference describes nothing of the synthetic world. For other captions start the service with --judge URL.',
  );
}

function checklistOf({ categories }: CaptionScore): ChecklistScore {
  const counts = Object.values(categories);
  const matched = counts.reduce((sum, { hits }) => sum + hits, 0);
  const total = counts.reduce((sum, count) => sum + count.total, 0);
  return { value: matched / total, matched, total };
}
