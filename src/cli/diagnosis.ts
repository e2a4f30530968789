/** One thing the machine has or lacks. */
export interface Check {
  readonly name: string;
  readonly ok: boolean;
  /** without it no caption can be made; the others only make it faster */
  readonly needed: boolean;
  readonly value: string;
  /** what to do when it is not there */
  readonly advice?: string | undefined;
}

export interface Diagnosis {
  readonly checks: readonly Check[];
}

export function canCaption({ checks }: Diagnosis): boolean {
  return checks.every(({ ok, needed }) => ok || !needed);
}

/** The first thing to do, in one sentence. */
export function firstAdvice({ checks }: Diagnosis): string {
  const missing = checks.find(({ ok, needed }) => needed && !ok);
  return missing === undefined ? '' : `${missing.name}: ${missing.advice ?? missing.value}`;
}

function mark({ ok, needed }: Check): string {
  if (ok) return 'ok  ';
  return needed ? 'MISS' : 'none';
}

/** For people: one line a check, advice below it. */
export function diagnosisTable(diagnosis: Diagnosis): string {
  const width = Math.max(...diagnosis.checks.map(({ name }) => name.length));
  const lines = diagnosis.checks.map((check) => {
    const advice = check.ok || check.advice === undefined ? '' : `\n      ${' '.repeat(width)}→ ${check.advice}`;
    return `${mark(check)}  ${check.name.padEnd(width)}  ${check.value}${advice}\n`;
  });
  return lines.join('');
}
