import { fileURLToPath } from 'node:url';

/** A grey picture for the vision tower, half a second of silence for the audio tower. From src/ as well as from dist/: only code is compiled. */
export const WARM_UP_FILES: readonly string[] = ['warm-up.png', 'warm-up.wav'].map((name) =>
  fileURLToPath(new URL(`../../src/engine-process/${name}`, import.meta.url)),
);
