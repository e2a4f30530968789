/**
 * The address of a server without slashes at its end. It may have a path. Keys and queries would be lost or end up in
 * messages, so an address with one is none.
 * @returns undefined for anything else
 */
export function baseUrlOf(text: string): string | undefined {
  if (!/^https?:\/\/[^/]/i.test(text) || !URL.canParse(text)) return undefined;
  const { username, password, search, hash } = new URL(text);
  return `${username}${password}${search}${hash}` === '' ? text.replace(/\/+$/, '') : undefined;
}
