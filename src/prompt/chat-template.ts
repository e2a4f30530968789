// Renders the conversation: a system prompt, then one user turn of media and text. The user's text never passes through
// the template: the template renders two marks, which are replaced afterwards by segments that are labelled as the
// user's.
import { join } from 'node:path';
import { Template } from '@huggingface/jinja';
import { AvocadoError } from '../base/errors.ts';
import { readModelText, withTimeLimit } from '../base/bounded.ts';
import { isJsonObject, type JsonObject } from '../base/json.ts';
import { readCheckpointJson } from './checkpoint-file.ts';
import type { MediaKind } from './types.ts';

export interface ChatTurn {
  /** undefined = no system message: the template then inserts its own sentence */
  readonly systemPrompt: string | undefined;
  readonly userText: string;
  readonly media: MediaKind;
  /** the text stands before the media; default: behind it, as in AVoCaDO's inference.py */
  readonly textFirst?: boolean | undefined;
}

/** A piece of the rendered chat. Only the template's own text may name special tokens. */
export interface ChatSegment {
  readonly author: 'template' | 'person';
  readonly text: string;
}

export interface ChatTemplate {
  /** the file it came from, or `built-in` */
  readonly origin: string;
  render(turn: ChatTurn): readonly ChatSegment[];
}

/** Private-use characters, which no template contains by chance. The user's text is never searched for them. */
const MARKS = { system: '\u{F0001}system\u{F0002}', user: '\u{F0001}user\u{F0002}' } as const;

/** The published Qwen2.5-Omni layout (reference-model.md, Chat template), for checkpoints without a template. */
export const BUILT_IN_TEMPLATE: ChatTemplate = { origin: 'built-in', render: renderBuiltIn };

const MEDIA_MARKS: Readonly<Record<MediaKind, string>> = {
  video: '<|vision_bos|><|VIDEO|><|vision_eos|>',
  image: '<|vision_bos|><|IMAGE|><|vision_eos|>',
  audio: '<|audio_bos|><|AUDIO|><|audio_eos|>',
};

function renderBuiltIn(turn: ChatTurn): readonly ChatSegment[] {
  const system = turn.systemPrompt === undefined ? 'You are a helpful assistant.' : MARKS.system;
  const content = inOrder(turn, MEDIA_MARKS[turn.media], MARKS.user).join('');
  const rendered =
    `<|im_start|>system\n${system}<|im_end|>\n` + `<|im_start|>user\n${content}<|im_end|>\n<|im_start|>assistant\n`;
  return fillMarks(rendered, turn);
}

/**
 * A Jinja chat template in Hugging Face's form.
 * @throws AvocadoError `checkpoint_invalid` when it does not parse; `render` throws it when it fails or leaves out a
 *   text
 */
export function parseChatTemplate(source: string, origin: string): ChatTemplate {
  const template = tryTemplate(origin, 'is not a chat template this program understands', () => new Template(source));
  const renderMarks = (messages: JsonObject[]): string => {
    const variables = { messages, add_generation_prompt: true };
    const rendered = tryTemplate(origin, 'fails to render', () =>
      withTimeLimit(MAX_RENDER_MS, () => template.render(variables)),
    );
    if (rendered.length > MAX_CHARACTERS) throw templateError(origin, 'renders a text without end');
    return rendered;
  };
  /** of each shape of a conversation, which has marks for its texts; a template that contains the date renders anew */
  const known = new Map<string, string>();
  return {
    origin,
    render(turn) {
      const messages = messagesOf(turn);
      const shape = JSON.stringify(messages);
      const rendered = known.get(shape) ?? renderMarks(messages);
      if (!source.includes('strftime_now')) known.set(shape, rendered);
      for (const mark of [MARKS.user, ...(turn.systemPrompt === undefined ? [] : [MARKS.system])]) {
        if (!rendered.includes(mark))
          throw templateError(origin, 'leaves out the text of the system prompt or of the user');
      }
      return fillMarks(rendered, turn);
    },
  };
}

/** Rendering a published template takes a millisecond. */
const MAX_RENDER_MS = 2000;
const MAX_CHARACTERS = 1_000_000;

function inOrder<T>({ textFirst = false }: ChatTurn, media: T, text: T): readonly T[] {
  return textFirst ? [text, media] : [media, text];
}

/** The conversation of AVoCaDO's inference.py, with marks in place of the texts. */
function messagesOf(turn: ChatTurn): JsonObject[] {
  const system = { role: 'system', content: [{ type: 'text', text: MARKS.system }] };
  const user = {
    role: 'user',
    content: inOrder<JsonObject>(turn, { type: turn.media, [turn.media]: '' }, { type: 'text', text: MARKS.user }),
  };
  return turn.systemPrompt === undefined ? [user] : [system, user];
}

function fillMarks(rendered: string, turn: ChatTurn): ChatSegment[] {
  const texts = new Map<string, string>([
    [MARKS.system, turn.systemPrompt ?? ''],
    [MARKS.user, turn.userText],
  ]);
  return rendered
    .split(new RegExp(`(${MARKS.system}|${MARKS.user})`, 'u'))
    .map((part): ChatSegment => ({ author: texts.has(part) ? 'person' : 'template', text: texts.get(part) ?? part }))
    .filter((segment) => segment.text !== '');
}

function templateError(origin: string, what: string, cause?: unknown): AvocadoError {
  const reason = cause instanceof Error ? ` (${cause.message.slice(0, 200)})` : '';
  const message = `The chat template in ${origin} ${what}${reason}. Take the one published with Qwen2.5-Omni.`;
  return new AvocadoError('checkpoint_invalid', message, { cause });
}

function tryTemplate<T>(origin: string, what: string, work: () => T): T {
  try {
    return work();
  } catch (cause) {
    throw templateError(origin, what, cause);
  }
}

/**
 * The chat template of a checkpoint directory: chat_template.jinja, chat_template.json, or chat_template in
 * tokenizer_config.json, in the order of transformers; the built-in one where there is none.
 * @throws AvocadoError `checkpoint_invalid`
 */
export async function loadChatTemplate(directory: string): Promise<ChatTemplate> {
  const jinja = await readModelText(join(directory, 'chat_template.jinja'));
  if (jinja !== undefined) return parseChatTemplate(jinja, 'chat_template.jinja');
  for (const name of ['chat_template.json', 'tokenizer_config.json']) {
    const source = templateIn(await readCheckpointJson(directory, name));
    if (source !== undefined) return parseChatTemplate(source, name);
  }
  return BUILT_IN_TEMPLATE;
}

/** `chat_template` is a string, or a list of named templates of which one is named default. */
function templateIn(json: JsonObject | undefined): string | undefined {
  const value = json?.['chat_template'];
  if (typeof value === 'string') return value;
  if (!Array.isArray(value)) return undefined;
  const named = value.filter(isJsonObject).find((entry) => entry['name'] === 'default');
  return typeof named?.['template'] === 'string' ? named['template'] : undefined;
}
