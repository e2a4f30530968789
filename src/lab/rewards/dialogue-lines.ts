import { isWordless } from './normalise.ts';
import type { DialogueLine } from './types.ts';

/** A description may hold a colon where the words are quoted: the first colon right before a quote parts them, otherwise the first one. */
const PARTED = [/^([^]*?)[:：]\s*(["“'「][^]*)$/u, /^([^]*?)[:：]\s*([^]*)$/u];
const OPENING = /^["“”'「]/u;
const QUOTED = /^["“”'「]([^]*)["”“'」]$/u;

function partedLine(line: string): DialogueLine | undefined {
  for (const pattern of PARTED) {
    const [, speaker, content] = pattern.exec(line) ?? [];
    if (speaker !== undefined && content !== undefined) return { speaker: speaker.trim(), content: content.trim() };
  }
  return undefined;
}

/** A line that had its last quote does not go on below. */
function isOpen({ content }: DialogueLine): boolean {
  return !(OPENING.test(content) && QUOTED.test(content));
}

/**
 * Reads a judge's list of spoken lines, each `Speaker: "words"`. `None` is an empty list; a line without a colon goes on with the one
 * above it; lines without words are dropped.
 * @returns undefined when the reply is no such list
 */
export function parseDialogueLines(reply: string): DialogueLine[] | undefined {
  if (/^\W*none\b/i.test(reply)) return [];
  const found: DialogueLine[] = [];
  for (const text of reply
    .split(/\r?\n/)
    .map((line) => line.trim())
    .filter((line) => line !== '')) {
    const line = partedLine(text);
    const last = found.at(-1);
    if (line !== undefined) found.push(line);
    else if (last !== undefined && isOpen(last))
      found[found.length - 1] = { ...last, content: `${last.content} ${text}` };
  }
  const unquoted = found.map(({ speaker, content }) => ({
    speaker,
    content: (QUOTED.exec(content)?.[1] ?? content).trim(),
  }));
  const lines = unquoted.filter(({ content }) => !isWordless(content));
  return lines.length === 0 ? undefined : lines;
}
