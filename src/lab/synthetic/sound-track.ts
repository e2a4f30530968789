import { Dice } from './dice.ts';
import { makeSound } from './make-sound.ts';
import type { Script } from './script.ts';
import type { Recording } from './voices.ts';
import { WORLD } from './vocabulary.ts';

/** Of full scale, so that voices are about as loud as tones. */
const VOICE_LEVEL = 0.7;

/** The sound of a script over faint hiss: mono at WORLD.sampleRate, as long as the clip, -1 to 1. */
export function soundTrack(script: Script, recording: Recording): Float32Array {
  const dice = new Dice(script.seed, 'sound track');
  const hiss = 10 ** dice.between(-4.2, -2.7);
  const wave = Float32Array.from({ length: Math.round(script.duration * WORLD.sampleRate) }, () => dice.gaussian(hiss));
  for (const event of script.events) {
    if (event.kind === 'visual') continue;
    const piece =
      event.kind === 'sound'
        ? makeSound(dice, event.sound)
        : paced(recording(event.speaker, event.text), dice.between(0.95, 1.06));
    const loudness = dice.between(0.5, 1.1) * (event.kind === 'speech' ? VOICE_LEVEL : 1);
    // What would last longer than the clip begins earlier.
    const first = Math.max(0, Math.min(Math.floor(event.start * WORLD.sampleRate), wave.length - piece.length));
    for (let index = 0; index < piece.length && first + index < wave.length; index++) {
      wave[first + index] = (wave[first + index] ?? 0) + loudness * (piece[index] ?? 0);
    }
  }
  return wave.map((level) => Math.min(1, Math.max(-1, level)));
}

/** A recording played faster or slower, between its samples in straight lines. */
function paced(wave: Float32Array, pace: number): Float32Array {
  return Float32Array.from({ length: Math.floor(wave.length / pace) }, (_, index) => {
    const at = Math.floor(index * pace);
    const [before, after] = [wave[at] ?? 0, wave[at + 1] ?? wave[at] ?? 0];
    return before + (after - before) * (index * pace - at);
  });
}
