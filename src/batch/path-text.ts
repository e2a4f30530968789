// Paths as text. A file name of Linux is any bytes. Those that are no UTF-8 become lone surrogates U+DC80 … U+DCFF, as
// Python does it (PEP 383): the text goes through JSON and gives the same bytes again.
import { isUtf8 } from 'node:buffer';

const LONE = /[\u{dc80}-\u{dcff}]/u;
const FIRST = 0xdc00;
const LONGEST_CHARACTER = 4;

/** The bytes of a path as text. */
export function pathText(bytes: Buffer): string {
  if (isUtf8(bytes)) return bytes.toString('utf8');
  let text = '';
  for (let at = 0; at < bytes.length;) {
    let length = 1;
    while (length <= LONGEST_CHARACTER && !isUtf8(bytes.subarray(at, at + length))) length++;
    if (length > LONGEST_CHARACTER) {
      text += String.fromCharCode(FIRST + (bytes[at] ?? 0));
      at += 1;
    } else {
      text += bytes.toString('utf8', at, at + length);
      at += length;
    }
  }
  return text;
}

/** The path as Node's file functions take it: the text itself, or its bytes where they are no UTF-8. */
export function fsPath(text: string): string | Buffer {
  return isPlain(text) ? text : Buffer.concat(Array.from(text, bytesOf));
}

/** Whether a path is UTF-8, so that it can be passed to programs as text. */
export function isPlain(text: string): boolean {
  return !LONE.test(text);
}

function bytesOf(character: string): Buffer {
  return LONE.test(character) ? Buffer.of(character.charCodeAt(0) - FIRST) : Buffer.from(character);
}

/** For people: what is no UTF-8 shows as U+FFFD, and control characters as escapes. One line, whatever the name. */
export function shownPath(text: string): string {
  return text
    .replaceAll(/[\u{d800}-\u{dfff}]/gu, '\ufffd')
    .replaceAll(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]/g, (control) => {
      return control === '\n' ? '\\n' : `\\x${control.charCodeAt(0).toString(16).padStart(2, '0')}`;
    });
}
