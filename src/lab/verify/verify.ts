// The hallucination probe: captions a clip again without its sound, without its pictures and by sampling, reads its
// spoken lines against a transcript, and decides for each claim whether these support it.
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { AvocadoError } from '../../base/errors.ts';
import { makeTemporaryDirectory, removeTemporaryDirectory } from '../../base/temporary-directory.ts';
import { captionEvents, type Captioner } from '../../captioner/captioner.ts';
import { alteredCopy, type Alteration } from '../../media/altered-copy.ts';
import type { CaptionEnd, CaptionRequest, SegmentCaption } from '../../output/events.ts';
import { timelineText } from '../../output/subtitles.ts';
import { Unscored } from '../rewards/types.ts';
import type { Claim, ClaimReader, ReaderDescription } from './claims.ts';
import { countClaims, DEFAULT_RULES, judgeClaim, type ClaimCounts, type Evidence, type JudgedClaim } from './decide.ts';
import type { Transcribe } from './transcriber.ts';
import { lineErrorRate, wordErrorRate, wordsOf } from './transcript.ts';
import { wordsReader } from './words-reader.ts';
import { isOfWorld, worldReader } from './world-reader.ts';

export interface VerifyOptions {
  /** sampled captions of the clip; 0 = none */
  readonly samples: number;
  readonly temperature: number;
  /** undefined = by rules: exact for captions of the synthetic world, by shared words for others */
  readonly reader: ClaimReader | undefined;
  /** undefined = quoted lines are not compared with the sound */
  readonly transcribe: Transcribe | undefined;
}

/** What was found of one part of a file: a segment, or all that was captioned. */
export interface VerifiedPart {
  /** seconds of the file */
  readonly start: number;
  readonly end: number;
  readonly claims: readonly JudgedClaim[];
  /** the caption without its unsupported claims */
  readonly cleanedCaption: string;
  readonly recaptions: Recaptions;
  readonly transcript?:
    | {
        readonly text: string;
        /** of all quoted lines of the caption together; undefined: neither has words */
        readonly wordErrorRate: number | undefined;
      }
    | undefined;
}

/** Captions that the evidence comes from; a probe that was not made is absent. */
export interface Recaptions {
  readonly muted?: string | undefined;
  readonly blanked?: string | undefined;
  readonly samples: readonly string[];
}

export interface Verification {
  /** who split and compared the captions */
  readonly decidedBy: ReaderDescription;
  readonly temperature: number;
  readonly counts: ClaimCounts;
  readonly cleanedCaption: string;
  readonly parts: readonly VerifiedPart[];
  /** probes that could not be made, and why */
  readonly notes: readonly string[];
}

/**
 * Checks every claim of a caption. The first of several captions of one request is checked.
 * @param request the one that gave the caption; its file must still be there
 * @throws AvocadoError `engine_error` when the judge does not answer; `engine_unavailable`, `ffmpeg_missing`,
 *   `media_timeout`, `aborted`
 */
export async function verifyCaption(
  captioner: Pick<Captioner, 'submit'>,
  request: CaptionRequest,
  end: CaptionEnd,
  options: VerifyOptions,
  signal: AbortSignal,
): Promise<Verification> {
  const directory = await makeTemporaryDirectory(tmpdir(), 'avocado-verify');
  try {
    return await new Verifying(captioner, request, end, options, directory, signal).run();
  } catch (thrown) {
    if (!(thrown instanceof Unscored)) throw thrown;
    throw new AvocadoError('engine_error', `The claims could not be checked: ${thrown.message}`, { cause: thrown });
  } finally {
    await removeTemporaryDirectory(directory);
  }
}

const NOT_SUPPORTED =
  'It told claims that were found unsupported: the caption is the timeline of the cleaned segments.';

/**
 * A caption without its unsupported claims, its segments too. A text that was merged from segments becomes their
 * timeline, since the claims are those of the segments.
 */
export function cleanedEnd(end: CaptionEnd, { parts, cleanedCaption, counts }: Verification): CaptionEnd {
  if (counts.unsupported === 0) return end;
  return {
    ...end,
    caption: cleanedCaption,
    ...(end.segments === undefined ? {} : { segments: cleanedSegments(end.segments, parts) }),
    ...(end.merge?.status === 'merged' ? { merge: { ...end.merge, status: 'refused', reason: NOT_SUPPORTED } } : {}),
  };
}

