import { Unscored, type Reference } from '../types.ts';
import type { ChatContent } from '../../../chat/chat-client.ts';
import type { ChatEndpoint } from './chat-endpoint.ts';
import type { Judge, SpeakerContext, SpeakerPair } from './judge.ts';
import { fillPrompt, type Prompts } from './prompts.ts';
import {
  parseChecklist,
  parseDialogueLines,
  parseKeypoints,
  parseSpeakerVerdicts,
  uniqueKeypoints,
} from './replies.ts';

/** How many replies are read before a question is given up: the first one and three repeats. */
const READ_ATTEMPTS = 4;

/** What a judge needs of its endpoint. */
export type AskedEndpoint = Pick<ChatEndpoint, 'ask' | 'model' | 'droppedFields'>;

interface EndpointJudgeOptions {
  readonly prompts: Prompts;
  /** the model accepts `video_url` parts */
  readonly seesVideo: boolean;
}

/**
 * A language model behind any OpenAI-compatible endpoint, asked what the paper asks: the keypoints of a reference, one
 * checklist question for each caption, the spoken lines of both, and one question about all speakers of a caption.
 */
export function endpointJudge(endpoint: AskedEndpoint, { prompts, seesVideo }: EndpointJudgeOptions): Judge {
  const { texts, hash } = prompts;
  return {
    describe: () => ({
      kind: 'openai',
      model: endpoint.model,
      promptHash: hash,
      droppedFields: endpoint.droppedFields,
    }),
    checklist: async (caption, reference, mode, signal) => {
      const keypoints = await keypointsOf(reference, endpoint, texts.keypoints, signal);
      if (caption.trim() === '') return { value: 0, matched: 0, total: keypoints.length };
      const question = fillPrompt(texts.checklist, {
        count: String(keypoints.length),
        keypoints: JSON.stringify(keypoints),
        caption,
      });
      return askUntilReadable(endpoint, question, (reply) => parseChecklist(reply, keypoints, mode), signal);
    },
    dialogues: (text, _side, signal) =>
      askUntilReadable(endpoint, fillPrompt(texts.dialogues, { caption: text }), parseDialogueLines, signal),
    sameSpeakers: async (pairs, context, signal) => {
      const video = seesVideo && isWatchable(context.video) ? context.video : undefined;
      const question = speakerQuestion(texts.speakers, pairs, { ...context, video });
      const read = (reply: string): boolean[] | undefined => parseSpeakerVerdicts(reply, pairs.length);
      return {
        same: await askUntilReadable(endpoint, question, read, signal),
        mode: video === undefined ? 'text' : 'video',
      };
    },
  };
}

/** @throws Unscored `parse_failed` when no reply can be read; everything the endpoint throws */
export async function askUntilReadable<T>(
  endpoint: AskedEndpoint,
  content: ChatContent,
  read: (reply: string) => T | undefined,
  signal: AbortSignal,
): Promise<T> {
  let reply = '';
  for (let repeats = 0; repeats < READ_ATTEMPTS; repeats += 1) {
    reply = await endpoint.ask(content, repeats, signal);
    const value = read(reply);
    if (value !== undefined) return value;
  }
  throw new Unscored(
    'parse_failed',
    `None of ${READ_ATTEMPTS} replies of the judge has the requested form; the last one begins with ` +
      `${JSON.stringify(reply.slice(0, 100))}.`,
  );
}

async function keypointsOf(
  { keypoints, caption }: Reference,
  endpoint: AskedEndpoint,
  prompt: string,
  signal: AbortSignal,
): Promise<readonly string[]> {
  const given = uniqueKeypoints(keypoints ?? []);
  if (given.length > 0) return given;
  if (caption === undefined || caption.trim() === '')
    throw new Unscored(
      'no_reference',
      'R_C compares with reference.keypoints, or with those the judge finds in reference.caption: give one of them.',
    );
  return askUntilReadable(endpoint, fillPrompt(prompt, { caption }), parseKeypoints, signal);
}

function speakerQuestion(prompt: string, pairs: readonly SpeakerPair[], context: SpeakerContext): ChatContent {
  const lines = pairs
    .map(({ generated, reference }) => `${JSON.stringify(generated)} | ${JSON.stringify(reference)}`)
    .join('\n');
  const { sight, captions } = evidenceFor(context);
  const text = fillPrompt(prompt, { count: String(pairs.length), pairs: lines, sight, captions });
  return context.video === undefined
    ? text
    : [
        { type: 'video_url', video_url: { url: context.video } },
        { type: 'text', text },
      ];
}

/** What a judge looks at beside the pairs: the video, or both captions when it cannot see the video. */
function evidenceFor({ caption, reference, video }: SpeakerContext): {
  readonly sight: string;
  readonly captions: string;
} {
  if (video !== undefined) return { sight: 'Look at the video.', captions: '' };
  return {
    sight:
      'You cannot see the video: the first description of each pair comes from caption A, the second from caption B, ' +
      'which stand below the pairs.',
    captions: `Caption A: ${JSON.stringify(caption)}\nCaption B: ${JSON.stringify(reference ?? '')}`,
  };
}

function isWatchable(video: string | undefined): boolean {
  return video !== undefined && /^(https?:\/\/|data:)/i.test(video);
}
