import type { Dispatcher } from 'undici';
import { abortError } from '../base/abort.ts';
import { AvocadoError } from '../base/errors.ts';
import { explainFetchError } from './explain-fetch-error.ts';
import { guardedAgent, type AgentOptions, type GuardedAgent } from './guarded-agent.ts';
import { saveStream, type SavedFile, type TemporarySpace } from '../storage/save-stream.ts';
import type { OpenSourceOptions } from './types.ts';
import type { UrlPolicy } from './url-policy.ts';
import { shownUrl } from './url-text.ts';

export interface DownloadRules extends AgentOptions {
  readonly urls: UrlPolicy;
  readonly maxBytes: number;
  /** from the first look-up to the last byte, all redirects together */
  readonly timeoutMs: number;
}

const REDIRECTS = [301, 302, 303, 307, 308];
const MAX_REDIRECTS = 5;

/**
 * Fetches a URL that has passed the policy to a file; every redirect has to pass it too. On any failure nothing is left.
 * @throws AvocadoError `media_forbidden_host`, `media_unreachable`, `media_too_large`, `storage_full`, `aborted`
 */
export async function download(
  url: URL,
  param: string,
  space: TemporarySpace,
  rules: DownloadRules,
  { signal, onProgress }: OpenSourceOptions,
): Promise<SavedFile> {
  const late = new AbortController();
  const timer = setTimeout(() => {
    late.abort();
  }, rules.timeoutMs);
  const either = AbortSignal.any([signal, late.signal]);
  const agent = guardedAgent(rules);
  try {
    const { headers, body } = await followRedirects(url, agent, rules.urls, either);
    const total = checkedLength(headers, rules.maxBytes);
    return await saveStream(space, body, {
      name: url.pathname,
      maxBytes: rules.maxBytes,
      tooLarge: () => tooLarge(rules.maxBytes),
      signal: either,
      onBytes: (done) => onProgress?.(done, total),
    });
  } catch (thrown) {
    if (signal.aborted) throw abortError(signal);
    const reason = late.signal.aborted ? `took longer than ${rules.timeoutMs / 1000} s` : explainFetchError(thrown);
    throw named(reason, thrown, url, param);
  } finally {
    clearTimeout(timer);
    agent.close();
  }
}

/** Our own errors keep their words and learn the field; all others get words that tell nothing about what lies behind the name. */
function named(reason: string, thrown: unknown, url: URL, param: string): AvocadoError {
  if (thrown instanceof AvocadoError) return new AvocadoError(thrown.code, thrown.message, { param, cause: thrown });
  return new AvocadoError(
    'media_unreachable',
    `${shownUrl(url)} ${reason}. Check the URL, or upload the file instead.`,
    { param, cause: thrown },
  );
}

function unreachable(text: string): AvocadoError {
  return new AvocadoError('media_unreachable', text);
}

function tooLarge(maxBytes: number): AvocadoError {
  return new AvocadoError(
    'media_too_large',
    `The file behind the URL is larger than the ${maxBytes} bytes this server takes (--max-upload-bytes).`,
  );
}

async function followRedirects(
  start: URL,
  agent: GuardedAgent,
  urls: UrlPolicy,
  signal: AbortSignal,
): Promise<Dispatcher.ResponseData> {
  let url = start;
  for (let redirects = 0; redirects <= MAX_REDIRECTS; redirects += 1) {
    const response = await agent.get(url, signal);
    if (response.statusCode === 200) return response;
    response.body.destroy(); // what a server says beside its file interests nobody
    if (!REDIRECTS.includes(response.statusCode)) {
      throw unreachable(
        `The URL was answered with status ${response.statusCode} instead of 200 and the file. Check that it can be fetched without signing in.`,
      );
    }
    url = urls.follow(url, only(response.headers['location']));
  }
  throw unreachable(`The URL is redirected more than ${MAX_REDIRECTS} times. Give the URL of the file itself.`);
}

/** A header that is there once; twice, it has two meanings. */
function only(value: string | string[] | undefined): string | undefined {
  return typeof value === 'string' ? value : undefined;
}

/** @returns bytes to come, where the server says so */
function checkedLength(headers: Dispatcher.ResponseData['headers'], maxBytes: number): number | undefined {
  const encoding = headers['content-encoding'] ?? 'identity';
  // Compressed bytes unpack to any number of them.
  if (encoding !== '' && encoding !== 'identity')
    throw unreachable(
      'The URL is answered with a compressed file although none was asked for. Give the URL of a plain file.',
    );
  const length = only(headers['content-length']);
  if (length === undefined) return undefined;
  if (Number(length) > maxBytes) throw tooLarge(maxBytes);
  return Number(length);
}
