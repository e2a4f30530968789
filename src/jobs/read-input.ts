// From the lines of an input file to the items of a job. Pure but for the bytes it is given.
import { withoutMark } from '../base/byte-order-mark.ts';
import type { ErrorCode } from '../base/errors.ts';
import { isJsonObject, type JsonObject } from '../base/json.ts';
import type { Endpoint, InputError, Job, NewItem } from './types.ts';

/** Of OpenAI's batches; jobs of ours have no limit but the size of their file. */
export const MOST_BATCH_LINES = 50_000;
/** A longer line blocks the event loop while it is parsed. */
const MOST_LINE_BYTES = 16 * 1024 ** 2;
/** So does one of millions of small values. Commas and opening brackets count, those in texts too. */
const MOST_LINE_MARKS = 100_000;
/** JSON.parse reads deeper ones than JSON.stringify writes. */
const MOST_LEVELS = 100;
/** As OpenAI does: whoever sees some of them can mend the rest. */
const MOST_ERRORS = 100;
const MOST_ID_CHARACTERS = 512;
const MOST_MEDIA_CHARACTERS = 2048;

interface Line {
  /** from 1 */
  readonly number: number;
  /** undefined: too long to be read */
  readonly text: string | undefined;
}

/** Lines that are not blank. */
export async function* linesOf(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Line> {
  let held: Uint8Array[] = [];
  let bytes = 0;
  let number = 1;
  const take = (): Line | undefined => {
    const text = bytes > MOST_LINE_BYTES ? undefined : withoutMark(Buffer.concat(held).toString('utf8'));
    [held, bytes] = [[], 0];
    return text?.trim() === '' ? undefined : { number, text };
  };
  for await (const chunk of chunks) {
    for (let at = 0; at < chunk.length;) {
      const end = chunk.indexOf(10, at);
      const part = chunk.subarray(at, end < 0 ? chunk.length : end);
      bytes += part.length;
      if (bytes <= MOST_LINE_BYTES) held.push(part);
      if (end < 0) break;
      const line = take();
      if (line !== undefined) yield line;
      number += 1;
      at = end + 1;
    }
  }
  const last = take();
  if (last !== undefined) yield last;
}

function hasManyMarks(text: string): boolean {
  let count = 0;
  for (const mark of [',', '[', '{'])
    for (let at = text.indexOf(mark); at >= 0; at = text.indexOf(mark, at + 1)) {
      count += 1;
      if (count > MOST_LINE_MARKS) return true;
    }
  return false;
}

function isDeeper(value: unknown, levels: number): boolean {
  if (typeof value !== 'object' || value === null) return false;
  return levels === 0 || Object.values(value).some((inner) => isDeeper(inner, levels - 1));
}

function parsed({ text, number }: Line): JsonObject | InputError {
  const fault = (message: string): InputError => ({ code: 'invalid_json_line', message, param: null, line: number });
  if (text === undefined) return fault(`Line ${number} is longer than ${MOST_LINE_BYTES} bytes.`);
  if (hasManyMarks(text)) return fault(`Line ${number} has more than ${MOST_LINE_MARKS} commas and brackets.`);
  try {
    const value: unknown = JSON.parse(text);
    if (isDeeper(value, MOST_LEVELS))
      return fault(`Line ${number} has more than ${MOST_LEVELS} brackets in each other.`);
    return isJsonObject(value) ? value : fault(`Line ${number} is not a JSON object.`);
  } catch {
    return fault(`Line ${number} is not parseable as valid JSON.`);
  }
}

const isFault = (value: JsonObject | InputError): value is InputError => value['code'] === 'invalid_json_line';

/** One line of a batch in OpenAI's shape, or what is wrong with it. */
function batchItem(line: Line, n: number, endpoint: Endpoint, seen: Set<string>): NewItem | InputError {
  const fields = parsed(line);
  if (isFault(fields)) return fields;
  const fault = (code: string, param: string, message: string): InputError => ({
    code,
    message: `Line ${line.number}: ${message}`,
    param,
    line: line.number,
  });
  const { custom_id: customId, method, url, body } = fields;
  if (typeof customId !== 'string' || customId === '' || customId.length > MOST_ID_CHARACTERS)
    return fault(
      'missing_required_parameter',
      'custom_id',
      `custom_id must be a text of 1 to ${MOST_ID_CHARACTERS} characters.`,
    );
  if (seen.has(customId))
    return fault('duplicate_custom_id', 'custom_id', `The custom_id ${customId.slice(0, 64)} is used twice.`);
  seen.add(customId);
  if (method !== 'POST') return fault('invalid_method', 'method', 'method must be POST.');
  if (url !== endpoint) return fault('mismatched_url', 'url', `url must be ${endpoint}, as the batch’s endpoint.`);
  if (!isJsonObject(body)) return fault('missing_required_parameter', 'body', 'body must be a JSON object.');
  if (body['stream'] === true) return fault('invalid_request', 'body.stream', 'A batch cannot stream.');
  return { n, customId, media: '', payload: JSON.stringify(body) };
}

/** One line of a job: the fields of `POST /v1/captions`, with `id` and `fields` of the client's own. */
function jobItem(line: Line, n: number): NewItem {
  const fields = parsed(line);
  const bad = (message: string, code: ErrorCode = 'bad_request'): NewItem => ({
    n,
    customId: String(n),
    media: '',
    payload: '',
    error: { code, message },
  });
  if (isFault(fields)) return bad(fields.message);
  const { id, media, fields: own } = fields;
  const customId =
    typeof id === 'string' || typeof id === 'number' ? String(id).slice(0, MOST_ID_CHARACTERS) : String(n);
  if (typeof media !== 'string' || media === '')
    return { ...bad(`Line ${line.number} has no media: a media://, https: or http: address.`), customId };
  if (own !== undefined && !isJsonObject(own))
    return { ...bad(`Line ${line.number}: fields must be a JSON object.`), customId };
  return { n, customId, media: media.slice(0, MOST_MEDIA_CHARACTERS), payload: JSON.stringify(fields) };
}

export type InputEnd = { readonly total: number } | { readonly errors: readonly InputError[] };

/**
 * Reads the whole input.
 * @param insert gets items in blocks; false when the job is no longer ours
 * @returns undefined when it is not; errors of a batch, whose input must be right in full
 */
export async function readInput(
  job: Pick<Job, 'kind' | 'endpoint'>,
  chunks: AsyncIterable<Uint8Array>,
  insert: (items: readonly NewItem[]) => Promise<boolean>,
): Promise<InputEnd | undefined> {
  const errors: InputError[] = [];
  const seen = new Set<string>();
  let block: NewItem[] = [];
  let blockLength = 0;
  let total = 0;
  for await (const line of linesOf(chunks)) {
    if (job.kind === 'batch' && total >= MOST_BATCH_LINES)
      return { errors: [wholeFault('too_many_tasks', `The file has more than ${MOST_BATCH_LINES} lines.`)] };
    const item = job.kind === 'batch' ? batchItem(line, total, job.endpoint, seen) : jobItem(line, total);
    total += 1;
    if (!('n' in item)) {
      if (errors.length < MOST_ERRORS) errors.push(item);
      continue;
    }
    block.push(item);
    blockLength += item.payload.length;
    if (block.length < BLOCK_ITEMS && blockLength < BLOCK_CHARACTERS) continue;
    if (!(await insert(block))) return undefined;
    [block, blockLength] = [[], 0];
  }
  if (!(await insert(block))) return undefined;
  if (job.kind === 'batch' && total === 0)
    return { errors: [wholeFault('empty_file', 'The input file has no lines.')] };
  return errors.length > 0 ? { errors } : { total };
}

/** Items that are put into the database at once. */
const BLOCK_ITEMS = 1000;
const BLOCK_CHARACTERS = 4 * 1024 ** 2;

export function wholeFault(code: string, message: string): InputError {
  return { code, message, param: null, line: null };
}

/** The fields of a body that an item asks for: those of the job, and over them its own. */
export function bodyOf(payload: string, options: string): JsonObject {
  const own: unknown = JSON.parse(payload);
  const shared: unknown = JSON.parse(options);
  if (!isJsonObject(own) || !isJsonObject(shared)) throw new Error('An item holds no JSON object. This is a bug.');
  const body = Object.entries(own).filter(([name]) => name !== 'id' && name !== 'fields');
  return { ...shared, ...Object.fromEntries(body) };
}

/** What a client wants back with the result. */
export function ownFields(payload: string): JsonObject | undefined {
  const { fields } = JSON.parse(payload) as JsonObject;
  return isJsonObject(fields) ? fields : undefined;
}
