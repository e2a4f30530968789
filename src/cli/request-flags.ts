import type { Command } from 'commander';
import { captionRequest, OPTION_PROPERTIES } from '../captioner/caption-options.ts';
import type { CaptionRequest } from '../output/events.ts';
import { collect, numberValue } from './flag-values.ts';

/** What is asked of the model, and how the pixels are made ready for it. */
export function addRequestFlags(command: Command): Command {
  return command
    .option('--prompt <text>', 'what to ask, in your words')
    .option('--prompt-id <1..7>', "one of the model's own prompts (default: 1)", numberValue)
    .option('--system <text>', 'system prompt')
    .option('--no-audio', 'do not listen')
    .option('--max-tokens <n>', 'most tokens of the caption', numberValue)
    .option('--temperature <t>', '0 = greedy (default)', numberValue)
    .option('--top-p <p>', 'nucleus sampling', numberValue)
    .option('--top-k <k>', '0 = off', numberValue)
    .option('--seed <n>', 'seed of sampling', numberValue)
    .option('--repetition-penalty <r>', '1 = off', numberValue)
    .option('--presence-penalty <p>', '-2 to 2, against tokens the caption has used; 0 = off', numberValue)
    .option('--frequency-penalty <p>', '-2 to 2, the same for every time it has used them; 0 = off', numberValue)
    .option('--repetition-guard', 'end a caption that repeats itself without end')
    .option('--n <1..8>', 'captions of each file; they differ where the temperature is above 0', numberValue)
    .option('--logprobs <0..20>', 'with --json: tokens with log-probabilities and so many alternatives', numberValue)
    .option('--stop <text>', 'end the caption before this text; repeatable', collect, [])
    .option('--profile <name>', 'pre-processing: paper, reference-cli, or the model’s own')
    .option('--fps <f>', 'frames per second to look at', numberValue)
    .option('--nframes <n>', 'a fixed number of frames instead', numberValue)
    .option('--min-frames <n>', 'fewest frames', numberValue)
    .option('--max-frames <n>', 'most frames', numberValue)
    .option('--min-pixels <p>', 'fewest pixels a frame', numberValue)
    .option('--max-pixels <p>', 'most pixels a frame', numberValue)
    .option('--total-pixels <p>', 'most pixels of all frames', numberValue)
    .option('--processor-min-pixels <p>', 'fewest pixels after the second resize', numberValue)
    .option('--processor-max-pixels <p>', 'most pixels after the second resize', numberValue)
    .option('--processor-fps <f>', 'frames per second the positions assume', numberValue);
}

/** `top_p` → `topP`, as commander stores `--top-p` */
function camelCase(field: string): string {
  return field.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
}

function flagOf(field: string): string {
  if (field === 'system_prompt') return '--system';
  if (field === 'audio') return '--no-audio';
  return `--${field.replaceAll('_', '-')}`;
}

/** @throws AvocadoError `bad_request` naming the flag whose value is out of range */
export function requestFromFlags(path: string, flags: Readonly<Record<string, unknown>>): CaptionRequest {
  const options: Record<string, unknown> = {};
  for (const field of Object.keys(OPTION_PROPERTIES)) {
    const value = flags[field === 'system_prompt' ? 'system' : camelCase(field)];
    if (value !== undefined) options[field] = value;
  }
  return captionRequest(path, options, flagOf);
}
