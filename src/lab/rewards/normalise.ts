// What is done to spoken lines before they are compared. The paper mentions nothing, so case and punctuation count by default.

export const NORMALISATIONS = ['raw', 'basic'] as const;
export type Normalisation = (typeof NORMALISATIONS)[number];

const QUOTES: Readonly<Record<string, string>> = {
  '“': '"',
  '”': '"',
  '„': '"',
  '‘': "'",
  '’': "'",
  '「': '"',
  '」': '"',
  '『': '"',
  '』': '"',
};
const ONE_MARK_AT_END = /[.,!?。！？]$/u;

function basic(text: string): string {
  const plain = text
    .normalize('NFKC')
    .toLowerCase()
    .replace(/[“”„‘’「」『』]/gu, (quote) => QUOTES[quote] ?? quote)
    .replace(/\s+/gu, ' ')
    .trim();
  const unquoted = /^(["'])(.*)\1$/su.exec(plain)?.[2] ?? plain;
  return unquoted.trim().replace(ONE_MARK_AT_END, '').trim();
}

/** `raw`: NFC only, as the paper has it. `basic`: NFKC, lower case, straight quotes, none around it, single spaces, one mark less at its end. */
export function normalise(text: string, preset: Normalisation): string {
  return preset === 'raw' ? text.normalize('NFC') : basic(text);
}

/** Whether nothing is said: `…` or punctuation alone is no line. */
export function isWordless(text: string): boolean {
  return !/[\p{L}\p{N}\p{S}]/u.test(text);
}
