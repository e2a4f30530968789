// Thousands of hostile inputs in one mixed sequence, against the server as it is shipped, with the bundled model.
import { readdirSync, readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { decoderProcesses, nodeChildren } from '../fixtures/child-processes.ts';
import { examplePath, WIDE } from '../fixtures/examples.ts';
import { exchange, leave, rawForm, rawPost, readNothing, type Answer } from '../fixtures/fuzz-clients.ts';
import { fuzzBases, fuzzFiles } from '../fixtures/fuzz-files.ts';
import { oddOptions } from '../fixtures/fuzz-options.ts';
import { hostilePictures } from '../fixtures/hostile-media.ts';
import { malformedRequests } from '../fixtures/malformed-requests.ts';
import { scratchDirectory } from '../fixtures/scratch.ts';
import { SeededRandom } from '../fixtures/seeded-random.ts';
import { form, parseEvents } from '../fixtures/served-app.ts';
import { spawnServer, type SpawnedServer } from '../fixtures/spawned-server.ts';
import { isLongStress, stressSize } from '../fixtures/stress-size.ts';

/** Inputs of each kind in a hundred; the long form has a hundred times as many. */
const KINDS = { malformed: 60, picture: 15, file: 14, options: 3, stalled: 3, unread: 1, leaving: 4 };
type Kind = keyof typeof KINDS;
/** To find which kind of input is at fault: only these, such as AVOCADO_FUZZ=picture,file */
const ONLY = process.env['AVOCADO_FUZZ']?.split(',') ?? Object.keys(KINDS);
const INPUTS = stressSize('fuzz inputs', { short: 150, long: 10_000 });
const AT_ONCE = 8;
/** a client that sends or reads nothing for so long is disconnected */
const IDLE_SECONDS = 4;
/** the latest deadline that the server gives: also that of a request that asks for none */
const MAX_SECONDS = 20;
/** between a deadline and the ending, by the server's clock */
const LATE_SECONDS = 1;
/**
 * What a client adds by its own clock: this process makes files of megabytes between its answers, and connects to a
 * server with eight requests at work. The short form runs beside other tests, so it only finds what hangs.
 */
const CLIENT_SECONDS = isLongStress ? 2 : 60;

const scratch = scratchDirectory();
const random = new SeededRandom(20261127);

/** A request that the server may accept, by its id. */
interface Sent {
  readonly kind: Kind;
  readonly what: string;
  /** seconds until its deadline, or until its client leaves */
  readonly deadline: number;
  readonly atMs: number;
}

/** What a client does, and the seconds after which it must be over. */
interface Act {
  readonly what: string;
  readonly deadline: number;
  readonly run: () => Promise<void>;
}

let server: SpawnedServer;
let port: number;
let clip: Uint8Array<ArrayBuffer>;
const sent = new Map<string, Sent>();
/** ids of requests whose head came too late */
const unheard = new Set<string>();
/** ids of requests whose connection was closed while they were sent, so that their client saw no answer */
const cut = new Set<string>();
const complaints: string[] = [];
/** seconds beyond the deadline of each input, as its client saw it */
const overdue: { readonly what: string; readonly seconds: number }[] = [];
/** how many were answered in which way */
const answers = new Map<string, number>();
const memory: { readonly server: number; readonly engine: number }[] = [];

/** A new id, with its headers. */
function announce(kind: Kind, what: string, deadline: number, timeout = deadline): Record<string, string> {
  const id = `fuzz-${kind}-${sent.size}`;
  sent.set(id, { kind, what, deadline, atMs: Date.now() });
  return { 'x-request-id': id, 'x-request-timeout': String(timeout) };
}

/** more than a socket takes unread */
const UNREAD = 'stream=true&n=4&logprobs=20&max_tokens=300&ignore_eos=true&temperature=1';
const FORM = { 'content-type': 'multipart/form-data; boundary=b' };
const CODE = /"code": ?"(\w+)"/;
/** Codes that blame the request, its file or its deadline. */
const BLAMES =
  /^(media_\w+|bad_request|un(known|supported)_field|context_length_exceeded|deadline_exceeded|queue_full)$/;

/** A caption, or an error of the client's with a code; an event stream with one ending. */
function check(what: string, { status, text }: Answer): void {
  if (status === 0) return; // the server's log must say that it refused it: see below
  const isStream = text.startsWith('id:') || text.includes('\nevent: ');
  const endings = isStream
    ? parseEvents(text).events.filter(({ event }) => /^caption-(end|error|aborted)$/.test(event)).length
    : 1;
  const code = CODE.exec(text)?.[1];
  const isFine = code === undefined ? status === 200 : BLAMES.test(code) && (status < 500 || isStream);
  const said = `${what.replace(/ #.*/, '')}: ${status} ${code ?? ''}`;
  answers.set(said, (answers.get(said) ?? 0) + 1);
  if (!isFine || endings !== 1) complaints.push(`${what}: ${status}, ${endings} endings: ${text.slice(0, 300)}`);
}

async function post(path: string, headers: Record<string, string>, body: FormData | string): Promise<Answer> {
  const isText = typeof body === 'string';
  const id = headers['x-request-id'] ?? '';
  const type: Record<string, string> = isText ? { 'content-type': 'application/json' } : {};
  try {
    const response = await fetch(`${server.url}${path}`, { method: 'POST', headers: { ...headers, ...type }, body });
    const text = await response.text();
    if (text.includes('The head of the request took too long')) unheard.add(id);
    return { status: response.status, text };
  } catch (error) {
    const cause = (error as Error).cause as NodeJS.ErrnoException | undefined;
    if (!/^(EPIPE|ECONNRESET|UND_ERR_SOCKET)$/.test(cause?.code ?? '')) throw error;
    cut.add(id);
    return { status: 0, text: `The connection was closed: ${cause?.message}` };
  }
}

/** As a form, inside JSON, or inside a chat message. */
function postFile(bytes: Uint8Array<ArrayBuffer>, headers: Record<string, string>): Promise<Answer> {
  const stream = random.below(2) === 0;
  const url = `data:${random.pick(['video/mp4', 'audio/wav', 'x/y;codecs="a,b"', ''])};base64,`;
  const data = (): string => url + Buffer.from(bytes).toString('base64');
  switch (random.below(5)) {
    case 0:
      return post('/v1/captions', headers, JSON.stringify({ media: data(), max_tokens: 2, stream }));
    case 1: {
      const part = { type: 'video_url', video_url: { url: data() } };
      const messages = [{ role: 'user', content: [part] }];
      return post('/v1/chat/completions', headers, JSON.stringify({ messages, max_tokens: 2 }));
    }
    case 2:
      return post('/v1/captions/estimate', headers, form(bytes));
    default:
      return post('/v1/captions', headers, form(bytes, { max_tokens: '2', stream: String(stream) }));
  }
}

/**
 * A request with an id, whose answer is checked.
 * @param deadline seconds until it must have ended
 * @param timeout the deadline that it asks for
 */
function asked(
  kind: Kind,
  title: string,
  deadline: number,
  send: (headers: Record<string, string>) => Promise<Answer | undefined>,
  timeout = deadline,
): Act {
  const run = async (): Promise<void> => {
    const what = title.replace(/^\w+/, (word) => `${word} #${sent.size}`);
    const answer = await send(announce(kind, what, deadline, timeout));
    if (answer !== undefined) check(what, answer);
  };
  return { what: title, deadline, run };
}

/** For each kind, what its next client does. */
async function actors(counts: Readonly<Record<Kind, number>>): Promise<Record<Kind, () => Act>> {
  const malformed = malformedRequests(counts.malformed, 20261121);
  const pictures = hostilePictures(counts.picture, 20261127)[Symbol.iterator]();
  const files = fuzzFiles(counts.file, 20261128, await fuzzBases(scratch));
  const next = <T>(items: Iterator<T, unknown>): T => {
    const { value, done } = items.next();
    if (done === true) throw new Error('There are no more inputs.');
    return value;
  };
  return {
    malformed: () => {
      const { title, bytes } = next(malformed);
      const run = async (): Promise<void> => {
        const answer = await exchange(port, bytes);
        const { status, text } = answer;
        if (status < 400 || status >= 500 || !CODE.test(text)) complaints.push(`${title}: ${text.slice(0, 300)}`);
        else answers.set(`malformed: ${status}`, (answers.get(`malformed: ${status}`) ?? 0) + 1);
      };
      return { what: title, deadline: MAX_SECONDS, run };
    },
    picture: () => {
      const bytes = next(pictures);
      return asked('picture', 'picture', MAX_SECONDS, (headers) => postFile(bytes, headers));
    },
    file: () => {
      const { kind, bytes, heavy } = next(files);
      const deadline = heavy ? 2 : random.pick([3, 10, MAX_SECONDS]);
      return asked('file', kind, deadline, (headers) => postFile(bytes, headers));
    },
    options: () => {
      const { path, body } = oddOptions(random, clip);
      const what = `options ${body.replaceAll(/[A-Za-z0-9+/]{200,}/g, '…').slice(0, 300)}`;
      return asked('options', what, MAX_SECONDS, (headers) => post(path, headers, body));
    },
    stalled: () => {
      const timeout = random.pick([1, 2, MAX_SECONDS]);
      const body = rawForm(clip, {});
      const cut = random.below(2) === 0 ? 0 : random.below(body.length);
      const send = (headers: Record<string, string>): Promise<Answer> => {
        const request = rawPost('/v1/captions', { ...headers, ...FORM }, body);
        return exchange(port, request.subarray(0, request.length - body.length + cut));
      };
      return asked('stalled', 'stalled', Math.min(timeout, IDLE_SECONDS + 1), send, timeout);
    },
    unread: () => {
      const fields = Object.fromEntries(new URLSearchParams(UNREAD));
      const body = rawForm(clip, fields);
      const patienceMs = random.below(2 * IDLE_SECONDS * 1000);
      const send = async (headers: Record<string, string>): Promise<undefined> => {
        await readNothing(port, rawPost('/v1/captions', { ...headers, ...FORM }, body), patienceMs);
      };
      return asked('unread', 'unread', patienceMs / 1000, send, MAX_SECONDS);
    },
    leaving: () => {
      const patienceMs = random.below(600);
      const body = form(clip, { stream: random.pick(['true', 'false']), n: random.pick(['1', '8']), temperature: '1' });
      const send = (headers: Record<string, string>): Promise<Answer | undefined> =>
        leave(`${server.url}/v1/captions`, { method: 'POST', headers, body }, patienceMs);
      return asked('leaving', 'leaving', patienceMs / 1000, send, MAX_SECONDS);
    },
  };
}

/** Every kind evenly over the whole sequence. */
function sequence(): { readonly order: readonly Kind[]; readonly counts: Record<Kind, number> } {
  const kinds = Object.entries(KINDS) as [Kind, number][];
  const shares = kinds.map(([kind, share]) => (ONLY.includes(kind) ? share : 0));
  const all = shares.reduce((sum, share) => sum + share);
  const order = kinds.flatMap(([kind], index) => Array<Kind>(Math.ceil((INPUTS * shares[index]!) / all)).fill(kind));
  for (let index = order.length - 1; index > 0; index -= 1) {
    const other = random.below(index + 1);
    [order[index], order[other]] = [order[other]!, order[index]!];
  }
  const counts = Object.fromEntries(kinds.map(([kind]) => [kind, order.filter((each) => each === kind).length]));
  return { order, counts: counts as Record<Kind, number> };
}

/** Resident set, MiB. */
function residentMiB(pid: number | undefined): number {
  return Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024;
}

async function metric(name: string): Promise<number> {
  const text = await (await fetch(`${server.url}/metrics`)).text();
  const values = [...text.matchAll(new RegExp(`^${name}(?:\\{.*\\})? (\\S+)$`, 'gm'))];
  return values.reduce((sum, [, value]) => sum + Number(value), 0);
}

async function caption(): Promise<unknown> {
  const { status, text } = await post('/v1/captions', {}, form(clip));
  return status === 200 ? (JSON.parse(text) as { caption: string }).caption : text;
}

let captionBefore: unknown;
let engine: number | undefined;

beforeAll(async () => {
  const times = ['--idle-seconds', String(IDLE_SECONDS), '--max-timeout', String(MAX_SECONDS)];
  const limits = [...times, '--max-requests', '64', '--log-level', 'info'];
  // Caches and unused rows of the KV cache are memory that grows for a good reason.
  const model = ['--context', '4096', '--prefix-slots', '0', '--media-cache-bytes', '0'];
  server = await spawnServer([...model, ...limits], scratch('tmp'));
  port = Number(new URL(server.url).port);
  clip = Uint8Array.from(await readFile(examplePath(WIDE)));
  captionBefore = await caption();
  [engine] = nodeChildren(server.child.pid);
  const { order, counts } = sequence();
  const make = await actors(counts);
  const rest = order[Symbol.iterator]();
  const sampling = setInterval(() => {
    const [running] = nodeChildren(server.child.pid);
    if (running === engine) memory.push({ server: residentMiB(server.child.pid), engine: residentMiB(engine) });
  }, 500);
  await Promise.all(
    Array.from({ length: AT_ONCE }, async () => {
      for (const kind of rest) {
        const { what, deadline, run } = make[kind]();
        const startedMs = performance.now();
        await run();
        overdue.push({ what, seconds: (performance.now() - startedMs) / 1000 - deadline });
      }
    }),
  );
  clearInterval(sampling);
}, 7_200_000);

afterAll(async () => {
  server.kill('SIGTERM');
  await server.ended;
});

interface RequestLine {
  /** when it was written: nothing of the request is left. Milliseconds since 1970 */
  readonly time: number;
  readonly reqId: string;
  readonly route: string;
  /** of a caption */
  readonly outcome?: string;
  readonly status?: number;
  readonly seconds: number;
}

/** Lines of the server's log about requests of ours. */
function loggedRequests(): RequestLine[] {
  return server
    .stderr()
    .split('\n')
    .filter((line) => line.includes('"msg":"request"') && line.includes('"reqId":"fuzz-'))
    .map((line) => JSON.parse(line) as RequestLine);
}

function fail(id: string): never {
  throw new Error(`The server logs a request ${id} that nobody sent.`);
}

function worstOf(waits: readonly { readonly what: string; readonly seconds: number }[]): typeof overdue {
  return [...waits].sort((a, b) => b.seconds - a.seconds).slice(0, 5);
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1] ?? 0;
}

