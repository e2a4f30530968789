// sample-requests.ts FILE: what the engine is asked for the sample clips of the bundled model, and its tokens in fp32
// on the CPU, for a machine that has no ffmpeg.
import { writeFileSync } from 'node:fs';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { serialize } from 'node:v8';
import { captionRequest } from '../../../src/captioner/caption-options.ts';
import { captionEvents } from '../../../src/captioner/captioner.ts';
import { openCaptioner } from '../../../src/captioner/open-captioner.ts';
import { Engine } from '../../../src/engine/engine.ts';
import type { SequenceRequest } from '../../../src/engine/types.ts';
import { EXAMPLES, examplePath } from '../../fixtures/examples.ts';
import { nanoSettings } from '../../fixtures/nano.ts';
import type { SampleRequest } from './captions.ts';

/** Captions each clip and keeps what reached the engine. */
export async function writeSampleRequests(file: string, clips = Object.keys(EXAMPLES)): Promise<void> {
  const asked: SequenceRequest[] = [];
  // eslint-disable-next-line @typescript-eslint/unbound-method -- called with the engine
  const { submit } = Engine.prototype;
  Engine.prototype.submit = function (request, ...rest) {
    asked.push(request);
    return submit.call(this, request, ...rest);
  };
  const captioner = await openCaptioner(nanoSettings({ slots: 1, precision: 'fp32' }));
  const samples: SampleRequest[] = [];
  try {
    for (const clip of clips)
      for await (const event of captionEvents(captioner, captionRequest(examplePath(clip), {}))) {
        const request = asked.at(-1);
        if (event.type !== 'caption-end' || request === undefined) continue;
        const { caption, tokenIds } = event;
        samples.push({ clip, request: { ...request, prefix: undefined }, tokens: [...tokenIds], caption });
      }
  } finally {
    Engine.prototype.submit = submit;
    await captioner.close();
  }
  writeFileSync(file, serialize(samples));
}

if (process.argv[1] === fileURLToPath(import.meta.url))
  await writeSampleRequests(process.argv[2] ?? 'sample-requests.bin');
