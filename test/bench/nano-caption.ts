// What the benches of verify and compress share: nano, or one that was trained on the hard level, and its captions.
import { captionEvents, type Captioner } from '../../src/captioner/captioner.ts';
import { openCaptioner } from '../../src/captioner/open-captioner.ts';
import type { CaptionEnd, CaptionRequest } from '../../src/output/events.ts';
import type { EngineSettings } from '../../src/settings/engine-settings.ts';
import { nanoSettings } from '../fixtures/nano.ts';

/** Most tokens of a caption, as an option of a request: those of the hard level are long. */
export const lengthOf = (hard: boolean): { readonly max_tokens?: number } => (hard ? { max_tokens: 1200 } : {});

/** @param modelDir undefined: the bundled model */
export function openNano(modelDir: string | undefined, more: Partial<EngineSettings>): Promise<Captioner> {
  return openCaptioner(nanoSettings({ threads: 2, ...more, ...(modelDir === undefined ? {} : { modelDir }) }));
}

/** @throws Error when the request fails */
export async function captioned(captioner: Captioner, request: CaptionRequest): Promise<CaptionEnd> {
  for await (const event of captionEvents(captioner, request, new AbortController().signal)) {
    if (event.type === 'caption-end') return event;
    if (event.type === 'caption-error') throw new Error(event.message);
  }
  throw new Error('No caption.');
}
