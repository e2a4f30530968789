import { lookup } from 'node:dns/promises';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { constants } from 'node:os';
import closeWithGrace from 'close-with-grace';
import type { FastifyInstance } from 'fastify';
import { nonEmptyVariable } from '../base/env.ts';
import { AvocadoError } from '../base/errors.ts';
import type { ServerConfig } from '../settings/server-settings.ts';

type ListenConfig = Pick<ServerConfig, 'host' | 'port' | 'drainMs'> & Partial<Pick<ServerConfig, 'tls'>>;

/**
 * After the drain time: last events 5 s, last bytes 3 s, the database of jobs 5 s, the engine 5 s, and what a busy
 * machine adds. Usually all of it takes less than one.
 */
const CLOSE_MARGIN_MS = 20_000;

function addressError(error: unknown, { host, port }: ListenConfig): unknown {
  const { code } = error as NodeJS.ErrnoException;
  if (code === 'EADDRINUSE')
    return new AvocadoError('bad_request', `Port ${port} of ${host} is in use. Choose another with --port.`, {
      param: 'port',
      cause: error,
    });
  if (code === 'EACCES')
    return new AvocadoError(
      'bad_request',
      `Port ${port} may not be used by this user. Choose one above 1023 with --port.`,
      { param: 'port', cause: error },
    );
  if (code === 'EADDRNOTAVAIL' || code === 'ENOTFOUND')
    return new AvocadoError('bad_request', `This machine has no address ${host}. Choose another with --host.`, {
      param: 'host',
      cause: error,
    });
  return error;
}

/** A URL that works in a browser on this machine. */
function urlOf({ host, tls }: ListenConfig, port: number): string {
  const isWildcard = host === '0.0.0.0' || host === '::';
  const name = isWildcard ? '127.0.0.1' : host.includes(':') ? `[${host}]` : host;
  return `${tls === undefined ? 'http' : 'https'}://${name}:${port}`;
}

/** For a health check beside this process, which knows neither flags nor the config file. */
function tellAddress(url: string): void {
  const file = nonEmptyVariable('AVOCADO_ADDRESS_FILE');
  if (file === undefined) return;
  try {
    writeFileSync(file, url);
  } catch (error) {
    process.stderr.write(`warning: AVOCADO_ADDRESS_FILE cannot be written: ${(error as Error).message}\n`);
  }
}

type AddressesOf = (name: string) => Promise<readonly string[]>;

/**
 * Listens at every address of the name localhost. Fastify would make a server of its own for the second one, which
 * knows nothing of our limits; here its connections are the first one's.
 */
async function listenEverywhere(
  app: FastifyInstance,
  { host, port }: ListenConfig,
  addressesOf: AddressesOf,
): Promise<void> {
  const [first = host, ...others] = host === 'localhost' ? await addressesOf(host) : [];
  await app.listen({ host: first, port });
  const { port: bound } = app.server.address() as AddressInfo;
  for (const address of new Set(others.filter((other) => other !== first))) {
    const door = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
      app.server.emit('connection', socket);
    });
    app.server.once('close', () => door.close());
    door.listen({ host: address, port: bound });
    await once(door, 'listening').catch(() => undefined); // an address that this machine does not have
  }
}

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/**
 * Before the port is open a signal ends the process at once, but not so that its temporary files stay.
 * @returns what ends that
 */
export function exitOnSignals(): () => void {
  const exit = (signal: NodeJS.Signals): void => process.exit(128 + constants.signals[signal]);
  for (const signal of SIGNALS) process.on(signal, exit);
  return () => {
    for (const signal of SIGNALS) process.removeListener(signal, exit);
  };
}

export interface Listening {
  /** without a trailing slash */
  readonly url: string;
  /** aborts when the server starts to stop */
  readonly stopping: AbortSignal;
  /** Stops the server without ending the process. */
  close(): Promise<void>;
}

/**
 * Opens the port. On SIGTERM, Ctrl-C or a crash the server refuses new requests, waits for running ones at most
 * `config.drainMs`, closes everything in reverse order and exits, with 0 unless it crashed. A second signal exits at
 * once.
 * @param resource closed after the app, such as the engine
 * @param addressesOf of localhost, which usually are two
 * @throws AvocadoError `bad_request` when the port is in use or the host is not an address of this machine
 */
export async function listen(
  app: FastifyInstance,
  resource: { close(): Promise<void> },
  config: ListenConfig,
  addressesOf: AddressesOf = async (name) => (await lookup(name, { all: true })).map(({ address }) => address),
): Promise<Listening> {
  try {
    await listenEverywhere(app, config, addressesOf);
  } catch (error) {
    await app.close();
    throw addressError(error, config);
  }
  const stopping = new AbortController();
  const close = async (): Promise<void> => {
    stopping.abort();
    await app.close();
    await resource.close();
  };
  const grace = closeWithGrace({ delay: config.drainMs + CLOSE_MARGIN_MS, logger: console }, async ({ err }) => {
    if (err !== undefined) process.stderr.write(`The server fails and stops: ${err.stack ?? err.message}\n`);
    await close();
  });
  const url = urlOf(config, (app.server.address() as AddressInfo).port);
  tellAddress(url);
  return {
    url,
    stopping: stopping.signal,
    close: async () => {
      grace.uninstall();
      await close();
    },
  };
}