/**
 * Segments without an error are those that were checked. Scenes and fields of a changed one are dropped: they would
 * still say what it lost.
 */
function cleanedSegments(segments: readonly SegmentCaption[], parts: Verification['parts']): readonly SegmentCaption[] {
  const checked = parts.values();
  return segments.map((segment) => {
    const caption = segment.error === undefined ? checked.next().value?.cleanedCaption : undefined;
    return caption === undefined || caption === segment.caption
      ? segment
      : { ...segment, caption, scenes: undefined, details: undefined };
  });
}

/** What there is to compare the claims of a caption with. */
export interface Found {
  readonly recaptions: Recaptions;
  /** words of the transcript */
  readonly spoken: readonly string[] | undefined;
  /** the model heard a sound track */
  readonly hasSound: boolean;
}

/**
 * Judges every claim of a caption by what was found, without captioning anything.
 * @throws Unscored; the signal's reason
 */
export async function judgeCaption(
  caption: string,
  reader: ClaimReader,
  { recaptions, spoken, hasSound }: Found,
  signal: AbortSignal,
): Promise<Pick<VerifiedPart, 'claims' | 'cleanedCaption'>> {
  const { muted, blanked, samples } = recaptions;
  const claims = await reader.claims(caption, signal);
  const stated = async (other: string | undefined): Promise<readonly boolean[] | undefined> =>
    other === undefined ? undefined : await reader.stated(claims, other, signal);
  const [inMuted, inBlanked, ...inSamples] = await Promise.all([muted, blanked, ...samples].map(stated));
  const judged = claims.map((claim, index) => {
    const evidence: Evidence = {
      muted: inMuted?.[index],
      blanked: inBlanked?.[index],
      repeated: samples.length === 0 ? undefined : inSamples.filter((sample) => sample?.[index] === true).length,
      lineErrorRate: spoken === undefined ? undefined : rateOf(claim, spoken),
    };
    return judgeClaim(claim, evidence, { ...DEFAULT_RULES, samples: samples.length, hasSound });
  });
  const dropped = judged.map(({ verdict }) => verdict === 'unsupported');
  const cleanedCaption = dropped.includes(true) ? await reader.without(caption, claims, dropped, signal) : caption;
  return { claims: judged, cleanedCaption };
}

type Part = Pick<SegmentCaption, 'start' | 'end' | 'caption'>;

class Verifying {
  readonly #captioner: Pick<Captioner, 'submit'>;
  readonly #request: CaptionRequest;
  readonly #end: CaptionEnd;
  readonly #options: VerifyOptions;
  readonly #directory: string;
  readonly #signal: AbortSignal;
  readonly #notes: string[] = [];

  constructor(
    captioner: Pick<Captioner, 'submit'>,
    request: CaptionRequest,
    end: CaptionEnd,
    options: VerifyOptions,
    directory: string,
    signal: AbortSignal,
  ) {
    this.#captioner = captioner;
    this.#request = request;
    this.#end = end;
    this.#options = options;
    this.#directory = directory;
    this.#signal = signal;
  }

  async run(): Promise<Verification> {
    const { segments, media, caption } = this.#end;
    const whole = { start: media.part?.start ?? 0, end: media.part?.end ?? media.durationSeconds, caption };
    const told = segments?.filter(({ error }) => error === undefined) ?? [whole];
    const isWorld = told.every((part) => isOfWorld(part.caption));
    const reader = this.#options.reader ?? (isWorld ? worldReader() : wordsReader());
    const copies = {
      muted: media.audio.used ? await this.#copy('muted') : undefined,
      blanked: media.kind === 'video' ? await this.#copy('blanked') : undefined,
    };
    const parts: VerifiedPart[] = [];
    for (const part of told) parts.push(await this.#part(part, reader, copies));
    return {
      decidedBy: reader.describe(),
      temperature: this.#options.temperature,
      counts: countClaims(parts.flatMap(({ claims }) => claims)),
      cleanedCaption:
        segments === undefined ? (parts[0]?.cleanedCaption ?? '') : timelineText(cleanedSegments(segments, parts)),
      parts,
      notes: this.#notes,
    };
  }

  /** A probe that cannot be made is noted; the others go on. @returns the copy's path */
  async #copy(alteration: Exclude<Alteration, 'sound'>): Promise<string | undefined> {
    const out = join(this.#directory, `${alteration}.mkv`);
    return this.#unlessMedia(alteration, async () => {
      await alteredCopy(this.#request.path, alteration, out, this.#signal);
      return out;
    });
  }

