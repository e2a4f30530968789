// A running server as its client sees it: calls that wait while it is away, starting or full.
import { setTimeout as sleep } from 'node:timers/promises';
import { withGrace } from '../base/abort.ts';
import { AvocadoError, ERRORS, type ErrorCode } from '../base/errors.ts';
import { isJsonObject, parseJson } from '../base/json.ts';
import { retryAfterMs } from '../base/retry-after.ts';

export interface ServerOptions {
  /** without a slash at its end */
  readonly url: string;
  readonly apiKey: string | undefined;
  /** called once when waiting begins, with the reason, and how long it may last */
  readonly onWait?: ((reason: string, patienceMs: number) => void) | undefined;
  /** a server that answers nothing useful for so long is given up */
  readonly patienceMs?: number | undefined;
  readonly firstPauseMs?: number | undefined;
}

export interface Call {
  readonly method: 'GET' | 'POST' | 'DELETE';
  /** with its query */
  readonly path: string;
  readonly body?: object | undefined;
  /** instead of a body, made anew for each try: its file is a stream */
  readonly form?: (() => Promise<FormData>) | undefined;
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /** after the signal aborts, how long the answer of a try under way is waited for: it names what the try made */
  readonly graceMs?: number | undefined;
}

const PATIENCE_MS = 10 * 60_000;
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 15_000;
/** Of an answer in JSON; an upload may take as long as it moves. */
const ANSWER_MS = 120_000;
/** The server is away, starting, stopping or full: the same call succeeds later. */
const WAITS: readonly number[] = [429, 502, 503, 504];
const QUOTED_CHARACTERS = 200;

/** An answer, or why there was none and when the next try may come. */
type Outcome = { readonly text: string } | { readonly refusal: AvocadoError; readonly afterMs: number | undefined };

export class ServerClient {
  readonly #options: ServerOptions;
  #answeredMs = -Infinity;
  #isWaiting = false;

  constructor(options: ServerOptions) {
    this.#options = options;
  }

  get url(): string {
    return this.#options.url;
  }

  /** The same server, for calls that are not worth waiting for. */
  impatient(): ServerClient {
    return new ServerClient({ ...this.#options, patienceMs: 0 });
  }

  async json<T>(call: Call, signal: AbortSignal): Promise<T> {
    const value = parseJson(await this.text(call, signal));
    if (isJsonObject(value)) return value as T;
    throw new AvocadoError('engine_unavailable', `${this.url} answers ${call.path} with no JSON object. ${ADVICE}`);
  }

  /**
   * An answer that comes within the call's grace is returned although the signal has aborted.
   * @throws AvocadoError of the answer; `engine_unavailable` of a server that stays away; the signal's reason
   */
  async text(call: Call, signal: AbortSignal): Promise<string> {
    const { patienceMs = PATIENCE_MS, firstPauseMs = FIRST_PAUSE_MS, onWait } = this.#options;
    const startedMs = performance.now();
    for (let tries = 1; ; tries++) {
      const { graceMs } = call;
      const outcome = await (graceMs === undefined
        ? this.#try(call, signal)
        : withGrace(signal, graceMs, (later) => this.#try(call, later)));
      if ('text' in outcome) {
        this.#answeredMs = performance.now();
        this.#isWaiting = false;
        return outcome.text;
      }
      // While other calls are answered the server lives: its storage may be full for an hour.
      const silentMs = performance.now() - Math.max(startedMs, this.#answeredMs);
      if (silentMs >= patienceMs) throw outcome.refusal;
      if (tries === 1 && !this.#isWaiting) onWait?.(outcome.refusal.message, patienceMs - silentMs);
      this.#isWaiting = true;
      const pauseMs = Math.min(LONGEST_PAUSE_MS, firstPauseMs * 2 ** (tries - 1)) * (0.5 + Math.random() / 2);
      const waitMs = Math.max(pauseMs, outcome.afterMs ?? 0);
      await sleep(Math.min(waitMs, patienceMs - silentMs), undefined, { signal });
    }
  }

  async #try({ method, path, body, form, headers }: Call, signal: AbortSignal): Promise<Outcome> {
    const { url, apiKey } = this.#options;
    const timeout = form !== undefined ? signal : AbortSignal.any([signal, AbortSignal.timeout(ANSWER_MS)]);
    let response: Response;
    let text: string;
    try {
      response = await fetch(url + path, {
        method,
        headers: {
          ...headers,
          ...(apiKey === undefined ? {} : { authorization: `Bearer ${apiKey}` }),
          ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        },
        signal: timeout,
        redirect: 'manual', // followed, a POST becomes a GET, and the key stays behind
        body: body === undefined ? ((await form?.()) ?? null) : JSON.stringify(body),
      });
      text = await response.text();
    } catch (cause) {
      signal.throwIfAborted();
      if (cause instanceof AvocadoError) throw cause;
      const refusal = new AvocadoError('engine_unavailable', `Nothing answers at ${url}. ${ADVICE}`, { cause });
      return { refusal, afterMs: undefined };
    }
    if (response.ok) return { text };
    const error = redirectOf(response, url + path) ?? errorOf(text, response.status, url);
    if (!WAITS.includes(response.status)) throw error;
    return { refusal: error, afterMs: retryAfterMs(response.headers.get('retry-after'), Date.now()) };
  }
}

const ADVICE = 'Is it an avocado server, and is its URL right?';

/** The error of an answer that sends its reader elsewhere. */
function redirectOf({ status, headers }: Response, asked: string): AvocadoError | undefined {
  const location = headers.get('location');
  if (status < 300 || status >= 400 || location === null) return undefined;
  const to = URL.canParse(location, asked) ? new URL(location, asked).href : location;
  const text = `${asked} is redirected to ${to}, which is not followed. Give the server's own URL.`;
  return new AvocadoError('engine_unavailable', text);
}

function errorOf(text: string, status: number, url: string): AvocadoError {
  const body = parseJson(text); // undefined: of a proxy, or another program
  const told = isJsonObject(body) && isJsonObject(body['error']) ? body['error'] : {};
  const { code, message } = told;
  if (typeof message === 'string' && isCode(code)) return new AvocadoError(code, message);
  const quoted = text.replaceAll(/\s+/g, ' ').slice(0, QUOTED_CHARACTERS);
  return new AvocadoError('engine_unavailable', `${url} answers with status ${status}: ${quoted}. ${ADVICE}`);
}

export function isCode(code: unknown): code is ErrorCode {
  return typeof code === 'string' && Object.hasOwn(ERRORS, code);
}
