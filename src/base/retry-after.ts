// The header Retry-After of HTTP.

/** Nobody waits for a day because of one header, and setTimeout knows no more than 24 of them. */
const MOST_MS = 3600_000;

/** Seconds or a date → milliseconds from now. It may be 0: a caller that tries again and again adds its own pause. */
export function retryAfterMs(header: string | null, now: number): number | undefined {
  if (header === null || header.trim() === '') return undefined;
  const seconds = Number(header);
  const wait = Number.isFinite(seconds) ? seconds * 1000 : Date.parse(header) - now;
  return Number.isFinite(wait) ? Math.min(MOST_MS, Math.max(0, wait)) : undefined;
}