  async #unlessMedia<T>(what: string, work: () => Promise<T>): Promise<T | undefined> {
    try {
      return await work();
    } catch (thrown) {
      const isTold = thrown instanceof AvocadoError && /^(media|context)_/.test(thrown.code);
      if (!isTold && !(thrown instanceof Unscored && what === 'transcript')) throw thrown;
      this.#notes.push(`${what}: ${thrown.message}`);
      return undefined;
    }
  }

  async #part(part: Part, reader: ClaimReader, copies: Pick<Recaptions, 'muted' | 'blanked'>): Promise<VerifiedPart> {
    const signal = this.#signal;
    const [muted, blanked, samples = [], text] = await Promise.all([
      this.#probe('muted', copies.muted, part),
      this.#probe('blanked', copies.blanked, part),
      this.#samples(part),
      this.#transcript(part),
    ]);
    const recaptions = { muted, blanked, samples };
    const spoken = text === undefined ? undefined : wordsOf(text);
    const found = { recaptions, spoken, hasSound: this.#end.media.audio.used };
    const { claims, cleanedCaption } = await judgeCaption(part.caption, reader, found, signal);
    return {
      ...{ start: part.start, end: part.end, claims, cleanedCaption, recaptions },
      transcript:
        text === undefined || spoken === undefined
          ? undefined
          : { text, wordErrorRate: wordErrorRate(linesOf(claims), spoken) },
    };
  }

  async #probe(what: string, path: string | undefined, part: Part): Promise<string | undefined> {
    if (path === undefined) return undefined;
    const request = { ...this.#requestFor(part), path, contentHash: undefined, samples: 1 };
    return this.#unlessMedia(what, async () => (await this.#captions(request))[0]);
  }

  async #samples(part: Part): Promise<readonly string[] | undefined> {
    const { samples, temperature } = this.#options;
    if (samples === 0) return [];
    const request = this.#requestFor(part);
    const sampling = { ...request.sampling, temperature, seed: (request.sampling.seed ?? 0) + 1 };
    return this.#unlessMedia('samples', () => this.#captions({ ...request, samples, sampling }));
  }

  async #transcript(part: Part): Promise<string | undefined> {
    const { transcribe } = this.#options;
    if (transcribe === undefined || !this.#end.media.audio.used) return undefined;
    const isWhole = this.#end.segments === undefined && this.#end.media.part === undefined;
    const out = join(this.#directory, `sound-${part.start}.wav`);
    return this.#unlessMedia('transcript', async () => {
      await alteredCopy(this.#request.path, 'sound', out, this.#signal, isWhole ? undefined : part);
      const text = await transcribe(out, this.#signal);
      await rm(out, { force: true });
      return text;
    });
  }

  /** The request of a part alone, as it was captioned. */
  #requestFor({ start, end }: Part): CaptionRequest {
    const { segments } = this.#end;
    const own = { ...this.#request, topLogprobs: undefined, priority: this.#request.priority };
    if (segments === undefined) return { ...own, segments: undefined, merge: undefined };
    const isLast = segments.at(-1)?.start === start && this.#request.part?.end === undefined;
    return {
      ...own,
      segments: undefined,
      merge: undefined,
      carry: false,
      part: { rule: 'time', start, end: isLast ? undefined : end },
    };
  }

  async #captions(request: CaptionRequest): Promise<readonly string[]> {
    for await (const event of captionEvents(this.#captioner, request, this.#signal)) {
      if (event.type === 'caption-end') return [event, ...event.others].map(({ caption }) => caption);
      if (event.type === 'caption-error') throw new AvocadoError(event.code, event.message);
    }
    throw new AvocadoError('aborted', 'The check of a caption was cancelled.');
  }
}

/** A line is looked for in the transcript; a claim of speech that quotes nothing is not. */
function rateOf({ sense, line }: Claim, transcript: readonly string[]): number | undefined {
  return sense !== 'speech' || line === undefined ? undefined : lineErrorRate(wordsOf(line), transcript);
}

function linesOf(claims: readonly Claim[]): readonly string[] {
  return claims.flatMap(({ line }) => (line === undefined ? [] : wordsOf(line)));
}
