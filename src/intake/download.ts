// A URL to a file: redirects, limits, errors, and an HTTP agent that connects to allowed addresses only.
import { lookup, type LookupAddress } from 'node:dns';
import { isIP, type LookupFunction } from 'node:net';
import { Agent, buildConnector, request, type Dispatcher } from 'undici';
import { abortError } from '../base/abort.ts';
import { AvocadoError } from '../base/errors.ts';
import type { StoredFile, TemporaryStorage } from '../storage/temporary-storage.ts';
import { mediaTooLarge, type OpenSourceOptions } from './media-source.ts';
import { bareHost, redactedUrl, type AddressPolicy, type UrlPolicy } from './url-policy.ts';

/** Resolves a name to all of its addresses. */
export type Resolve = (hostname: string) => Promise<readonly LookupAddress[]>;

export interface DownloadRules {
  readonly urls: UrlPolicy;
  readonly allowsAddress: AddressPolicy;
  readonly maxBytes: number;
  /** from the first DNS lookup to the last byte, redirects included */
  readonly timeoutMs: number;
  /** a server that sends nothing for this long has failed */
  readonly idleMs: number;
  /** default: the resolver of the operating system */
  readonly resolve?: Resolve | undefined;
  /** PEM; default: those that Node trusts */
  readonly certificateAuthorities?: string | undefined;
}

const REDIRECTS = [301, 302, 303, 307, 308];
const MAX_REDIRECTS = 5;

/**
 * Downloads a URL that has passed the policy; every redirect must pass it too. After an error nothing is left on disk.
 * @throws AvocadoError `media_forbidden_host`, `media_unreachable`, `media_too_large`, `storage_full`, `aborted`
 */
export async function download(
  url: URL,
  param: string,
  storage: TemporaryStorage,
  rules: DownloadRules,
  { signal, onProgress, traceparent }: OpenSourceOptions,
): Promise<StoredFile> {
  const deadline = new AbortController();
  const timer = setTimeout(() => {
    deadline.abort();
  }, rules.timeoutMs);
  const either = AbortSignal.any([signal, deadline.signal]);
  const agent = guardedAgent(rules, traceparent);
  try {
    const { headers, body } = await followRedirects(url, agent, rules.urls, either);
    const total = announcedLength(headers, rules.maxBytes);
    return await storage.save(body, {
      name: url.pathname,
      maxBytes: rules.maxBytes,
      tooLarge: () => tooLarge(rules.maxBytes),
      signal: either,
      onBytes: (done) => onProgress?.(done, total),
    });
  } catch (thrown) {
    if (signal.aborted) throw abortError(signal);
    const reason = deadline.signal.aborted ? `took longer than ${rules.timeoutMs / 1000} s` : explainFetchError(thrown);
    throw downloadError(reason, thrown, url, param);
  } finally {
    clearTimeout(timer);
    agent.close();
  }
}

/**
 * Our own errors get the field; others are replaced, since their messages may hold addresses of an internal network.
 */
function downloadError(reason: string, thrown: unknown, url: URL, param: string): AvocadoError {
  if (thrown instanceof AvocadoError) return new AvocadoError(thrown.code, thrown.message, { param, cause: thrown });
  return new AvocadoError(
    'media_unreachable',
    `${redactedUrl(url)} ${reason}. Check the URL, or upload the file instead.`,
    { param, cause: thrown },
  );
}

function unreachable(text: string): AvocadoError {
  return new AvocadoError('media_unreachable', text);
}

function tooLarge(maxBytes: number): AvocadoError {
  return mediaTooLarge('The file behind the URL', maxBytes);
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
    response.body.destroy(); // the body of a redirect or an error is not read
    if (!REDIRECTS.includes(response.statusCode)) {
      throw unreachable(
        `The URL was answered with status ${response.statusCode} instead of 200 and the file. ` +
          'Check that it can be fetched without signing in.',
      );
    }
    url = urls.follow(url, singleValue(response.headers['location']));
  }
  throw unreachable(`The URL is redirected more than ${MAX_REDIRECTS} times. Give the URL of the file itself.`);
}

