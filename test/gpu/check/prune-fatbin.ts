// Makes a CUDA library small enough to carry: the machine code of other cards is overwritten with zeros, which compress
// to nothing. Sizes and headers stay, so that the library loads as before, and the driver chooses by header.

const FATBIN_MAGIC = 0xba55ed50;
const KIND_MACHINE_CODE = 2;
const FATBIN_HEADER = 16;

interface Section {
  readonly offset: number;
  readonly size: number;
}

function fatbinSection(library: Buffer): Section | undefined {
  const table = Number(library.readBigUInt64LE(0x28));
  const entryBytes = library.readUInt16LE(0x3a);
  const entry = (index: number) => {
    const at = table + index * entryBytes;
    const [offset, size] = [24, 32].map((field) => Number(library.readBigUInt64LE(at + field))) as [number, number];
    return { name: library.readUInt32LE(at), offset, size };
  };
  const names = entry(library.readUInt16LE(0x3e)).offset;
  for (let index = 0; index < library.readUInt16LE(0x3c); index++) {
    const { name, offset, size } = entry(index);
    if (library.toString('latin1', names + name, library.indexOf(0, names + name)) === '.nv_fatbin')
      return { offset, size };
  }
  return undefined;
}

interface Code {
  readonly kind: number;
  /** 90 = sm_90 */
  readonly architecture: number;
  readonly start: number;
  readonly bytes: number;
}

/** The codes of one fatbin, whose body is [from, to). */
function codesIn(library: Buffer, from: number, to: number): Code[] {
  const codes: Code[] = [];
  for (let at = from; at < to;) {
    const headerBytes = library.readUInt32LE(at + 4);
    const bytes = Number(library.readBigUInt64LE(at + 8));
    codes.push({
      kind: library.readUInt16LE(at),
      architecture: library.readUInt32LE(at + 28),
      start: at + headerBytes,
      bytes,
    });
    at += headerBytes + bytes;
  }
  return codes;
}

/**
 * Overwrites, in place, all code that a card of `architecture` would not take. A fatbin without machine code for it
 * stays whole. @returns how many bytes were overwritten
 * @throws Error when the library has no CUDA code
 */
export function pruneFatbin(library: Buffer, architecture: number): number {
  const section = fatbinSection(library);
  if (section === undefined) throw new Error('The library has no section .nv_fatbin.');
  const end = section.offset + section.size;
  let cleared = 0;
  for (let at = section.offset; at + FATBIN_HEADER <= end;) {
    if (library.readUInt32LE(at) !== FATBIN_MAGIC) {
      at += 8;
      continue;
    }
    const body = at + library.readUInt16LE(at + 6);
    const next = body + Number(library.readBigUInt64LE(at + 8));
    const codes = codesIn(library, body, next);
    // Machine code runs on cards of the same major version and a minor one that is not older.
    const runs = codes.filter(
      (code) =>
        code.kind === KIND_MACHINE_CODE &&
        Math.floor(code.architecture / 10) === Math.floor(architecture / 10) &&
        code.architecture <= architecture,
    );
    const taken = runs.toSorted((left, right) => right.architecture - left.architecture)[0];
    for (const code of taken === undefined ? [] : codes) {
      if (code.kind === KIND_MACHINE_CODE && code.architecture === taken?.architecture) continue;
      library.fill(0, code.start, code.start + code.bytes);
      cleared += code.bytes;
    }
    at = next;
  }
  return cleared;
}
