// Flags of commands that ask a language model: a judge of captions, a teacher that writes them, or a text model that
// merges them.
import { InvalidArgumentError, type Command } from 'commander';
import { readVariable } from '../base/env.ts';
import { AvocadoError } from '../base/errors.ts';
import type { MergeOptions } from '../captioner/merging-captioner.ts';
import type { ChatEndpoint } from '../lab/rewards/judges/chat-endpoint.ts';
import { mergeMistakes, type MergeValues } from '../settings/merge-settings.ts';
import { baseUrl } from './flag-values.ts';
import { numberValue, positiveNumber, wholeNumber, type Flags } from './flags.ts';

type Role = 'judge' | 'teacher' | 'server';

const KEYS = {
  judge: 'AVOCADO_JUDGE_API_KEY',
  teacher: 'AVOCADO_TEACHER_API_KEY',
  server: 'AVOCADO_SERVER_API_KEY',
} as const satisfies Record<Role, string>;

function notNegative(text: string): number {
  const value = numberValue(text);
  if (value >= 0) return value;
  throw new InvalidArgumentError('It must not be below 0.');
}

/** `--ROLE URL` and what belongs to it. */
export function addEndpointFlags(command: Command, role: Role, what: string): Command {
  return command
    .option(`--${role} <url>`, `${what}: base URL of an OpenAI-compatible server`, baseUrl)
    .option(`--${role}-model <name>`, `model to ask there; ${KEYS[role]} holds the key`)
    .option(`--${role}-concurrency <n>`, 'maximum number of concurrent questions to it', wholeNumber(1), 16)
    .option(`--${role}-timeout <s>`, 'maximum time for one of its answers', positiveNumber, 120);
}

/** `--max-cost` and the prices it counts with. */
export function addPriceFlags(command: Command, role: Role): Command {
  return command
    .option(`--${role}-price <in,out>`, 'US dollars for a million tokens of prompt and of answer', prices)
    .option('--max-cost <usd>', 'ask nothing more once so much is spent; needs the price', notNegative);
}

function prices(text: string): { readonly prompt: number; readonly completion: number } {
  const [prompt, completion, ...others] = text.split(',').map(notNegative);
  if (prompt !== undefined && completion !== undefined && others.length === 0) return { prompt, completion };
  throw new InvalidArgumentError('It must be two numbers with a comma between, such as 2,8.');
}

export interface OpenedEndpoint {
  readonly endpoint: ChatEndpoint;
  readonly url: string;
  readonly model: string;
  readonly concurrency: number;
  /** what its replies depend on beside the question */
  readonly identity: string;
}

/**
 * The endpoint that the flags of a role name; undefined where they name none. The client is loaded only for one.
 * @param onWait is told once when nothing answers and it is tried again
 * @throws AvocadoError `bad_request` for a URL without a model, or the other way round
 */
export async function openEndpoint(
  flags: Flags,
  role: Role,
  onWait: (sentences: string) => void,
): Promise<OpenedEndpoint | undefined> {
  const url = flags[role];
  const model = flags[`${role}Model`];
  if (typeof url !== 'string' && model !== undefined)
    throw new AvocadoError('bad_request', `--${role}-model needs --${role}: name the server to ask.`, { param: role });
  if (typeof url !== 'string') return undefined;
  if (typeof model !== 'string')
    throw new AvocadoError('bad_request', `--${role} ${url} needs --${role}-model: name the model to ask there.`, {
      param: `${role}_model`,
    });
  const { ChatEndpoint: Endpoint } = await import('../lab/rewards/judges/chat-endpoint.ts');
  const concurrency = Number(flags[`${role}Concurrency`]);
  const endpoint = new Endpoint({
    baseUrl: url,
    model,
    apiKey: readVariable(KEYS[role]),
    concurrency,
    timeoutMs: Number(flags[`${role}Timeout`]) * 1000,
    role,
    onWait,
  });
  return { endpoint, url, model, concurrency, identity: `${url} ${model}` };
}

/** Questions to the text model at the same time, of all captions. */
const MERGE_CONCURRENCY = 8;

/**
 * The text model that merges segments; undefined where the settings name none. The client is loaded only for one.
 * @throws AvocadoError `bad_request` for a URL without a model, or the other way round
 */
export async function openMerge(values: MergeValues): Promise<MergeOptions | undefined> {
  const [mistake] = mergeMistakes(values);
  if (mistake !== undefined) throw new AvocadoError('bad_request', mistake, { param: 'merge_model' });
  const { mergeUrl: baseUrl, mergeModel: name, mergeTimeoutMs: timeoutMs } = values;
  if (baseUrl === undefined || name === undefined) return undefined;
  const { ChatClient } = await import('../chat/chat-client.ts');
  const role = { name: 'text model', flag: '--merge-url', timeoutFlag: '--merge-timeout' };
  const apiKey = readVariable('AVOCADO_MERGE_API_KEY');
  const options = { baseUrl, model: name, apiKey, concurrency: MERGE_CONCURRENCY, timeoutMs, role };
  return { model: new ChatClient(options), timeoutMs };
}

/** @throws AvocadoError `bad_request` for a limit without a price */
export function budgetOf(
  flags: Flags,
  role: Role,
): {
  readonly price: { readonly prompt: number; readonly completion: number } | undefined;
  readonly maxCost: number | undefined;
} {
  const price = flags[`${role}Price`] as ReturnType<typeof prices> | undefined;
  const maxCost = flags['maxCost'] as number | undefined;
  if (maxCost !== undefined && price === undefined)
    throw new AvocadoError('bad_request', `--max-cost needs --${role}-price: what do its tokens cost?`, {
      param: `${role}_price`,
    });
  return { price, maxCost };
}
