// A client of POST /v1/captions with `stream`: sends one clip and measures how its caption arrives.
import { AvocadoError } from '../../base/errors.ts';
import { retryAfterMs } from '../../base/retry-after.ts';
import type { CaptionResult, ClipFile, RequestResult, SendClip } from './load-test.ts';

interface CaptionTarget {
  /** without a slash at its end */
  readonly url: string;
  readonly apiKey: string | undefined;
  /** fields of the form beside the file, such as max_tokens */
  readonly fields: Readonly<Record<string, string>>;
}

/**
 * The returned function never throws for a single failed request.
 * @throws AvocadoError `unauthorized`, since every further request would fail too
 */
export function clipSender(target: CaptionTarget): SendClip {
  return async (clip, disconnectAfterMs, signal) => {
    const disconnect = disconnectAfterMs === undefined ? undefined : AbortSignal.timeout(disconnectAfterMs);
    const arrivals = new Arrivals();
    try {
      const response = await fetch(`${target.url}/v1/captions`, {
        method: 'POST',
        body: formOf(clip, target.fields),
        headers: target.apiKey === undefined ? {} : { authorization: `Bearer ${target.apiKey}` },
        signal: disconnect === undefined ? signal : AbortSignal.any([signal, disconnect]),
      });
      if (!response.ok || response.body === null) return await resultOfError(response);
      return await resultOfStream(response.body, arrivals);
    } catch (thrown) {
      if (thrown instanceof AvocadoError) throw thrown;
      const isLeft = disconnect?.aborted === true || signal.aborted;
      return isLeft ? { kind: 'disconnected' } : { kind: 'failed', code: 'connection' };
    }
  };
}

interface CaptionEnd {
  readonly usage: { readonly completion_tokens: number };
  readonly media: { readonly duration_seconds: number };
}

/** Times at which the tokens of one caption arrive. */
class Arrivals {
  readonly #startedMs = performance.now();
  readonly #gaps: number[] = [];
  #firstMs: number | undefined;
  #lastMs = 0;

  tokensArrived(tokens: number): void {
    const nowMs = performance.now();
    this.#firstMs ??= nowMs;
    if (this.#lastMs > 0) this.#gaps.push((nowMs - this.#lastMs) / 1000 / Math.max(1, tokens));
    this.#lastMs = nowMs;
  }

  end({ usage, media }: CaptionEnd): CaptionResult {
    const endMs = performance.now();
    return {
      kind: 'caption',
      firstTokenSeconds: ((this.#firstMs ?? endMs) - this.#startedMs) / 1000,
      totalSeconds: (endMs - this.#startedMs) / 1000,
      tokenGapsSeconds: this.#gaps,
      tokens: usage.completion_tokens,
      mediaSeconds: media.duration_seconds,
    };
  }
}

function formOf({ name, bytes }: ClipFile, fields: CaptionTarget['fields']): FormData {
  const form = new FormData();
  for (const [field, text] of Object.entries({ ...fields, stream: 'true', token_ids: 'true' }))
    form.append(field, text);
  form.append('file', new Blob([bytes]), name);
  return form;
}

function codeOf(body: unknown): string {
  const error = (body as { readonly error?: { readonly code?: unknown } } | null)?.error;
  return typeof error?.code === 'string' ? error.code : 'no_code';
}

async function resultOfError(response: Response): Promise<RequestResult> {
  const body: unknown = await response.json().catch(() => null);
  if (response.status === 401)
    throw new AvocadoError('unauthorized', 'The server requires an API key: give it with --api-key.', {
      param: 'api-key',
    });
  if (response.status !== 429 && response.status !== 503) return { kind: 'failed', code: codeOf(body) };
  const afterMs = retryAfterMs(response.headers.get('retry-after'), Date.now()) ?? 1000;
  return { kind: 'refused', retryAfterSeconds: afterMs / 1000 };
}

async function resultOfStream(body: AsyncIterable<Uint8Array>, arrivals: Arrivals): Promise<RequestResult> {
  for await (const { event, data } of serverEvents(body)) {
    if (event === 'text-delta')
      arrivals.tokensArrived((JSON.parse(data) as { readonly token_ids: readonly number[] }).token_ids.length);
    else if (event === 'caption-end') return arrivals.end(JSON.parse(data) as CaptionEnd);
    else if (event === 'caption-error') {
      const code = codeOf(JSON.parse(data));
      return code === 'queue_full' ? { kind: 'refused', retryAfterSeconds: 1 } : { kind: 'failed', code };
    } else if (event === 'caption-aborted') return { kind: 'failed', code: 'aborted' };
  }
  return { kind: 'failed', code: 'broken_stream' };
}

interface ServerEvent {
  readonly event: string;
  readonly data: string;
}

function parseEvent(block: string): ServerEvent | undefined {
  let event = 'message';
  const data: string[] = [];
  for (const line of block.split('\n')) {
    if (line.startsWith('event: ')) event = line.slice('event: '.length);
    else if (line.startsWith('data: ')) data.push(line.slice('data: '.length));
  }
  return data.length === 0 ? undefined : { event, data: data.join('\n') };
}

/** Server-sent events as our server writes them: `\n` line ends, a space after each colon; comments are skipped. */
export async function* serverEvents(body: AsyncIterable<Uint8Array>): AsyncGenerator<ServerEvent> {
  const utf8 = new TextDecoder();
  let buffer = '';
  for await (const bytes of body) {
    buffer += utf8.decode(bytes, { stream: true });
    for (let end = buffer.indexOf('\n\n'); end >= 0; end = buffer.indexOf('\n\n')) {
      const event = parseEvent(buffer.slice(0, end));
      buffer = buffer.slice(end + 2);
      if (event !== undefined) yield event;
    }
  }
}
