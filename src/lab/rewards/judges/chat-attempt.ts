// One POST to /chat/completions, and what its answer means for the next one.
import { Unscored } from '../unscored.ts';

export type Attempt =
  | { readonly kind: 'reply'; readonly text: string; readonly model: string | undefined; readonly raw: string }
  | { readonly kind: 'again'; readonly afterMs: number | undefined; readonly failure: Unscored }
  /** the server does not know this field: ask without it */
  | { readonly kind: 'without'; readonly field: string }
  | { readonly kind: 'refused'; readonly failure: Unscored };

export interface ChatCall {
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Readonly<Record<string, unknown>>;
  /** fields of the body that may be left out */
  readonly optional: readonly string[];
  readonly timeoutMs: number;
}

const TOLD_CHARACTERS = 300;

/** Seconds or a date → milliseconds from now. */
export function retryAfterMs(header: string | null, now: number): number | undefined {
  if (header === null || header.trim() === '') return undefined;
  const seconds = Number(header);
  const wait = Number.isFinite(seconds) ? seconds * 1000 : Date.parse(header) - now;
  return Number.isFinite(wait) ? Math.max(0, wait) : undefined;
}

/** A reasoning judge's answer is what comes after its thoughts; thoughts that were cut off leave none. */
export function withoutThoughts(text: string): string {
  const end = text.lastIndexOf('</think>');
  if (end !== -1) return text.slice(end + '</think>'.length).trim();
  return text.trimStart().startsWith('<think>') ? '' : text.trim();
}

interface Completion {
  readonly model?: unknown;
  readonly choices?: readonly { readonly message?: { readonly content?: unknown } | null }[];
}

function readReply(text: string): Attempt {
  let completion: Completion;
  try {
    completion = JSON.parse(text) as Completion;
  } catch (cause) {
    return {
      kind: 'again',
      afterMs: undefined,
      failure: new Unscored(
        'judge_unreachable',
        'What answers at the judge’s URL is no OpenAI-compatible server: check --judge.',
        cause,
      ),
    };
  }
  const content = completion.choices?.[0]?.message?.content;
  const model = typeof completion.model === 'string' ? completion.model : undefined;
  return { kind: 'reply', text: typeof content === 'string' ? withoutThoughts(content) : '', model, raw: text };
}

async function readAnswer(response: Response, { optional, body }: ChatCall): Promise<Attempt> {
  const text = await response.text();
  const { status } = response;
  if (response.ok) return readReply(text);
  const told = `The judge answers ${status}: ${text.slice(0, TOLD_CHARACTERS)}`;
  if (status === 408 || status === 429 || status >= 500) {
    return {
      kind: 'again',
      afterMs: retryAfterMs(response.headers.get('retry-after'), Date.now()),
      failure: new Unscored('judge_unreachable', told),
    };
  }
  const field =
    status === 400 || status === 422
      ? optional.find((name) => name in body && new RegExp(`\\b${name}\\b`).test(text))
      : undefined;
  return field === undefined
    ? { kind: 'refused', failure: new Unscored('judge_refused', told) }
    : { kind: 'without', field };
}

/** Never throws but for `signal`, with its reason. */
export async function attemptChat(call: ChatCall, signal: AbortSignal): Promise<Attempt> {
  const timeout = AbortSignal.timeout(call.timeoutMs);
  try {
    const response = await fetch(call.url, {
      method: 'POST',
      headers: { ...call.headers, 'content-type': 'application/json' },
      body: JSON.stringify(call.body),
      signal: AbortSignal.any([signal, timeout]),
    });
    return await readAnswer(response, call);
  } catch (cause) {
    signal.throwIfAborted();
    const failure = timeout.aborted
      ? new Unscored(
          'judge_timeout',
          `The judge did not answer within ${call.timeoutMs / 1000} s: see how loaded it is, or give it longer with --judge-timeout.`,
          cause,
        )
      : new Unscored(
          'judge_unreachable',
          `Nothing answers at ${call.url}: start the judge, or correct --judge.`,
          cause,
        );
    return { kind: 'again', afterMs: undefined, failure };
  }
}
