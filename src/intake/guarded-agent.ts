// The one door to undici: an agent that connects to allowed addresses only, whatever a name resolves to and whenever.
import { lookup, type LookupAddress } from 'node:dns';
import { isIP, type LookupFunction } from 'node:net';
import { Agent, buildConnector, request, type Dispatcher } from 'undici';
import { AvocadoError } from '../base/errors.ts';
import type { AddressPolicy } from './address-policy.ts';
import { bareHost } from './url-text.ts';

/** All addresses of a name. */
export type Resolve = (hostname: string) => Promise<readonly LookupAddress[]>;

export interface AgentOptions {
  readonly allowsAddress: AddressPolicy;
  /** default: the machine's own resolver */
  readonly resolve?: Resolve | undefined;
  /** a server that sends nothing for so long is given up */
  readonly idleMs: number;
  /** PEM; default: those Node trusts */
  readonly certificateAuthorities?: string | undefined;
}

export interface GuardedAgent {
  /** One GET: no redirect is followed, nothing is decompressed. @throws AvocadoError `media_forbidden_host`; undici's errors pass */
  get(url: URL, signal: AbortSignal): Promise<Dispatcher.ResponseData>;
  /** ends every connection */
  close(): void;
}

const CONNECT_TIMEOUT_MS = 10_000;
/** Node's own limit for what it serves. */
const MAX_HEADER_BYTES = 16 * 1024;
const HEADERS = { accept: '*/*', 'accept-encoding': 'identity', 'user-agent': 'avocado-captioner' };

function forbidden(): AvocadoError {
  return new AvocadoError(
    'media_forbidden_host',
    'The URL leads to an address this server does not fetch from. Upload the file instead.',
  );
}

const resolveHere: Resolve = (hostname) =>
  new Promise((resolve, reject) => {
    lookup(hostname, { all: true }, (error, addresses) => {
      if (error === null) resolve(addresses);
      else reject(error);
    });
  });

/** A look-up whose answer is what gets connected to: one forbidden address among them spoils them all. */
function guardedLookup({ allowsAddress, resolve = resolveHere }: AgentOptions): LookupFunction {
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

function guardedConnector(options: AgentOptions): buildConnector.connector {
  const { allowsAddress, certificateAuthorities: ca } = options;
  const connect = buildConnector({
    lookup: guardedLookup(options),
    timeout: CONNECT_TIMEOUT_MS,
    ca,
    maxCachedSessions: 0,
  });
  return (target, callback) => {
    const host = bareHost(target.hostname);
    // What is an address already is never looked up.
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

/** For one download; a connection is never used twice. */
export function guardedAgent(options: AgentOptions): GuardedAgent {
  const dispatcher = new Agent({
    connect: guardedConnector(options),
    pipelining: 0,
    maxHeaderSize: MAX_HEADER_BYTES,
    headersTimeout: options.idleMs,
    bodyTimeout: options.idleMs,
  });
  return {
    get: async (url, signal) => {
      const response = await request(url, { dispatcher, signal, headers: HEADERS });
      response.body.on('error', () => undefined); // who reads it is told; of an answer nobody reads, nobody needs to know
      return response;
    },
    close: () => {
      dispatcher.destroy().catch(() => undefined); // of a connection that never came about
    },
  };
}
