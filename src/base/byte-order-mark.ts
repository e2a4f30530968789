/** Text of a file without the mark that programs of Windows put at its beginning, which is no part of it. */
export function withoutMark(text: string): string {
  return text.replace(/^\uFEFF/, '');
}
