import type { TokenIds } from '../model/checkpoint/config-types.ts';

/** A prompt for people: `im_start*1 text*34 … V*12 A*20 …`, equal neighbours counted together. */
export function runLengths(ids: Int32Array, tokens: TokenIds, imStart: number | undefined): string {
  const names = new Map<number | undefined, string>([
    [imStart, 'im_start'],
    [tokens.eos, 'im_end'],
    [tokens.visionStart, 'vision_bos'],
    [tokens.visionEnd, 'vision_eos'],
    [tokens.audioStart, 'audio_bos'],
    [tokens.audioEnd, 'audio_eos'],
    [tokens.video, 'V'],
    [tokens.image, 'I'],
    [tokens.audio, 'A'],
  ]);
  const runs: { name: string; count: number }[] = [];
  for (const id of ids) {
    const name = names.get(id) ?? 'text';
    const last = runs.at(-1);
    if (last?.name === name) last.count += 1;
    else runs.push({ name, count: 1 });
  }
  return runs.map(({ name, count }) => `${name}*${count}`).join(' ');
}
