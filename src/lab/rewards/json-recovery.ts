// JSON out of what a judge wrote: it may stand in a fence or in prose, have curly quotes, or be Python.
import { readPythonLiteral } from './python-literal.ts';

type Read = { readonly value: unknown } | undefined;

function parse(text: string): Read {
  try {
    return { value: JSON.parse(text) as unknown };
  } catch {
    return undefined;
  }
}

const FENCE = /```[\w-]*[ \t]*\r?\n?([^]*?)```/;

/** The first {…} or […] with its brackets closed; brackets in strings do not count, nor apostrophes inside words. */
function firstBalanced(text: string): string | undefined {
  const start = text.search(/[{[]/);
  if (start === -1) return undefined;
  let depth = 0;
  let before = ''; // what is not a space
  let quote: string | undefined;
  for (let at = start; at < text.length; at += 1) {
    const character = text[at] ?? '';
    if (quote !== undefined) {
      if (character === '\\') at += 1;
      else if (character === quote) quote = undefined;
    } else if (character === '"' || (character === "'" && '[{(,:'.includes(before))) quote = character;
    else if (character === '{' || character === '[') depth += 1;
    else if ((character === '}' || character === ']') && (depth -= 1) === 0) return text.slice(start, at + 1);
    if (character.trim() !== '') before = character;
  }
  return undefined;
}

const JSON_WORDS: Readonly<Record<string, string>> = { True: 'true', False: 'false', None: 'null' };

function mend(text: string): string {
  const straight = text.replace(/[“”]/g, '"').replace(/[‘’]/g, "'");
  return straight.replace(/"(?:[^"\\]|\\[^])*"|\b(?:True|False|None)\b|,(?=\s*[}\]])/g, (found) =>
    found === ',' ? '' : (JSON_WORDS[found] ?? found),
  );
}

/**
 * The first of these that parses: the whole text, its first fenced block, its first balanced brackets; then the same with curly quotes
 * made straight, Python's True, False and None made JSON's, and trailing commas removed; then the same read as a Python literal.
 * Single quotes are never simply replaced by double ones: that breaks at every apostrophe.
 * @returns undefined when none does
 */
export function recoverJson(text: string): Read {
  const whole = text.trim();
  const places = [whole, FENCE.exec(whole)?.[1]?.trim(), firstBalanced(whole)].filter((place) => place !== undefined);
  const readers: readonly ((place: string) => Read)[] = [parse, (place) => parse(mend(place)), readPythonLiteral];
  for (const read of readers) {
    for (const place of places) {
      const found = read(place);
      if (found !== undefined) return found;
    }
  }
  return undefined;
}
