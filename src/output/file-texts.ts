// What events say of their file in words: these hold its path where the captioner sees it.
import type { CaptionEvent, MediaReport, SegmentCaption } from './events.ts';

type Change = (text: string) => string;

function ofMedia(media: MediaReport, change: Change): MediaReport {
  return { ...media, warnings: media.warnings.map(change) };
}

function ofSegment<Segment extends SegmentCaption>(segment: Segment, change: Change): Segment {
  const { media, error } = segment;
  return {
    ...segment,
    media: media && ofMedia(media, change),
    error: error && { ...error, message: change(error.message) },
  };
}

/** The event with all of them changed: warnings, and messages of errors, also those of segments. */
export function withFileTexts<Event extends CaptionEvent>(event: Event, change: Change): Event;
export function withFileTexts(event: CaptionEvent, change: Change): CaptionEvent {
  switch (event.type) {
    case 'media':
      return { ...event, media: ofMedia(event.media, change) };
    case 'segment-end':
      return ofSegment(event, change);
    case 'caption-end':
      return {
        ...event,
        media: ofMedia(event.media, change),
        segments: event.segments?.map((segment) => ofSegment(segment, change)),
      };
    case 'caption-error':
      return { ...event, message: change(event.message) };
    default:
      return event;
  }
}
