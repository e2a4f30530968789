// `avocado batch --server URL`: the captions are made by a running server.
import { resolve } from 'node:path';
import { InvalidArgumentError, type Command } from 'commander';
import { nonEmptyVariable } from '../base/env.ts';
import { AvocadoError } from '../base/errors.ts';
import type { BatchOptions } from '../batch/run-batch.ts';
import type { SharedRoot } from '../remote/remote-captioner.ts';
import { settingOf, type SettingName } from '../settings/schema.ts';
import { inputDirectory, serverAddress } from './flag-values.ts';
import { camelCase, type Flags } from './flags.ts';
import type { ProgressLine } from './terminal.ts';

interface ServerFlags {
  readonly server?: string;
  readonly apiKey?: string;
  readonly mediaRoot?: readonly SharedRoot[];
}

function sharedRoots(text: string, before: readonly SharedRoot[] = []): readonly SharedRoot[] {
  const [, name, directory] = /^([^=/]+)=(.+)$/.exec(text) ?? [];
  if (name !== undefined && directory !== undefined)
    return [...before, { name, directory: resolve(inputDirectory(directory)) }];
  throw new InvalidArgumentError('It must be NAME=DIR: DIR here is what the server has as --media-root NAME=….');
}

export function addServerFlags(command: Command): Command {
  return command
    .option(
      '--server <url>',
      'captions are made by the jobs of this server, which is started with --jobs-dir',
      serverAddress,
    )
    .option('--api-key <key>', 'key of the server; better given as AVOCADO_SERVER_API_KEY')
    .option(
      '--media-root <name=dir>',
      'the server reads files below DIR as media://NAME/…; others are uploaded; repeatable',
      sharedRoots,
    );
}

/** @throws AvocadoError `bad_request` for flags that do not go together */
export function serverUrl(flags: Flags, settings: readonly SettingName[]): string | undefined {
  const { server, apiKey, mediaRoot } = flags as ServerFlags;
  if (server === undefined) {
    const [flag] = [apiKey === undefined ? [] : ['api-key'], mediaRoot === undefined ? [] : ['media-root']].flat();
    if (flag !== undefined) throw new AvocadoError('bad_request', `--${flag} is of --server: name the server, too.`);
    return undefined;
  }
  const given = settings.map((name) => settingOf(name).flag).find((flag) => flags[camelCase(flag)] !== undefined);
  if (given === undefined) return server;
  throw new AvocadoError(
    'bad_request',
    `--${given} is a setting of a model here: the server has its own. Leave it out.`,
  );
}

/** @throws AvocadoError `engine_unavailable`, `unauthorized` */
export async function batchServer(
  server: string,
  flags: Flags,
  signal: AbortSignal,
  progress: ProgressLine,
): Promise<Pick<BatchOptions, 'identity' | 'rateOf' | 'openCaptioner'>> {
  const [{ askModel, RemoteCaptioner }, { ServerClient }] = await Promise.all([
    import('../remote/remote-captioner.ts'),
    import('../remote/server-client.ts'),
  ]);
  const { apiKey = nonEmptyVariable('AVOCADO_SERVER_API_KEY'), mediaRoot: roots = [] } = flags as ServerFlags;
  const onWait = (reason: string, patienceMs: number): void => {
    const until = new Date(Date.now() + patienceMs).toLocaleTimeString('en-GB');
    progress.tell(`${reason} The server is asked again until ${until}.`);
  };
  const client = new ServerClient({ url: server, apiKey, onWait });
  const served = await askModel(client, signal);
  const { name, precision } = served.model;
  return {
    identity: served.identity,
    rateOf: `${name} ${precision} on ${server}`,
    openCaptioner: (library) => RemoteCaptioner.open({ client, served, roots, library }, signal),
  };
}
