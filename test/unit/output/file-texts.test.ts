import { describe, expect, it } from 'vitest';
import type { CaptionEvent, SegmentCaption } from '../../../src/output/events.ts';
import { withFileTexts } from '../../../src/output/file-texts.ts';
import { endOf } from '../engine-process/fake-engine.ts';

const told = (text: string): string => text.replaceAll('/tmp/upload-1', () => 'film.mp4');
const END = endOf('A ball.');
const MEDIA = { ...END.media, warnings: ['/tmp/upload-1 is odd'] };
const USAGE = END.usage;
const SEGMENT: SegmentCaption = {
  ...{ index: 0, start: 0, end: 4, caption: '', finishReason: 'stop', usage: USAGE, media: MEDIA },
  error: { code: 'media_undecodable', message: '/tmp/upload-1 is broken' },
};

describe('what events say of their file', () => {
  const events: readonly CaptionEvent[] = [
    {
      type: 'media',
      media: MEDIA,
      profile: 'nano@1',
      promptTokens: { total: 3, text: 1, video: 1, audio: 1, image: 0 },
    },
    { type: 'segment-end', ...SEGMENT },
    { ...END, media: MEDIA, segments: [SEGMENT] },
    { type: 'caption-error', code: 'media_undecodable', message: '/tmp/upload-1 is damaged' },
  ];
  it.each(events.map((event) => ({ event, type: event.type })))(
    'is changed everywhere in $type, and nothing else is',
    ({ event }) => {
      const changed = withFileTexts(event, told);
      expect(JSON.stringify(changed)).not.toContain('/tmp');
      expect(withFileTexts(changed, (text) => text.replaceAll('film.mp4', '/tmp/upload-1'))).toEqual(event);
      expect(JSON.stringify(changed)).toContain('film.mp4');
    },
  );

  it('leaves other events as they are', () => {
    const event: CaptionEvent = { type: 'caption-aborted' };
    expect(withFileTexts(event, told)).toBe(event);
  });
});
