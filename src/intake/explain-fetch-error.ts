/** By undici's and Node's codes and names, since their messages may hold addresses. */
const REASONS: readonly (readonly [code: RegExp, reason: string])[] = [
  [/^(ENOTFOUND|EAI_)/, 'names a host that cannot be found'],
  [/^(ECONNREFUSED|EHOSTUNREACH|ENETUNREACH|EADDRNOTAVAIL)$/, 'takes no connections'],
  [/^(UND_ERR_CONNECT_TIMEOUT|ETIMEDOUT)$/, 'does not answer'],
  [/^UND_ERR_(HEADERS|BODY)_TIMEOUT$/, 'stopped sending'],
  [/^UND_ERR_HEADERS_OVERFLOW$/, 'sends too many headers'],
  [/^UND_ERR_RES_CONTENT_LENGTH_MISMATCH$/, 'sent another number of bytes than it said'],
  [/^(UND_ERR_SOCKET|ECONNRESET|EPIPE)$/, 'broke off'],
  [/^HTTPParserError$/, 'does not answer as an HTTP server'],
  [/CERT|TLS|SSL|SIGNATURE/, 'has no certificate this server trusts'],
];

/** Why a download failed, as the end of a sentence that begins with the URL. */
export function explainFetchError(thrown: unknown): string {
  // Several addresses tried: each has its own error.
  const errors: unknown[] = thrown instanceof AggregateError ? thrown.errors : [thrown];
  const codes = errors.flatMap((error) =>
    error instanceof Error ? [String((error as NodeJS.ErrnoException).code), error.name] : [],
  );
  const found = REASONS.find(([pattern]) => codes.some((code) => pattern.test(code)));
  return found?.[1] ?? 'could not be fetched';
}
