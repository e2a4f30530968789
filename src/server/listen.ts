import closeWithGrace from 'close-with-grace';
import type { FastifyInstance } from 'fastify';
import { AvocadoError } from '../base/errors.ts';
import type { ServerConfig } from '../settings/server-settings.ts';

type ListenConfig = Pick<ServerConfig, 'host' | 'port' | 'drainMs'>;

/** What is left of a stop after the requests have drained: sockets, model, directory. */
const CLOSE_MARGIN_MS = 10_000;

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

/** The address as a browser on this machine writes it. */
function urlOf({ host }: ListenConfig, port: number): string {
  const anywhere = host === '0.0.0.0' || host === '::';
  const name = anywhere ? '127.0.0.1' : host.includes(':') ? `[${host}]` : host;
  return `http://${name}:${port}`;
}

export interface Listening {
  /** without a slash at its end */
  readonly url: string;
  /** aborts when a stop is asked for */
  readonly stopping: AbortSignal;
  /** Closes all of it without ending the process. */
  close(): Promise<void>;
}

/**
 * Opens the port, and closes everything in reverse order on SIGTERM, Ctrl-C or a crash: nothing new is let in from then on, what
 * runs may end for `config.drainMs`. The process then exits, with 0 unless it crashed; a second signal does not wait.
 * @param behind closed after the app: what it was answering with
 * @throws AvocadoError `bad_request` when the port or host cannot be had
 */
export async function listen(
  app: FastifyInstance,
  behind: { close(): Promise<void> },
  config: ListenConfig,
): Promise<Listening> {
  try {
    await app.listen({ host: config.host, port: config.port });
  } catch (error) {
    await app.close();
    throw addressError(error, config);
  }
  const stopping = new AbortController();
  const close = async (): Promise<void> => {
    stopping.abort();
    await app.close();
    await behind.close();
  };
  const grace = closeWithGrace({ delay: config.drainMs + CLOSE_MARGIN_MS, logger: console }, async ({ err }) => {
    if (err !== undefined) process.stderr.write(`The server fails and stops: ${err.stack ?? err.message}\n`);
    await close();
  });
  const address = app.server.address();
  const port = typeof address === 'object' && address !== null ? address.port : config.port;
  return {
    url: urlOf(config, port),
    stopping: stopping.signal,
    close: async () => {
      grace.uninstall();
      await close();
    },
  };
}
