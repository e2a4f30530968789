import { Option, type Command } from 'commander';
import { collect, positiveNumber, wholeNumber } from './flag-values.ts';
import { addModelFlags, type ModelFlags } from './model-flags.ts';

/** As commander stores them: seconds and bytes as typed. */
export interface ServeFlags extends ModelFlags {
  readonly host: string;
  readonly port: number;
  readonly slots: number;
  readonly prefixSlots?: number;
  readonly mediaCacheBytes: number;
  readonly mediaRoot: readonly string[];
  readonly urlHost: readonly string[];
  readonly allowCidr: readonly string[];
  readonly fetchTimeout: number;
  readonly maxUploadBytes: number;
  readonly maxTempBytes: number;
  readonly maxRequests?: number;
  readonly maxQueueSeconds: number;
  readonly maxTimeout: number;
  readonly apiKeys?: string;
  readonly rateLimit: number;
  readonly drainSeconds: number;
  readonly stallSeconds: number;
  readonly logLevel: 'silent' | 'error' | 'warn' | 'info' | 'debug';
  readonly logContent: boolean;
  readonly metricsCompat: 'none' | 'vllm';
}

const GIB = 1024 ** 3;
const MIB = 1024 ** 2;

function addEngineFlags(command: Command): Command {
  return addModelFlags(command)
    .option('--slots <n>', 'captions made at the same time', wholeNumber(1, 256), 4) // room for the KV cache costs nothing on a CPU until it is used
    .option(
      '--prefix-slots <n>',
      'slots that keep the beginning of prompts, for the same clip asked again (default: 2 on a CPU, 0 on CUDA)',
      wholeNumber(0, 256),
    )
    .option(
      '--media-cache-bytes <n>',
      'memory for encoded clips, for the same clip asked again',
      wholeNumber(0),
      256 * MIB,
    )
    .option(
      '--stall-seconds <s>',
      'work without progress for so long is a hang: the engine is started again',
      positiveNumber,
      120,
    );
}

function addMediaFlags(command: Command): Command {
  return command
    .option('--media-root <name=dir>', 'files of DIR may be asked for as media://NAME/path; repeatable', collect, [])
    .option(
      '--url-host <host>',
      'fetch media from this host only (host, *.host, host:port), or: off, public; repeatable (default: public)',
      collect,
      [],
    )
    .option(
      '--allow-cidr <range>',
      'private addresses that media may be fetched from, such as 10.1.0.0/16; repeatable',
      collect,
      [],
    )
    .option('--fetch-timeout <s>', 'longest download', positiveNumber, 120)
    .option('--max-upload-bytes <n>', 'largest media file', wholeNumber(1), 2 * GIB)
    .option('--max-temp-bytes <n>', 'most bytes of media on disk, all requests together', wholeNumber(1), 8 * GIB);
}

function addAdmissionFlags(command: Command): Command {
  return command
    .option('--max-requests <n>', 'most requests let in at a time (default: 8 for each slot)', wholeNumber(1))
    .option('--max-queue-seconds <s>', 'most estimated work let in at a time', positiveNumber, 600)
    .option('--max-timeout <s>', 'longest time a request may take', positiveNumber, 3600)
    .option('--api-keys <file>', 'who may ask: lines NAME:KEY or NAME:sha256:HEX; AVOCADO_API_KEYS adds more')
    .option(
      '--rate-limit <n>',
      'requests a minute for each key, or each address without keys; 0 = no limit',
      wholeNumber(0),
      0,
    )
    .option('--drain-seconds <s>', 'how long requests may go on after a stop was asked for', wholeNumber(0), 20);
}

/** Flags of `avocado serve`: the engine, media, who is let in, and what is told of it. */
export function addServeFlags(command: Command): Command {
  command
    .option('--host <address>', 'address to listen on', '127.0.0.1')
    .option('--port <port>', 'port to listen on, 0 = any', wholeNumber(0, 65_535), 8080);
  return addAdmissionFlags(addMediaFlags(addEngineFlags(command)))
    .addOption(
      new Option('--log-level <level>', 'how much goes to stderr, as JSON lines')
        .choices(['silent', 'error', 'warn', 'info', 'debug'])
        .default('warn'),
    )
    .option('--log-content', 'put file names, prompts and captions into the log', false)
    .addOption(
      new Option('--metrics-compat <names>', "vllm: /metrics also has the names that vLLM's dashboards read")
        .choices(['none', 'vllm'])
        .default('none'),
    );
}
