import { checklistScore, parseKeypoints, uniqueKeypoints } from '../checklist-value.ts';
import { parseDialogueLines } from '../dialogue-lines.ts';
import { parseSpeakerAnswers } from '../speaker-answers.ts';
import type { Reference } from '../types.ts';
import { Unscored } from '../unscored.ts';
import type { ChatContent, ChatEndpoint } from './chat-endpoint.ts';
import type { Judge, SpeakerPair, SpeakerSetting } from './judge.ts';
import { fillPrompt, type PromptName, type Prompts } from './prompts.ts';

/** How often a judge may answer what cannot be read: the first time and three re-asks. */
const ANSWERS = 4;

export interface EndpointJudgeOptions {
  readonly prompts: Prompts;
  /** it understands `video_url` parts */
  readonly seesVideo: boolean;
}

/** @throws Unscored `parse_failed` when no answer can be read, and whatever the endpoint throws */
async function askUntilRead<T>(
  endpoint: ChatEndpoint,
  content: ChatContent,
  read: (reply: string) => T | undefined,
  signal: AbortSignal,
): Promise<T> {
  let reply = '';
  for (let askedBefore = 0; askedBefore < ANSWERS; askedBefore += 1) {
    reply = await endpoint.ask(content, askedBefore, signal);
    const found = read(reply);
    if (found !== undefined) return found;
  }
  throw new Unscored(
    'parse_failed',
    `None of ${ANSWERS} answers of the judge has the form it was asked for; the last begins with ${JSON.stringify(reply.slice(0, 100))}.`,
  );
}

/** What a judge looks at beside the pairs: the video, or, where it cannot see, both captions. */
function lookAt({ caption, reference, video }: SpeakerSetting): {
  readonly sight: string;
  readonly captions: string;
  readonly video: string | undefined;
} {
  if (video !== undefined) return { sight: 'Look at the video.', captions: '', video };
  const sight =
    'You cannot see the video: the first description of each pair comes from caption A, the second from caption B, which stand below the pairs.';
  return {
    sight,
    captions: `Caption A: ${JSON.stringify(caption)}\nCaption B: ${JSON.stringify(reference ?? '')}`,
    video,
  };
}

function watchable(video: string | undefined): boolean {
  return video !== undefined && /^(https?:\/\/|data:)/i.test(video);
}

/**
 * A language model behind any OpenAI-compatible endpoint, asked what the paper asks: keypoints once a reference, one checklist question a
 * caption, the spoken lines of both, and one question about all speakers of a caption.
 */
export function endpointJudge(endpoint: ChatEndpoint, { prompts, seesVideo }: EndpointJudgeOptions): Judge {
  const promptOf = (name: PromptName, fields: Readonly<Record<string, string>>): string =>
    fillPrompt(prompts.texts[name], fields);

  const keypointsOf = async ({ keypoints, caption }: Reference, signal: AbortSignal): Promise<readonly string[]> => {
    const given = uniqueKeypoints(keypoints ?? []);
    if (given.length > 0) return given;
    if (caption === undefined || caption.trim() === '')
      throw new Unscored(
        'no_reference',
        'R_C compares with reference.keypoints, or with those the judge finds in reference.caption: give one of them.',
      );
    return askUntilRead(endpoint, promptOf('keypoints', { caption }), parseKeypoints, signal);
  };

  const askSpeakers = async (
    pairs: readonly SpeakerPair[],
    setting: SpeakerSetting,
    signal: AbortSignal,
  ): Promise<boolean[]> => {
    const lines = pairs
      .map(({ generated, reference }) => `${JSON.stringify(generated)} | ${JSON.stringify(reference)}`)
      .join('\n');
    const { sight, captions, video } = lookAt(setting);
    const text = promptOf('speakers', { count: String(pairs.length), pairs: lines, sight, captions });
    const content =
      video === undefined
        ? text
        : [
            { type: 'video_url', video_url: { url: video } },
            { type: 'text', text },
          ];
    return askUntilRead(endpoint, content, (reply) => parseSpeakerAnswers(reply, pairs.length), signal);
  };

  return {
    about: () => ({
      kind: 'openai',
      model: endpoint.model,
      promptHash: prompts.hash,
      droppedFields: endpoint.droppedFields,
    }),
    checklist: async (caption, reference, mode, signal) => {
      const keypoints = await keypointsOf(reference, signal);
      if (caption.trim() === '') return { value: 0, matched: 0, total: keypoints.length };
      const fields = { count: String(keypoints.length), keypoints: JSON.stringify(keypoints), caption };
      return askUntilRead(
        endpoint,
        promptOf('checklist', fields),
        (reply) => checklistScore(reply, keypoints, mode),
        signal,
      );
    },
    dialogues: (text, _side, signal) =>
      askUntilRead(endpoint, promptOf('dialogues', { caption: text }), parseDialogueLines, signal),
    sameSpeakers: async (pairs, setting, signal) => {
      const video = seesVideo && watchable(setting.video) ? setting.video : undefined;
      return {
        same: await askSpeakers(pairs, { ...setting, video }, signal),
        mode: video === undefined ? 'text' : 'video',
      };
    },
  };
}
