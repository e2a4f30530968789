// What a shared library of Linux says about itself, read from its file. Nothing is loaded.
import { closeSync, openSync, readSync } from 'node:fs';

const SECTION_DYNAMIC = 6;
const TAG_NEEDED = 1n;

/**
 * File names of the libraries that a shared library links to, in its own order (ELF's DT_NEEDED), such as
 * `libcudart.so.13`. [] when the file is no 64-bit little-endian ELF file.
 * @throws Error when the file cannot be read
 */
export function neededLibraries(path: string): string[] {
  const file = openSync(path, 'r');
  const read = (offset: number, bytes: number): Buffer => {
    const buffer = Buffer.alloc(bytes);
    return buffer.subarray(0, readSync(file, buffer, 0, bytes, offset));
  };
  try {
    const header = read(0, 64);
    if (header.length < 64 || header.toString('latin1', 0, 6) !== '\x7fELF\x02\x01') return [];
    const entryBytes = header.readUInt16LE(0x3a);
    const sections = read(Number(header.readBigUInt64LE(0x28)), entryBytes * header.readUInt16LE(0x3c));
    const section = (index: number) => ({
      type: sections.readUInt32LE(index * entryBytes + 4),
      bytes: () =>
        read(
          Number(sections.readBigUInt64LE(index * entryBytes + 24)),
          Number(sections.readBigUInt64LE(index * entryBytes + 32)),
        ),
      link: sections.readUInt32LE(index * entryBytes + 40),
    });
    const all = Array.from({ length: Math.floor(sections.length / entryBytes) }, (_, index) => section(index));
    const dynamic = all.find(({ type }) => type === SECTION_DYNAMIC);
    const strings = dynamic === undefined ? undefined : all[dynamic.link]?.bytes();
    if (dynamic === undefined || strings === undefined) return [];
    const entries = dynamic.bytes();
    const needed: string[] = [];
    for (let at = 0; at + 16 <= entries.length; at += 16) {
      if (entries.readBigUInt64LE(at) !== TAG_NEEDED) continue;
      const start = Number(entries.readBigUInt64LE(at + 8));
      needed.push(strings.toString('latin1', start, strings.indexOf(0, start)));
    }
    return needed;
  } finally {
    closeSync(file);
  }
}