/** A header that was sent once; a repeated one is ambiguous and counts as missing. */
function singleValue(value: string | string[] | undefined): string | undefined {
  return typeof value === 'string' ? value : undefined;
}

/** @returns the length of the body, if the server announced it */
function announcedLength(headers: Dispatcher.ResponseData['headers'], maxBytes: number): number | undefined {
  const encoding = headers['content-encoding'] ?? 'identity';
  // A compressed body could unpack to any size (a decompression bomb).
  if (encoding !== '' && encoding !== 'identity')
    throw unreachable(
      'The URL is answered with a compressed file although none was asked for. Give the URL of a plain file.',
    );
  const length = singleValue(headers['content-length']);
  if (length === undefined) return undefined;
  if (Number(length) > maxBytes) throw tooLarge(maxBytes);
  return Number(length);
}

/** By the codes and names of undici's and Node's errors, since their messages may hold addresses. */
const FETCH_ERRORS: readonly (readonly [code: RegExp, reason: string])[] = [
  [/^(ENOTFOUND|EAI_)/, 'names a host that cannot be found'],
  [/^(ECONNREFUSED|EHOSTUNREACH|ENETUNREACH|EADDRNOTAVAIL)$/, 'takes no connections'],
  [/^(UND_ERR_CONNECT_TIMEOUT|ETIMEDOUT)$/, 'does not answer'],
  [/^UND_ERR_(HEADERS|BODY)_TIMEOUT$/, 'stopped sending'],
  [/^UND_ERR_HEADERS_OVERFLOW$/, 'sends too many headers'],
  [/^UND_ERR_RES_CONTENT_LENGTH_MISMATCH$/, 'sent another number of bytes than it said'],
  [/^(UND_ERR_SOCKET|ECONNRESET|EPIPE)$/, 'broke off'],
  [/^HTTPParserError$/, 'does not answer as an HTTP server'],
  [/CERT|TLS|SSL|SIGNATURE/, 'has no certificate this server trusts'],
];

/** Why a download failed, as the end of a sentence that begins with the URL. */
function explainFetchError(thrown: unknown): string {
  // If several addresses were tried, each has its own error.
  const errors: unknown[] = thrown instanceof AggregateError ? thrown.errors : [thrown];
  const codes = errors.flatMap((error) =>
    error instanceof Error ? [String((error as NodeJS.ErrnoException).code), error.name] : [],
  );
  const found = FETCH_ERRORS.find(([pattern]) => codes.some((code) => pattern.test(code)));
  return found?.[1] ?? 'could not be fetched';
}

/** A receiver that has not answered by then has failed. */
const POST_MS = 15_000;

/**
 * Posts a body to a URL that has passed the policy. No redirect is followed, and the answer is not read.
 * @returns its status
 * @throws AvocadoError `media_forbidden_host`, `media_unreachable`
 */
export async function post(
  url: URL,
  headers: Readonly<Record<string, string>>,
  body: string,
  rules: DownloadRules,
  signal: AbortSignal,
): Promise<number> {
  const agent = guardedAgent(rules, undefined);
  try {
    return await agent.post(url, headers, body, AbortSignal.any([signal, AbortSignal.timeout(POST_MS)]));
  } catch (thrown) {
    const reason = (thrown as Error).name === 'TimeoutError' ? 'does not answer' : explainFetchError(thrown);
    throw downloadError(reason, thrown, url, 'webhook');
  } finally {
    agent.close();
  }
}

interface GuardedAgent {
  /** One GET without redirects and decompression. @throws AvocadoError `media_forbidden_host`; undici's errors pass */
  get(url: URL, signal: AbortSignal): Promise<Dispatcher.ResponseData>;
  /** One POST. @returns its status @throws as `get` */
  post(url: URL, headers: Readonly<Record<string, string>>, body: string, signal: AbortSignal): Promise<number>;
  /** Closes all connections. */
  close(): void;
}

