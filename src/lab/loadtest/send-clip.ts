import { AvocadoError } from '../../base/errors.ts';
import { serverEvents } from './server-events.ts';
import type { Answer, CaptionAnswer, Clip, Send, Target } from './types.ts';

interface Ending {
  readonly usage: { readonly completion_tokens: number };
  readonly media: { readonly duration_seconds: number };
}

/** What arrives of a caption, and when. */
class Arrivals {
  readonly #startedMs = performance.now();
  readonly #gaps: number[] = [];
  #firstMs: number | undefined;
  #lastMs = 0;

  words(tokens: number): void {
    const nowMs = performance.now();
    this.#firstMs ??= nowMs;
    if (this.#lastMs > 0) this.#gaps.push((nowMs - this.#lastMs) / 1000 / Math.max(1, tokens));
    this.#lastMs = nowMs;
  }

  end({ usage, media }: Ending): CaptionAnswer {
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

function formOf({ name, bytes }: Clip, fields: Target['fields']): FormData {
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

async function refusal(response: Response): Promise<Answer> {
  const body: unknown = await response.json().catch(() => null);
  if (response.status === 401)
    throw new AvocadoError('unauthorized', 'The server wants an API key: give it with --api-key.', {
      param: 'api-key',
    });
  if (response.status !== 429 && response.status !== 503) return { kind: 'failed', code: codeOf(body) };
  return { kind: 'refused', retryAfterSeconds: Number(response.headers.get('retry-after') ?? 1) };
}

async function captionOf(body: AsyncIterable<Uint8Array>, arrivals: Arrivals): Promise<Answer> {
  for await (const { event, data } of serverEvents(body)) {
    if (event === 'text-delta')
      arrivals.words((JSON.parse(data) as { readonly token_ids: readonly number[] }).token_ids.length);
    else if (event === 'caption-end') return arrivals.end(JSON.parse(data) as Ending);
    else if (event === 'caption-error') {
      const code = codeOf(JSON.parse(data));
      return code === 'queue_full' ? { kind: 'refused', retryAfterSeconds: 1 } : { kind: 'failed', code };
    } else if (event === 'caption-aborted') return { kind: 'failed', code: 'aborted' };
  }
  return { kind: 'failed', code: 'broken_stream' };
}

/** A client of POST /v1/captions with `stream`. @throws AvocadoError `unauthorized`, which no further request would cure */
export function clipSender(target: Target): Send {
  return async (clip, leaveAfterMs, signal) => {
    const leaving = leaveAfterMs === undefined ? undefined : AbortSignal.timeout(leaveAfterMs);
    const arrivals = new Arrivals();
    try {
      const response = await fetch(`${target.url}/v1/captions`, {
        method: 'POST',
        body: formOf(clip, target.fields),
        headers: target.apiKey === undefined ? {} : { authorization: `Bearer ${target.apiKey}` },
        signal: leaving === undefined ? signal : AbortSignal.any([signal, leaving]),
      });
      if (!response.ok || response.body === null) return await refusal(response);
      return await captionOf(response.body, arrivals);
    } catch (thrown) {
      if (thrown instanceof AvocadoError) throw thrown;
      return leaving?.aborted === true ? { kind: 'left' } : { kind: 'failed', code: 'connection' };
    }
  };
}
