import { describe, expect, it } from 'vitest';
import { readMessages } from '../../../src/openai/messages.ts';
import { thrownBy } from './thrown-by.ts';

const VIDEO = { type: 'video_url', video_url: { url: 'https://example.com/a.mp4' } };
const text = (words: string): object => ({ type: 'text', text: words });
const user = (...content: unknown[]): object => ({ role: 'user', content });

describe('readMessages', () => {
  it('takes a user message with one file and no words: the model has its own prompt', () => {
    expect(readMessages([user(VIDEO)])).toEqual({
      systemPrompt: undefined,
      prompt: undefined,
      media: { type: 'reference', url: 'https://example.com/a.mp4', param: 'messages[0].content[0].video_url.url' },
      settings: [],
      ignored: [],
    });
    expect(readMessages([user(text('  '), VIDEO)]).prompt).toBeUndefined();
  });

  it('joins the words of the user, and those of system and developer messages wherever they stand', () => {
    const messages = [
      { role: 'system', content: 'Be brief.', name: 'a' },
      user(text('What is seen?'), VIDEO, text('What is heard?')),
      { role: 'developer', content: [text('In English.'), text('No lists.')] },
    ];
    expect(readMessages(messages)).toMatchObject({
      systemPrompt: 'Be brief.\nIn English.\nNo lists.',
      prompt: 'What is seen?\nWhat is heard?',
    });
  });

  it.each([
    [
      'video_url',
      { url: 'data:video/mp4;base64,AAAA' },
      { type: 'reference', url: 'data:video/mp4;base64,AAAA', param: '.video_url.url' },
    ],
    [
      'audio_url',
      { url: 'media://lib/a.wav' },
      { type: 'reference', url: 'media://lib/a.wav', param: '.audio_url.url' },
    ],
    [
      'image_url',
      { url: 'https://x.y/a.png', detail: 'high' },
      { type: 'reference', url: 'https://x.y/a.png', param: '.image_url.url' },
    ],
    [
      'input_video',
      { url: 'media://lib/a.mp4' },
      { type: 'reference', url: 'media://lib/a.mp4', param: '.input_video.url' },
    ],
    [
      'input_video',
      { data: 'AAAA', format: 'mp4' },
      { type: 'inline', data: 'AAAA', format: 'mp4', displayName: undefined, param: '.input_video.data' },
    ],
    [
      'input_audio',
      { data: 'AAAA', format: 'wav' },
      { type: 'inline', data: 'AAAA', format: 'wav', displayName: undefined, param: '.input_audio.data' },
    ],
    [
      'input_audio',
      { data: 'https://x.y/a.wav' },
      { type: 'reference', url: 'https://x.y/a.wav', param: '.input_audio.data' },
    ],
    [
      'file',
      { file_data: 'data:video/mp4;base64,AAAA', filename: 'a.mp4' },
      { type: 'reference', url: 'data:video/mp4;base64,AAAA', param: '.file.file_data' },
    ],
    [
      'file',
      { file_data: 'AAAA', filename: 'my clip.MOV' },
      { type: 'inline', data: 'AAAA', format: 'MOV', displayName: 'my clip.MOV', param: '.file.file_data' },
    ],
    [
      'file',
      { file_data: 'AAAA' },
      { type: 'inline', data: 'AAAA', format: undefined, displayName: undefined, param: '.file.file_data' },
    ],
  ])('reads a file out of %s %j', (type, value, media) => {
    expect(readMessages([user(text('Describe.'), { type, [type]: value })]).media).toEqual({
      ...media,
      param: `messages[0].content[1]${media.param}`,
    });
  });

  it.each([
    ['nothing', undefined, 'messages'],
    ['no message', [], 'messages'],
    ['no user', [{ role: 'system', content: 'x' }], 'messages'],
    ['a text instead of messages', 'Describe.', 'messages'],
    ['a message without a role', [{ content: 'x' }], 'messages[0].role'],
    ['an unknown role', [{ role: 'narrator', content: 'x' }], 'messages[0].role'],
    ['content that is a number', [{ role: 'user', content: 1 }], 'messages[0].content'],
    ['no content', [{ role: 'user', content: null }], 'messages[0].content'],
    ['a part that is no object', [user(VIDEO, 'text')], 'messages[0].content[1]'],
    ['a part without a type', [user(VIDEO, { text: 'x' })], 'messages[0].content[1].type'],
    ['text that is a number', [user(VIDEO, { type: 'text', text: 1 })], 'messages[0].content[1].text'],
    [
      'a cached video, which is nowhere',
      [user({ type: 'video_url', video_url: null, uuid: 'u' })],
      'messages[0].content[0].video_url',
    ],
    ['an empty URL', [user({ type: 'video_url', video_url: { url: '' } })], 'messages[0].content[0].video_url.url'],
    [
      'a URL that is a number',
      [user({ type: 'video_url', video_url: { url: 1 } })],
      'messages[0].content[0].video_url.url',
    ],
    [
      'sound without data',
      [user({ type: 'input_audio', input_audio: { format: 'wav' } })],
      'messages[0].content[0].input_audio',
    ],
    [
      'both data and url',
      [user({ type: 'input_video', input_video: { data: 'A', url: 'B' } })],
      'messages[0].content[0].input_video',
    ],
    ['a file without data', [user({ type: 'file', file: { filename: 'a.mp4' } })], 'messages[0].content[0].file'],
    ['no file at all', [user(text('Describe.'))], 'messages[0].content'],
    ['words only', [{ role: 'user', content: 'Describe.' }], 'messages[0].content'],
  ])('refuses %s, naming where', (_, messages, param) => {
    expect(thrownBy(() => readMessages(messages))).toMatchObject({ code: 'bad_request', param });
  });

  it.each([
    ['two files', [user(VIDEO, VIDEO)], 'messages[0].content[1].video_url.url'],
    ['two turns', [user(VIDEO), user(text('And now?'))], 'messages[1]'],
    ['an assistant turn', [user(VIDEO), { role: 'assistant', content: 'A ball.' }], 'messages[1]'],
    ['a tool turn', [{ role: 'tool', content: 'x', tool_call_id: '1' }, user(VIDEO)], 'messages[0]'],
    [
      'a file of the system',
      [{ role: 'system', content: [VIDEO] }, user(VIDEO)],
      'messages[0].content[0].video_url.url',
    ],
    ['a stored file', [user({ type: 'file', file: { file_id: 'file-1' } })], 'messages[0].content[0].file.file_id'],
    ['a part of another kind', [user(VIDEO, { type: 'refusal', refusal: 'no' })], 'messages[0].content[1].type'],
  ])('says of %s that it is not supported', (_, messages, param) => {
    expect(thrownBy(() => readMessages(messages))).toMatchObject({ code: 'unsupported_field', param });
  });

  it('says of a message without media what to add', () => {
    expect(thrownBy(() => readMessages([user(text('Describe.'))])).message).toBe(
      'messages[0] has no media. Add a part such as {"type": "video_url", "video_url": {"url": "https://…"}}.',
    );
  });
});
