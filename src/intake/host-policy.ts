import { AvocadoError } from '../base/errors.ts';
import type { IntakeConfig } from './intake-config.ts';
import { parseUrl } from './url-text.ts';

/** Whether a URL's host and port may be asked at all; its addresses are another matter. */
export type HostPolicy = (url: URL) => boolean;

/** `https://example.org.` and `https://example.org` are one host. */
function hostOf(url: URL): string {
  return url.hostname.replace(/\.$/, '');
}

/** One entry: `host`, `*.host`, either with `:port`. Without a port only the scheme's own is meant. */
function parseEntry(text: string): HostPolicy {
  const wildcard = text.startsWith('*.');
  const rest = wildcard ? text.slice(2) : text;
  const port = /:(\d{1,5})$/.exec(rest)?.[1];
  // Through the URL parser, so that both sides are written alike: case, IDN, IPv6.
  const url = parseUrl(`http://${rest}/`);
  if (url === undefined || /[/?#@\\*\s]/.test(rest))
    throw new AvocadoError(
      'bad_request',
      `${text} is no host: write it like media.example.org, *.example.org or example.org:8080.`,
    );
  const host = hostOf(url);
  return (asked) => {
    const named = hostOf(asked);
    if (port === undefined ? asked.port !== '' : Number(port) !== portOf(asked)) return false;
    return wildcard ? named.endsWith(`.${host}`) : named === host;
  };
}

function portOf(url: URL): number {
  if (url.port !== '') return Number(url.port);
  return url.protocol === 'https:' ? 443 : 80;
}

/**
 * 'public' means any host at its scheme's own port: other ports are rarely media, and often somebody's database.
 * @returns undefined when nothing is fetched
 * @throws AvocadoError `bad_request` for an entry that is no host
 */
export function hostPolicy(urlHosts: IntakeConfig['urlHosts']): HostPolicy | undefined {
  if (urlHosts === 'off') return undefined;
  if (urlHosts === 'public') return (url) => url.port === '';
  const entries = urlHosts.map(parseEntry);
  return (url) => entries.some((allows) => allows(url));
}
