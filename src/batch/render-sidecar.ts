// A result as the text of each kind of sidecar. Pure, and the same text for the same result: that is how a file is
// known to be ours after a crash.
import { basename } from 'node:path';
import { Check, Type } from '../base/schema.ts';
import { markdownText, srtText, vttText, wholeCaption, type TimedCaption } from '../output/subtitles.ts';
import { shownPath } from './path-text.ts';
import type { Format, ResultLine } from './types.ts';

const PART = { start: Type.Number(), end: Type.Number(), caption: Type.String() };
const SCENES = Type.Array(Type.Object(PART), { minItems: 1 });
const PARTS = Type.Array(Type.Object({ ...PART, scenes: Type.Optional(SCENES) }), { minItems: 1 });
const SPAN = Type.Object({ start: Type.Number(), end: Type.Number() });
const MEDIA = Type.Object({ duration_seconds: Type.Number(), part: Type.Optional(SPAN) });

/** The parts of a long video with a caption each, or the whole as one part. */
function partsOf(line: ResultLine): readonly TimedCaption[] {
  if (Check(PARTS, line['segments'])) return line['segments'].flatMap((part) => part.scenes ?? [part]);
  const { duration_seconds: durationSeconds, part } = Check(MEDIA, line['media'])
    ? line['media']
    : { duration_seconds: 0, part: undefined };
  return [wholeCaption(line.caption, { durationSeconds, part })];
}

export function sidecarText(format: Format, line: ResultLine): string {
  switch (format) {
    case 'json':
      return `${JSON.stringify(line, null, 2)}\n`;
    case 'txt':
      return `${line.caption.trim()}\n`;
    case 'md':
      return markdown(line);
    case 'vtt':
      return vttText(partsOf(line));
    case 'srt':
      return srtText(partsOf(line));
    case 'xmp':
      return xmp(line.caption);
    default:
      throw new Error(`There is no sidecar ${String(format satisfies never)}. This is a bug.`);
  }
}

function markdown(line: ResultLine): string {
  const title = shownPath(basename(line.path));
  const parts = partsOf(line);
  return parts.length > 1 ? markdownText(parts, title) : `# ${title}\n\n${line.caption.trim()}\n`;
}

/** XML 1.0 has no other control characters, and no halves of characters. */
function xmlText(text: string): string {
  return text
    .replaceAll(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]|[\u{d800}-\u{dfff}]/gu, '\ufffd')
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('\r', '&#xD;');
}

/** The caption as `dc:description`, which photo and video managers read. */
function xmp(caption: string): string {
  return `<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about=""
    xmlns:dc="http://purl.org/dc/elements/1.1/"
    xmlns:xmp="http://ns.adobe.com/xap/1.0/"
    xmp:CreatorTool="avocado-captioner">
   <dc:description>
    <rdf:Alt>
     <rdf:li xml:lang="x-default">${xmlText(caption.trim())}</rdf:li>
    </rdf:Alt>
   </dc:description>
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="w"?>
`;
}
