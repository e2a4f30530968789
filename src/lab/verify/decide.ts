// From evidence to verdicts. Pure: which claims are flagged, why, and the counts.
import type { Claim } from './claims.ts';

/** What was found out about one claim; undefined = it was not tried, or could not be. */
export interface Evidence {
  /** a caption of the clip without its sound states it too */
  readonly muted?: boolean | undefined;
  /** a caption of the clip without its pictures states it too */
  readonly blanked?: boolean | undefined;
  /** how many of the sampled captions of the whole clip state it */
  readonly repeated?: number | undefined;
  /** words of the line that the transcript has otherwise, as a share of the line's */
  readonly lineErrorRate?: number | undefined;
}

export const REASONS = [
  'survives_muting',
  'survives_blanking',
  'no_sound',
  'not_repeated',
  'not_in_transcript',
] as const;
export type Reason = (typeof REASONS)[number];

/** unchecked: no check that applies to it was made. */
export type Verdict = 'supported' | 'unsupported' | 'unchecked';

export interface JudgedClaim extends Claim {
  readonly verdict: Verdict;
  readonly reasons: readonly Reason[];
  readonly evidence: Evidence;
}

export interface Rules {
  /** sampled captions that were made */
  readonly samples: number;
  /** share of them that must state a claim */
  readonly agreement: number;
  /** a quoted line may differ so much from the transcript */
  readonly mostLineErrors: number;
  /** the model heard a sound track */
  readonly hasSound: boolean;
}

/** Two of three samples (self-consistency), and half of a line's words. */
export const DEFAULT_RULES = { agreement: 0.5, mostLineErrors: 0.5 } as const;

/**
 * A claim is flagged when any evidence speaks against it. That a claim survives the loss of the sense it rests on says
 * that the model would state it of any clip; one that the samples all repeat may do so by chance, so it carries its
 * reason and a person decides.
 */
export function judgeClaim(claim: Claim, evidence: Evidence, rules: Rules): JudgedClaim {
  const { sense } = claim;
  const isHeard = sense === 'sound' || sense === 'speech';
  const { muted, blanked, repeated, lineErrorRate } = evidence;
  const found: Record<Reason, boolean | undefined> = {
    survives_muting: isHeard ? muted : undefined,
    survives_blanking: sense === 'sight' ? blanked : undefined,
    no_sound: isHeard && !rules.hasSound ? true : undefined,
    not_repeated: repeated === undefined ? undefined : repeated < rules.agreement * rules.samples,
    not_in_transcript: lineErrorRate === undefined ? undefined : lineErrorRate > rules.mostLineErrors,
  };
  const reasons = REASONS.filter((reason) => found[reason] === true);
  const isTried = REASONS.some((reason) => found[reason] !== undefined);
  const verdict = reasons.length > 0 ? 'unsupported' : isTried ? 'supported' : 'unchecked';
  return { ...claim, verdict, reasons, evidence };
}

export interface ClaimCounts {
  readonly claims: number;
  readonly supported: number;
  readonly unsupported: number;
  readonly unchecked: number;
}

export function countClaims(claims: readonly JudgedClaim[]): ClaimCounts {
  const count = (verdict: Verdict): number => claims.filter((claim) => claim.verdict === verdict).length;
  return {
    claims: claims.length,
    supported: count('supported'),
    unsupported: count('unsupported'),
    unchecked: count('unchecked'),
  };
}
