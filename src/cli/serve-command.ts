import type { Command } from 'commander';
import { readVariable } from '../base/env.ts';
import type { Captioner } from '../captioner/captioner.ts';
import type { EngineProcess, EngineProcessOptions } from '../engine-process/open-engine-process.ts';
import { samplesOf } from '../model/checkpoint/samples.ts';
import { isLoopback, serverConfig, type ServerConfig } from '../server/config.ts';
import type { Listening } from '../server/listen.ts';
import { defaultModelDirectory } from './default-model.ts';
import { openOptions } from './model-flags.ts';
import { packageVersion } from './package-version.ts';
import { ProgressLine } from './progress-line.ts';
import { addServeFlags, type ServeFlags } from './serve-flags.ts';
import { write } from './write.ts';
import type { OnProgress, Wiring } from './wiring.ts';

/** Kept prompts cost memory on a GPU at once, on a CPU when they are used. */
const PREFIX_SLOTS = { cpu: 2, cuda: 0 };

export function addServeCommand(program: Command, wiring: Wiring): void {
  addServeFlags(program.command('serve').description('captions over HTTP, and a page to drop a video on')).action(
    async (flags: ServeFlags) => {
      await serve(flags, wiring);
    },
  );
}

/** @throws AvocadoError `bad_request` that tells all mistakes at once */
function configOf(flags: ServeFlags): ServerConfig {
  const { host, port, rateLimit, maxUploadBytes, maxQueueSeconds, logLevel, logContent, metricsCompat } = flags;
  return serverConfig({
    ...{ host, port, maxUploadBytes, maxQueueSeconds, logLevel, logContent, metricsCompat },
    ...(flags.maxRequests === undefined ? {} : { maxRequests: flags.maxRequests }),
    ...(flags.urlHost.length === 0 ? {} : { urlHosts: flags.urlHost }),
    version: packageVersion(),
    mediaRoots: flags.mediaRoot,
    allowCidrs: flags.allowCidr,
    fetchTimeoutMs: flags.fetchTimeout * 1000,
    maxTemporaryBytes: flags.maxTempBytes,
    maxTimeoutSeconds: flags.maxTimeout,
    apiKeysFile: flags.apiKeys,
    apiKeysText: readVariable('AVOCADO_API_KEYS'),
    rateLimitPerMinute: rateLimit,
    drainMs: flags.drainSeconds * 1000,
    stallMs: flags.stallSeconds * 1000,
  });
}

function engineOptions(flags: ServeFlags, onProgress: OnProgress): EngineProcessOptions {
  const { slots, device, mediaCacheBytes, prefixSlots = PREFIX_SLOTS[device.type], stallSeconds } = flags;
  return { ...openOptions(flags, slots, onProgress), prefixSlots, mediaCacheBytes, stallMs: stallSeconds * 1000 };
}

/** Listens while the model loads, so that probes and early clients are answered. A model that cannot be loaded ends it. */
async function serve(flags: ServeFlags, wiring: Wiring): Promise<void> {
  const config = configOf(flags);
  const progress = new ProgressLine(wiring.stderr, { terminal: wiring.stderrIsTerminal, verbose: true });
  const engine = await wiring.openEngineProcess(engineOptions(flags, progress.show.bind(progress))).finally(() => {
    progress.clear();
  });
  const server = await startServer(engine, config, wiring);
  if (config.apiKeys.length === 0 && !isLoopback(config.host)) {
    progress.note(
      `warning: ${config.host} can be reached from other machines, and anybody who reaches it may ask. Give it keys with --api-keys FILE.`,
    );
  }
  try {
    await engine.ready(server.stopping);
  } catch (error) {
    if (server.stopping.aborted) return; // whoever stops it knows why it is not ready
    await server.close();
    throw error;
  } finally {
    progress.clear();
  }
  await write(wiring.stdout, await welcome(engine, server.url, config.apiKeys.length > 0));
}

/** Loaded here, not at the top: the other commands start without a web server. */
async function startServer(engine: EngineProcess, config: ServerConfig, wiring: Wiring): Promise<Listening> {
  try {
    const [{ buildApp }, { listen }] = await Promise.all([import('../server/app.ts'), import('../server/listen.ts')]);
    return await listen(await buildApp({ captioner: engine, config, log: wiring.stderr }), engine, config);
  } catch (error) {
    await engine.close();
    throw error;
  }
}

function shellQuote(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}

/** A clip that comes with the package, so that the first command works as printed. */
async function sampleClip(): Promise<string> {
  const [first] = await samplesOf(defaultModelDirectory());
  return first?.path ?? 'YOUR-VIDEO.mp4';
}

async function welcome({ model }: Captioner, url: string, keys: boolean): Promise<string> {
  const clip = await sampleClip();
  const key = keys ? ' -H "Authorization: Bearer YOUR-KEY"' : '';
  return [
    `${model.name} is ready: ${model.precision} on ${model.device}, ${model.runtime}, ${model.slots} captions at a time, profile ${model.profile}.`,
    `  page   ${url}/`,
    `  API    ${url}/docs`,
    `  try    curl -s${key} -F ${shellQuote(`file=@${clip}`)} ${url}/v1/captions`,
    '',
  ].join('\n');
}
