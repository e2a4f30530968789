// --verify of the commands that caption: its flags, and what checks a caption as they say.
import type { Command } from 'commander';
import { readVariable } from '../base/env.ts';
import { AvocadoError } from '../base/errors.ts';
import type { Captioner } from '../captioner/captioner.ts';
import type { Transcribe } from '../lab/verify/transcriber.ts';
import type { Verification } from '../lab/verify/verify.ts';
import { snakeCase, type Json } from '../output/caption-answer.ts';
import type { CaptionEnd, CaptionRequest } from '../output/events.ts';
import { baseUrl } from './flag-values.ts';
import { positiveNumber, wholeNumber, type Flags } from './flags.ts';
import { addEndpointFlags, openEndpoint } from './judge-flags.ts';

const TEMPERATURE = 0.7;
const TRANSCRIBER_KEY = 'AVOCADO_TRANSCRIBER_API_KEY';

/** A caption after its check. */
export interface Checked {
  /** with --clean without its unsupported claims */
  readonly end: CaptionEnd;
  readonly verification: Json;
  /** what people are told: which claims are not supported, and which probes were not made */
  readonly sentences: readonly string[];
}

export interface Verifier {
  /** what the result depends on beside the caption */
  readonly identity: string;
  readonly cleans: boolean;
  readonly check: (
    captioner: Pick<Captioner, 'submit'>,
    request: CaptionRequest,
    end: CaptionEnd,
    signal: AbortSignal,
  ) => Promise<Checked>;
}

/** @param hasJudge the command has --judge already */
export function addVerifyFlags(command: Command, hasJudge = false): Command {
  command
    .option('--verify', 'check each claim: caption again without sound, without pictures, and by sampling', false)
    .option('--clean', 'with --verify: captions without their unsupported claims', false)
    .option('--verify-samples <n>', 'with --verify: sampled captions to compare with, 0 = none', wholeNumber(0, 8), 3)
    .option('--transcriber <url>', 'with --verify: OpenAI-compatible server that transcribes the sound', baseUrl)
    .option('--transcriber-model <name>', `model to ask there; ${TRANSCRIBER_KEY} holds the key`)
    .option('--transcriber-timeout <s>', 'maximum time for one transcript', positiveNumber, 120);
  return hasJudge ? command : addEndpointFlags(command, 'judge', 'with --verify: who splits and compares captions');
}

/**
 * @param hasJudge the command has --judge for something else, too
 * @throws AvocadoError `bad_request` for a flag that needs --verify
 */
export function isVerifying(flags: Flags, hasJudge = false): boolean {
  if (flags['verify'] === true) return true;
  const names = ['clean', 'transcriber', ...(hasJudge ? [] : ['judge'])];
  const needing = names.find((name) => flags[name] !== undefined && flags[name] !== false);
  if (needing === undefined) return false;
  throw new AvocadoError('bad_request', `--${needing} needs --verify.`, { param: needing });
}

/**
 * What checks captions as the flags say; undefined without --verify.
 * @param onWait is told once when the judge does not answer and is tried again
 * @param hasJudge as for `isVerifying`
 * @throws AvocadoError `bad_request` for flags that need --verify or each other
 */
export async function openVerifier(
  flags: Flags,
  onWait: (sentences: string) => void,
  hasJudge = false,
): Promise<Verifier | undefined> {
  if (!isVerifying(flags, hasJudge)) return undefined;
  const { verifyCaption, cleanedEnd } = await import('../lab/verify/verify.ts');
  const judge = await openEndpoint(flags, 'judge', onWait);
  const transcribe = await openTranscriber(flags);
  const reader =
    judge === undefined ? undefined : (await import('../lab/verify/judge-reader.ts')).judgeReader(judge.endpoint);
  const cleans = flags['clean'] === true;
  const options = { samples: Number(flags['verifySamples']), temperature: TEMPERATURE, reader, transcribe };
  const asked = [judge?.identity, flags['transcriber'], flags['transcriberModel']];
  return {
    identity: JSON.stringify([options.samples, TEMPERATURE, cleans, ...asked]),
    cleans,
    check: async (captioner, request, end, signal) => {
      const found = await verifyCaption(captioner, request, end, options, signal);
      return {
        end: cleans ? cleanedEnd(end, found) : end,
        verification: snakeCase(found),
        sentences: sentencesOf(found),
      };
    },
  };
}

async function openTranscriber(flags: Flags): Promise<Transcribe | undefined> {
  const { transcriber: url, transcriberModel: model } = flags;
  if (typeof url !== 'string') return undefined;
  if (typeof model !== 'string')
    throw new AvocadoError('bad_request', `--transcriber ${url} needs --transcriber-model.`, {
      param: 'transcriber_model',
    });
  const { transcriber } = await import('../lab/verify/transcriber.ts');
  const timeoutMs = Number(flags['transcriberTimeout']) * 1000;
  return transcriber({ baseUrl: url, model, apiKey: readVariable(TRANSCRIBER_KEY), timeoutMs });
}

function sentencesOf({ parts, counts, decidedBy, notes }: Verification): readonly string[] {
  const flagged = parts
    .flatMap(({ claims }) => claims)
    .filter(({ verdict }) => verdict === 'unsupported')
    .map(({ text, reasons }) => `not supported (${reasons.join(', ')}): ${text}`);
  const unchecked = counts.unchecked === 0 ? '' : `, ${counts.unchecked} not checked`;
  const all = `${counts.unsupported} of ${counts.claims} claims are not supported${unchecked}; decided by ${decidedBy.kind}`;
  return [...notes.map((note) => `no ${note}`), ...flagged, all];
}
