// Captions of parts of a file as text with times: a timeline, WebVTT, SubRip, Markdown. Pure. The times are those of
// the cuts, never read from a caption.

/** A caption and the part of the file that it describes, in seconds of the file. */
export interface TimedCaption {
  readonly start: number;
  readonly end: number;
  readonly caption: string;
}

/** A picture has no duration; its one cue is shown for a second. */
const SHORTEST_CUE = 1;

/** A caption in one piece, over all of the file or the part of it that was captioned. */
export function wholeCaption(
  caption: string,
  media: { readonly durationSeconds: number; readonly part?: { readonly start: number; readonly end: number } },
): TimedCaption {
  const { start, end } = media.part ?? { start: 0, end: media.durationSeconds };
  return { start, end: Math.max(start + SHORTEST_CUE, end), caption };
}

/** `HH:MM:SS.mmm`, rounded to the nearest millisecond; hours have two digits or more. */
export function clockTime(seconds: number, decimalMark: '.' | ',' = '.'): string {
  const milliseconds = Math.round(Math.max(0, seconds) * 1000);
  const digits = (value: number, count: number): string => String(Math.floor(value)).padStart(count, '0');
  const hours = digits(milliseconds / 3_600_000, 2);
  const minutes = digits((milliseconds / 60_000) % 60, 2);
  const rest = digits((milliseconds / 1000) % 60, 2);
  return `${hours}:${minutes}:${rest}${decimalMark}${digits(milliseconds % 1000, 3)}`;
}

/** A cue ends at an empty line, and players show each line on one of their own. */
function cueLines(caption: string): string[] {
  const lines = caption.split(/\r\n|\r|\n|\0/).map((line) => line.trim());
  return lines.filter((line) => line !== '');
}

/** Parts whose caption is not empty and that last at least a millisecond: players take no other cue. */
function cuesOf(parts: readonly TimedCaption[]): readonly TimedCaption[] {
  return parts.filter(({ start, end, caption }) => clockTime(end) > clockTime(start) && cueLines(caption).length > 0);
}

/** WebVTT. Text is escaped, so that none of it is read as a tag or as the times of another cue. */
export function vttText(parts: readonly TimedCaption[]): string {
  const escaped = (line: string): string =>
    line.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
  const cues = cuesOf(parts).map(
    ({ start, end, caption }, index) =>
      `\n${index + 1}\n${clockTime(start)} --> ${clockTime(end)}\n${cueLines(caption).map(escaped).join('\n')}\n`,
  );
  return `WEBVTT\n${cues.join('')}`;
}

/** SubRip. It has no escapes: `-->` inside a text becomes an arrow. */
export function srtText(parts: readonly TimedCaption[]): string {
  return cuesOf(parts)
    .map(({ start, end, caption }, index) => {
      const text = cueLines(caption).join('\n').replaceAll('-->', '→');
      return `${index + 1}\n${clockTime(start, ',')} --> ${clockTime(end, ',')}\n${text}\n`;
    })
    .join('\n');
}

/** Parts, and in the place of each that was cut into scenes, those. */
export function withScenes<Part extends TimedCaption & { readonly scenes?: readonly Part[] }>(
  parts: readonly Part[],
): readonly Part[] {
  return parts.flatMap((part) => part.scenes ?? [part]);
}

/** One heading a part. */
export function markdownText(parts: readonly TimedCaption[], title: string): string {
  const body = parts.map(
    ({ start, end, caption }) => `## ${clockTime(start)} – ${clockTime(end)}\n\n${caption.trim()}\n`,
  );
  return [`# ${title.replace(/\s+/g, ' ')}\n`, ...body].join('\n');
}

/** The times above a part of a timeline, and what separates it from the part before. */
export function timelineHeading({ start, end }: Omit<TimedCaption, 'caption'>, isFirst: boolean): string {
  return `${isFirst ? '' : '\n\n'}[${clockTime(start)} – ${clockTime(end)}]\n`;
}

/** The whole caption of a file in parts: each part under its times. */
export function timelineText(parts: readonly TimedCaption[]): string {
  return parts.map((part, index) => timelineHeading(part, index === 0) + part.caption.trim()).join('');
}
