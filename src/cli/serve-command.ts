import type { Command } from 'commander';
import { AvocadoError } from '../base/errors.ts';
import { defaultModelDirectory, packageVersion } from '../base/package-files.ts';
import type { Captioner } from '../captioner/captioner.ts';
import { mergingCaptioner } from '../captioner/merging-captioner.ts';
import type { EngineProcess } from '../engine-process/open-engine-process.ts';
import { addressPolicy, hostPolicy, urlPolicy } from '../intake/url-policy.ts';
import { readSampleClips } from '../model/checkpoint/model-package.ts';
import type { Listening } from '../server/listen.ts';
import { readServerSettings } from '../settings/read-settings.ts';
import { SETTING_NAMES } from '../settings/schema.ts';
import { isLoopback, type EntryChecks, type ServerConfig } from '../settings/server-settings.ts';
import type { CliEnvironment } from './cli-environment.ts';
import { addSettingFlags, settingSources, type Flags } from './flags.ts';
import { openMerge } from './judge-flags.ts';
import { ProgressLine, warn, write } from './terminal.ts';

export function addServeCommand(program: Command, environment: CliEnvironment): void {
  const command = program.command('serve').description('captions over HTTP, and a page to drop a video on');
  addSettingFlags(command, SETTING_NAMES).action(async (flags: Flags) => {
    await serve(flags, environment);
  });
}

/** The fetcher's own reading of hosts and ranges, so that a wrong one is reported before a model is loaded. */
const CHECKS: EntryChecks = {
  urlHost: (host) => hostPolicy([host]),
  allowCidr: (range) => addressPolicy([range]),
};

/** Or else every job that names no webhook of its own would be refused. @throws AvocadoError `bad_request` */
function checkWebhook({ webhookUrl, urlHosts, allowCidrs }: ServerConfig): void {
  if (webhookUrl === undefined) return;
  try {
    urlPolicy(hostPolicy(urlHosts), addressPolicy(allowCidrs)).read(webhookUrl, 'webhook');
  } catch (cause) {
    throw new AvocadoError('bad_request', `--webhook-url: ${(cause as Error).message}`, { cause });
  }
}

/**
 * Listens while the model loads, so that probes and early clients get answers. Ends when the model cannot be loaded.
 */
async function serve(flags: Flags, environment: CliEnvironment): Promise<void> {
  const { values, warnings } = readServerSettings(settingSources(SETTING_NAMES, flags, environment.variables), {
    checks: CHECKS,
    version: packageVersion(),
    apiKeysText: environment.variables['AVOCADO_API_KEYS'],
  });
  const { engine: settings, server: config } = values;
  await warn(environment.stderr, warnings);
  checkWebhook(config);
  const progress = new ProgressLine(environment, { verbose: true });
  const engine = await environment
    .openEngineProcess({ settings, stallMs: config.stallMs, onProgress: progress.show })
    .finally(progress.clear);
  const server = await startServer(engine, config, environment);
  if (config.apiKeys.length === 0 && !config.jobsOnly && !isLoopback(config.host)) {
    const reachable = `${config.host} can be reached from other machines, and clients there need no key.`;
    progress.note(`warning: ${reachable} Require keys with --api-keys FILE.`);
  }
  try {
    await engine.ready(server.stopping);
  } catch (error) {
    if (server.stopping.aborted) return; // stopped on purpose while it was loading
    await server.close();
    throw error;
  } finally {
    progress.clear();
  }
  await write(environment.stdout, await welcome(engine, server.url, config));
}

/** Imported here, not at the top: the other commands start without a web server. */
async function startServer(
  engine: EngineProcess,
  config: ServerConfig,
  environment: CliEnvironment,
): Promise<Listening> {
  const [{ buildApp }, { exitOnSignals, listen }] = await Promise.all([
    import('../server/app.ts'),
    import('../server/listen.ts'),
  ]);
  const letGo = exitOnSignals();
  try {
    const captioner = mergingCaptioner(engine, await openMerge(config));
    return await listen(await buildApp({ captioner, config, log: environment.stderr }), engine, config);
  } catch (error) {
    await engine.close();
    throw error;
  } finally {
    letGo();
  }
}

function shellQuote(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}

/** A clip that comes with the package, so that the first command works as printed. */
async function sampleClip(): Promise<string> {
  const [first] = await readSampleClips(defaultModelDirectory());
  return first?.path ?? 'YOUR-VIDEO.mp4';
}

async function welcome(
  { model }: Captioner,
  url: string,
  { apiKeys, jobsOnly }: Pick<ServerConfig, 'apiKeys' | 'jobsOnly'>,
): Promise<string> {
  const engine = `${model.precision} on ${model.device}, ${model.runtime}`;
  const ready = `${model.name} is ready: ${engine}, ${model.slots} captions at a time, profile ${model.profile}.`;
  if (jobsOnly) return `${ready}\n  jobs   are taken from the database, requests are not\n  probe  ${url}/readyz\n`;
  const key = apiKeys.length > 0 ? ' -H "Authorization: Bearer YOUR-KEY"' : '';
  const clip = await sampleClip();
  return [
    ready,
    `  page   ${url}/`,
    `  API    ${url}/docs`,
    `  try    curl -s${key} -F ${shellQuote(`file=@${clip}`)} ${url}/v1/captions`,
    '',
  ].join('\n');
}
