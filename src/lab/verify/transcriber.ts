// An OpenAI-compatible transcription server: POST /audio/transcriptions with the sound of a clip.
import { openAsBlob } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseJson } from '../../base/json.ts';
import { retryAfterMs } from '../../base/retry-after.ts';
import { patientPost } from '../../chat/patient-fetch.ts';
import { Unscored } from '../rewards/types.ts';

export interface TranscriberOptions {
  /** such as http://127.0.0.1:8000/v1, without a slash at its end */
  readonly baseUrl: string;
  readonly model: string;
  readonly apiKey: string | undefined;
  /** of one attempt */
  readonly timeoutMs: number;
  /** before the second attempt; doubles with each further one */
  readonly backoffMs?: number | undefined;
}

/** The words of a sound file. @throws Unscored; the signal's reason */
export type Transcribe = (path: string, signal: AbortSignal) => Promise<string>;

const ATTEMPTS = 5;
const QUOTED_CHARACTERS = 300;

export function transcriber({ backoffMs = 500, ...options }: TranscriberOptions): Transcribe {
  return async (path, signal) => {
    for (let attempt = 1; ; attempt += 1) {
      const found = await tryOnce(path, options, signal);
      if (typeof found === 'string') return found;
      if (!found.again || attempt === ATTEMPTS) throw found.failure;
      await sleep(Math.max(backoffMs * 2 ** (attempt - 1), found.afterMs ?? 0), undefined, { signal }).catch(() => {
        signal.throwIfAborted();
      });
    }
  };
}

interface Failed {
  readonly again: boolean;
  readonly afterMs?: number | undefined;
  readonly failure: Unscored;
}

async function tryOnce(
  path: string,
  { baseUrl, model, apiKey, timeoutMs }: Omit<TranscriberOptions, 'backoffMs'>,
  signal: AbortSignal,
): Promise<string | Failed> {
  const form = new FormData();
  form.set('file', await openAsBlob(path, { type: 'audio/wav' }), 'sound.wav');
  form.set('model', model);
  form.set('temperature', '0');
  const url = `${baseUrl}/audio/transcriptions`;
  const timeout = AbortSignal.timeout(timeoutMs);
  try {
    const response = await patientPost(url, {
      headers: apiKey === undefined ? {} : { authorization: `Bearer ${apiKey}` },
      body: form,
      signal: AbortSignal.any([signal, timeout]),
    });
    return readAnswer(response.status, response.headers.get('retry-after'), await response.text());
  } catch (cause) {
    signal.throwIfAborted();
    const sentence = timeout.aborted
      ? `The transcriber did not answer within ${timeoutMs / 1000} s: allow more time with --transcriber-timeout.`
      : `Nothing answers at ${url}: start the transcriber, or correct --transcriber.`;
    return {
      again: true,
      failure: new Unscored(timeout.aborted ? 'judge_timeout' : 'judge_unreachable', sentence, cause),
    };
  }
}

function readAnswer(status: number, retryAfter: string | null, text: string): string | Failed {
  if (status >= 200 && status < 300) {
    const words = textOf(text);
    if (words !== undefined) return words;
    const sentence = 'The server at the transcriber’s URL answers without a text: check --transcriber.';
    return { again: false, failure: new Unscored('judge_refused', sentence) };
  }
  const again = status === 408 || status === 429 || status >= 500;
  const sentence = `The transcriber answers ${status}: ${text.slice(0, QUOTED_CHARACTERS)}`;
  return {
    again,
    afterMs: retryAfterMs(retryAfter, Date.now()),
    failure: new Unscored(again ? 'judge_unreachable' : 'judge_refused', sentence),
  };
}

function textOf(answer: string): string | undefined {
  const told = parseJson(answer) as { readonly text?: unknown } | null | undefined;
  return typeof told?.text === 'string' ? told.text : undefined;
}
