import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Command } from 'commander';
import type { Captioner } from '../captioner.ts';
import { DEFAULT_MAX_UPLOAD_BYTES, serverConfig, type ServerConfig } from '../server/config.ts';
import { defaultModelDirectory } from './default-model.ts';
import { collect, wholeNumber } from './flag-values.ts';
import { addModelFlags, openOptions, type ModelFlags } from './model-flags.ts';
import { packageVersion } from './package-version.ts';
import { ProgressLine } from './progress-line.ts';
import { write } from './write.ts';
import type { Wiring } from './wiring.ts';

interface ServeFlags extends ModelFlags {
  readonly host: string;
  readonly port: number;
  readonly slots: number;
  readonly mediaRoot: readonly string[];
  readonly maxUploadBytes: number;
}

/** Room for the KV cache costs nothing on a CPU until it is used. */
const DEFAULT_SLOTS = 4;

export function addServeCommand(program: Command, wiring: Wiring): void {
  addModelFlags(program.command('serve').description('captions over HTTP, and a page to drop a video on'))
    .option('--host <address>', 'address to listen on', '127.0.0.1')
    .option('--port <port>', 'port to listen on, 0 = any', wholeNumber(0, 65_535), 8080)
    .option('--slots <n>', 'captions made at the same time', wholeNumber(1, 256), DEFAULT_SLOTS)
    .option('--media-root <name=dir>', 'files of DIR may be asked for as media://NAME/path; repeatable', collect, [])
    .option('--max-upload-bytes <n>', 'largest upload', wholeNumber(1), DEFAULT_MAX_UPLOAD_BYTES)
    .action(async (flags: ServeFlags) => {
      await serve(flags, wiring);
    });
}

async function serve(flags: ServeFlags, wiring: Wiring): Promise<void> {
  const { host, port, mediaRoot, maxUploadBytes } = flags;
  const config = serverConfig({ host, port, mediaRoots: mediaRoot, maxUploadBytes, version: packageVersion() });
  const progress = new ProgressLine(wiring.stderr, { terminal: wiring.stderrIsTerminal, verbose: true });
  const captioner = await wiring.openCaptioner(openOptions(flags, flags.slots, progress.show.bind(progress)));
  progress.clear();
  try {
    const url = await startServer(captioner, config, wiring);
    await write(wiring.stdout, await welcome(captioner, url));
  } catch (error) {
    await captioner.close();
    throw error;
  }
}

/** Loaded here, not at the top: the other commands start without a web server. */
async function startServer(captioner: Captioner, config: ServerConfig, wiring: Wiring): Promise<string> {
  const [{ buildApp }, { listen }] = await Promise.all([import('../server/app.ts'), import('../server/listen.ts')]);
  const app = await buildApp({ captioner, config, log: wiring.stderr });
  return listen(app, captioner, config);
}

function shellQuote(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}

/** A clip that comes with the package, so that the first command works as printed. */
async function sampleClip(): Promise<string> {
  const directory = join(defaultModelDirectory(), 'examples');
  const names = await readdir(directory).catch(() => []);
  const clip = names.filter((name) => name.endsWith('.mp4')).sort()[0];
  return clip === undefined ? 'YOUR-VIDEO.mp4' : join(directory, clip);
}

async function welcome({ model }: Captioner, url: string): Promise<string> {
  const clip = await sampleClip();
  return [
    `${model.name} is ready: ${model.precision} on ${model.device}, ${model.runtime}, ${model.slots} captions at a time, profile ${model.profile}.`,
    `  page   ${url}/`,
    `  try    curl -s -F ${shellQuote(`file=@${clip}`)} ${url}/v1/captions`,
    '',
  ].join('\n');
}