describe(`a server under ${INPUTS} hostile inputs`, () => {
  it('answers each with a caption or an error that says what is wrong with it', () => {
    if (isLongStress) console.log(Object.fromEntries([...answers].sort()));
    expect(complaints.slice(0, 20)).toEqual([]);
    const isWhole = ONLY.length === Object.keys(KINDS).length;
    expect(answers.size).toBeGreaterThan(isWhole ? 12 : 0); // not one refusal for everything
  });

  it('ends each that it accepts once, and within its deadline', async () => {
    // One that leaves at once was perhaps never heard; nor is one whose head a busy machine let come too late.
    const isHeard = ([id, { kind }]: [string, Sent]): boolean =>
      kind !== 'leaving' && kind !== 'unread' && !unheard.has(id) && !cut.has(id);
    const heard = [...sent].filter(isHeard);
    await vi.waitFor(
      () => {
        const lines = new Set(loggedRequests().map(({ reqId }) => reqId));
        expect(heard.filter(([id]) => !lines.has(id))).toEqual([]);
      },
      { timeout: 30_000, interval: 500 },
    );
    const lines = loggedRequests();
    const ids = lines.map(({ reqId }) => reqId);
    // A client that still sends may miss why it was refused. It never misses a caption, nor an error of ours.
    const cutLines = lines.filter(({ reqId }) => cut.has(reqId));
    if (isLongStress) console.log(`${cut.size} cut off while they sent:`, cutLines.slice(0, 5));
    expect(cutLines.filter(({ outcome, status = 0 }) => outcome === 'ok' || status >= 500 || status === 200)).toEqual(
      [],
    );
    expect(cut.size).toBeLessThan(INPUTS / 100 + 5);
    expect(lines.filter(({ route, outcome }) => outcome === undefined && !route.endsWith('/estimate'))).toEqual([]);
    expect(ids.filter((id, index) => ids.indexOf(id) !== index)).toEqual([]);
    const late = lines.flatMap(({ reqId, seconds, time }) => {
      const { what, deadline, atMs } = sent.get(reqId) ?? fail(reqId);
      const cleared = { what: `${what}: nothing of it is left`, seconds: (time - atMs) / 1000 - deadline };
      return [{ what: `${what}: its response`, seconds: seconds - deadline }, cleared];
    });
    expect(overdue.length).toBeGreaterThanOrEqual(INPUTS);
    const worst = worstOf(late.filter(({ what }) => what.endsWith('response')));
    if (isLongStress) {
      console.log(`${lines.length} accepted; the latest by the server's clock, in seconds after the deadline:`, worst);
      console.log('by the clients’ clock:', worstOf(overdue), worstOf(late));
      expect(worst.filter(({ seconds }) => seconds > LATE_SECONDS)).toEqual([]);
    }
    expect(worstOf([...overdue, ...late]).filter(({ seconds }) => seconds > LATE_SECONDS + CLIENT_SECONDS)).toEqual([]);
  });

  it('keeps its engine, its memory and its manners', async () => {
    expect(nodeChildren(server.child.pid)).toEqual([engine]);
    expect(await metric('avocado_engine_restarts_total')).toBe(0);
    expect(server.stderr()).not.toContain('MaxListenersExceededWarning');
    await vi.waitFor(
      async () => {
        expect(readdirSync(scratch('tmp'), { recursive: true }).filter((name) => name.includes('/'))).toEqual([]);
        expect(await metric('avocado_requests_running')).toBe(0);
        expect(await metric('avocado_kv_slots_free')).toBe(await metric('avocado_kv_slots_capacity'));
        expect(decoderProcesses(engine)).toEqual([]);
      },
      { timeout: 30_000, interval: 200 },
    );
    const quarter = memory.length >> 2;
    const [second, last] = [memory.slice(quarter, 2 * quarter), memory.slice(-quarter)];
    const grown = (of: 'server' | 'engine'): number =>
      median(last.map((m) => m[of])) - median(second.map((m) => m[of]));
    if (isLongStress) {
      const most = (of: 'server' | 'engine'): number => Math.max(...memory.map((m) => m[of]));
      const some = memory.filter((_, index) => index % Math.ceil(memory.length / 20) === 0);
      console.log(
        'MiB of server and engine:',
        some.map((m) => `${m.server.toFixed()}/${m.engine.toFixed()}`).join(' '),
      );
      console.log(`MiB at most: server ${most('server').toFixed()}, engine ${most('engine').toFixed()}`);
      console.log(`MiB grown from the second quarter to the last: ${grown('server')}, ${grown('engine')}`);
      expect(grown('server')).toBeLessThan(50);
      expect(grown('engine')).toBeLessThan(100);
    }
    expect(Math.max(...memory.map((m) => m.server))).toBeLessThan(1000);
    expect(await caption()).toBe(captionBefore);
  });
});
