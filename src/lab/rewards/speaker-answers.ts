/**
 * Reads `Yes No Yes`: one word for each pair of speakers.
 * @returns undefined when there are not exactly `pairs` of them
 */
export function parseSpeakerAnswers(reply: string, pairs: number): boolean[] | undefined {
  const words = reply
    .split(/\s+/)
    .map((word) => /^\W*(yes|no)\b/i.exec(word)?.[1]?.toLowerCase())
    .filter((word) => word !== undefined);
  return words.length === pairs ? words.map((word) => word === 'yes') : undefined;
}
