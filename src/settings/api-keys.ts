// The keys that clients of a server must send, each under a name. Of a key itself only the hash is kept.
import { createHash, timingSafeEqual } from 'node:crypto';
import { readFileSync } from 'node:fs';

export interface ApiKey {
  /** appears in logs */
  readonly name: string;
  /** of the key, in hexadecimal */
  readonly sha256: string;
}

const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;
/** characters that a header can carry in one word; a shorter key could be guessed */
const KEY = /^[\x21-\x7e]{16,512}$/;
const SHA256 = /^sha256:([0-9a-fA-F]{64})$/;

interface ReadKeys {
  readonly keys: readonly ApiKey[];
  /** sentences that name the line, never the key */
  readonly mistakes: readonly string[];
}

function digest(key: string): Buffer {
  return createHash('sha256').update(key).digest();
}

/** @returns a sentence about what is wrong with `name:key` or `name:sha256:HEX`, or the key */
function parseLine(line: string): string | ApiKey {
  const colon = line.indexOf(':');
  const name = line.slice(0, Math.max(0, colon));
  const key = line.slice(colon + 1);
  if (!NAME.test(name)) return 'write it as NAME:KEY or NAME:sha256:HEX, NAME of letters, digits, dots, _ and -.';
  const hash = SHA256.exec(key)?.[1];
  if (hash !== undefined) return { name, sha256: hash.toLowerCase() };
  if (key.startsWith('sha256:')) return `the hash of ${name} must have 64 hexadecimal digits.`;
  if (!KEY.test(key))
    return `the key of ${name} must have at least 16 characters and no spaces. This makes one: openssl rand -hex 32`;
  return { name, sha256: digest(key).toString('hex') };
}

/**
 * Keys of one text, one a line (or between commas), `#` begins a comment line.
 * @param place how mistakes call the text, such as `--api-keys keys.txt`
 */
function parseKeys(text: string, separator: RegExp, place: string): ReadKeys {
  const keys: ApiKey[] = [];
  const mistakes: string[] = [];
  for (const [index, raw] of text.split(separator).entries()) {
    const line = raw.trim();
    if (line === '' || line.startsWith('#')) continue;
    const parsed = parseLine(line);
    if (typeof parsed === 'string') mistakes.push(`${place}, line ${index + 1}: ${parsed}`);
    else if (keys.some(({ name }) => name === parsed.name))
      mistakes.push(`${place}, line ${index + 1}: the name ${parsed.name} is given twice.`);
    else keys.push(parsed);
  }
  // An empty file is more likely a mistake than the wish for a server without keys.
  if (keys.length === 0 && mistakes.length === 0)
    mistakes.push(`${place} holds no key. Leave it out for a server that needs no key.`);
  return { keys, mistakes };
}

/** Keys of a file. Read synchronously: this runs once, before the server accepts requests. */
export function keysOfFile(path: string): ReadKeys {
  const place = `--api-keys ${path}`;
  try {
    return parseKeys(readFileSync(path, 'utf8'), /\r?\n/, place);
  } catch (error) {
    return {
      keys: [],
      mistakes: [`${place} cannot be read (${(error as NodeJS.ErrnoException).code ?? 'unknown reason'}).`],
    };
  }
}

/** Keys of the environment variable AVOCADO_API_KEYS, between commas or on lines. */
export function keysOfEnvironment(text: string): ReadKeys {
  return parseKeys(text, /,|\r?\n/, 'AVOCADO_API_KEYS');
}

/** The entry of a key that a client sent. The time it takes does not depend on which entry matches (timing attacks). */
export function findKey(presented: string, keys: readonly ApiKey[]): ApiKey | undefined {
  const hash = digest(presented);
  let found: ApiKey | undefined;
  for (const key of keys) if (timingSafeEqual(hash, Buffer.from(key.sha256, 'hex'))) found = key;
  return found;
}