const CONNECT_TIMEOUT_MS = 10_000;
/** The limit that Node's own HTTP server has. */
const MAX_HEADER_BYTES = 16 * 1024;
const HEADERS = { accept: '*/*', 'accept-encoding': 'identity', 'user-agent': 'avocado-captioner' };

/** An HTTP client for one download that connects to allowed addresses only; no connection is reused. */
function guardedAgent(rules: DownloadRules, traceparent: string | undefined): GuardedAgent {
  const headers = { ...HEADERS, ...(traceparent === undefined ? {} : { traceparent }) };
  const dispatcher = new Agent({
    connect: guardedConnector(rules),
    pipelining: 0,
    maxHeaderSize: MAX_HEADER_BYTES,
    headersTimeout: rules.idleMs,
    bodyTimeout: rules.idleMs,
  });
  return {
    get: async (url, signal) => {
      const response = await request(url, { dispatcher, signal, headers });
      // Reading the body reports its errors. Without a listener, an error of an unread body would crash the process.
      response.body.on('error', () => undefined);
      return response;
    },
    post: async (url, headers, body, signal) => {
      const all = { ...HEADERS, ...headers };
      const response = await request(url, { dispatcher, signal, method: 'POST', headers: all, body });
      response.body.on('error', () => undefined);
      response.body.destroy();
      return response.statusCode;
    },
    close: () => {
      dispatcher.destroy().catch(() => undefined); // rejects if no connection was ever made
    },
  };
}

/** Checks the address before connecting, if the host is one, and the address of the connected socket. */
function guardedConnector(rules: DownloadRules): buildConnector.connector {
  const { allowsAddress, certificateAuthorities: ca } = rules;
  const connect = buildConnector({
    lookup: guardedLookup(rules),
    timeout: CONNECT_TIMEOUT_MS,
    ca,
    maxCachedSessions: 0,
  });
  return (target, callback) => {
    const host = bareHost(target.hostname);
    // A host that is an address is not looked up, so guardedLookup never sees it.
    if (isIP(host) !== 0 && !allowsAddress(host)) {
      callback(forbidden(), null);
      return;
    }
    connect(target, (...[error, socket]) => {
      if (error !== null) {
        callback(error, null);
      } else if (allowsAddress(socket.remoteAddress ?? '')) {
        callback(null, socket);
      } else {
        socket.destroy();
        callback(forbidden(), null);
      }
    });
  };
}

/**
 * A lookup that returns allowed addresses only: the connection uses exactly what was checked, so a name that changes
 * its address (DNS rebinding) gains nothing. One forbidden address refuses the whole name.
 */
function guardedLookup({ allowsAddress, resolve = systemResolve }: DownloadRules): LookupFunction {
  const checked = async (hostname: string): Promise<[LookupAddress, ...LookupAddress[]]> => {
    const [first, ...others] = await resolve(hostname);
    if (first === undefined) throw Object.assign(new Error('The name has no address.'), { code: 'ENOTFOUND' });
    if (![first, ...others].every(({ address }) => allowsAddress(address))) throw forbidden();
    return [first, ...others];
  };
  return (hostname, { all }, callback) => {
    checked(hostname).then(
      (addresses) => {
        if (all === true) callback(null, addresses);
        else callback(null, addresses[0].address, addresses[0].family);
      },
      (error: unknown) => {
        callback(error as NodeJS.ErrnoException, '');
      },
    );
  };
}

const systemResolve: Resolve = (hostname) =>
  new Promise((resolve, reject) => {
    lookup(hostname, { all: true }, (error, addresses) => {
      if (error === null) resolve(addresses);
      else reject(error);
    });
  });

function forbidden(): AvocadoError {
  return new AvocadoError(
    'media_forbidden_host',
    'The URL leads to an address this server does not fetch from. Upload the file instead.',
  );
}
