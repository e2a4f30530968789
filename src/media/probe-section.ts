// The lines of ffprobe's compact output, and the numbers in them. Pure.

/** A stream or the container, as ffprobe prints it; what it does not know is absent. */
export type Section = Readonly<Partial<Record<string, string>>>;

/** ffprobe's words for what it does not know. */
const UNKNOWN = new Set(['N/A', 'unknown', '']);

/** The fields of one line of ffprobe's compact output. */
export function readSection(line: string): Section {
  const fields = line.split('|').slice(1);
  const pairs = fields.map((field) => {
    const at = field.indexOf('=');
    return [field.slice(0, at), field.slice(at + 1)] as const;
  });
  return Object.fromEntries(pairs.filter(([, value]) => !UNKNOWN.has(value)));
}

/** A number of at least 0; 0 where there is none. */
export function count(text: string | undefined): number {
  return Math.max(0, number(text) ?? 0);
}

/** Undefined where there is none. */
export function number(text: string | undefined): number | undefined {
  const value = Number(text);
  return text !== undefined && Number.isFinite(value) ? value : undefined;
}

/** A fraction of two positive numbers. */
export function rate(text: string | undefined): number | undefined {
  const [numerator = 0, denominator = 0] = (text ?? '').split('/').map(Number);
  return numerator > 0 && denominator > 0 ? numerator / denominator : undefined;
}
