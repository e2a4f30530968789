import { captionRequest } from '../captioner/caption-options.ts';
import type { Captioner } from '../captioner/captioner.ts';
import { AvocadoError } from '../base/errors.ts';

/**
 * Captions each file with two tokens, one of the prefill and one of a decode step, so that the first person does not pay for lazy
 * starts: threads, both towers, decoder.
 * @throws AvocadoError whatever a caption can end in
 */
export async function warmUp(captioner: Captioner, paths: readonly string[]): Promise<void> {
  for (const path of paths) {
    for await (const event of captioner.caption(captionRequest(path, { prompt: 'Describe.', max_tokens: 2 }))) {
      if (event.type !== 'caption-error') continue;
      throw new AvocadoError(
        event.code,
        `The model was loaded, but its first caption failed: ${event.message} Run \`avocado doctor\`.`,
      );
    }
  }
}
