// Byte-level vocabularies write every byte as one printable character (GPT-2, `bytes_to_unicode`): printable Latin-1 stands
// for itself, the other 68 bytes follow in order from U+0100 on.

function byteAlphabet(): ReadonlyMap<string, number> {
  const standsForItself = (byte: number): boolean =>
    (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
  const alphabet = new Map<string, number>();
  let next = 0x100;
  for (let byte = 0; byte < 256; byte++) alphabet.set(String.fromCharCode(standsForItself(byte) ? byte : next++), byte);
  return alphabet;
}

/** The byte that each of the 256 stand-in characters means. */
export const BYTE_ALPHABET = byteAlphabet();

/** Bytes of one vocabulary entry; an entry with foreign characters is its own UTF-8, as in the `tokenizers` ByteLevel decoder. */
export function bytesOfToken(token: string): Uint8Array {
  const bytes = new Uint8Array(token.length);
  for (let index = 0; index < token.length; index++) {
    const byte = BYTE_ALPHABET.get(token.charAt(index));
    if (byte === undefined) return new TextEncoder().encode(token);
    bytes[index] = byte;
  }
  return bytes;
}
