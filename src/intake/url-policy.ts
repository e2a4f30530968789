import { isIP } from 'node:net';
import { AvocadoError } from '../base/errors.ts';
import type { AddressPolicy } from './address-policy.ts';
import type { HostPolicy } from './host-policy.ts';
import { bareHost, parseUrl } from './url-text.ts';

/** What a URL has to pass before anybody is asked for its address. */
export interface UrlPolicy {
  /** @throws AvocadoError `bad_request`, `media_forbidden_host` */
  read(text: string, param: string): URL;
  /** Where a redirect leads to. @throws AvocadoError `media_forbidden_host`, `media_unreachable` */
  follow(from: URL, location: string | undefined): URL;
}

/** Longer ones exist only in attacks and in signatures gone wrong. */
const MAX_URL_CHARACTERS = 8192;
/** Names that mean this machine, whatever a resolver says (RFC 6761). */
const LOCALHOST = /(^|\.)localhost\.?$/;

/** `hosts` undefined: this server fetches nothing. */
export function urlPolicy(hosts: HostPolicy | undefined, allowsAddress: AddressPolicy): UrlPolicy {
  /** @returns what speaks against it, if anything does */
  const fault = (url: URL): string | undefined => {
    if (url.protocol !== 'https:' && url.protocol !== 'http:') return 'is neither https: nor http:';
    if (url.username !== '' || url.password !== '')
      return 'holds a user name or a password, which this server does not send';
    if (hosts?.(url) !== true) return 'names a host or a port this server does not fetch from';
    // A host that is an address is never looked up, so it is looked at here. The URL parser has undone every other way to write it.
    const host = bareHost(url.hostname);
    const address = LOCALHOST.test(host) ? '127.0.0.1' : host;
    return isIP(address) !== 0 && !allowsAddress(address)
      ? 'names an address this server does not fetch from'
      : undefined;
  };
  return {
    read: (text, param) => {
      if (hosts === undefined)
        throw new AvocadoError('media_forbidden_host', 'This server fetches no URLs. Upload the file instead.', {
          param,
        });
      const url = text.length > MAX_URL_CHARACTERS ? undefined : parseUrl(text);
      if (url === undefined)
        throw new AvocadoError(
          'bad_request',
          `This is no URL of at most ${MAX_URL_CHARACTERS} characters. Write it like https://example.org/clip.mp4.`,
          { param },
        );
      const reason = fault(url);
      if (reason !== undefined)
        throw new AvocadoError('media_forbidden_host', `The URL ${reason}. Upload the file instead.`, { param });
      return url;
    },
    follow: (from, location) => {
      const url = location === undefined || location.length > MAX_URL_CHARACTERS ? undefined : parseUrl(location, from);
      if (url === undefined)
        throw new AvocadoError('media_unreachable', 'The URL redirects to nowhere. Give the URL of the file itself.');
      // Where it leads to may be a name of somebody's inner network, so it is not told.
      if (from.protocol === 'https:' && url.protocol === 'http:')
        throw new AvocadoError(
          'media_forbidden_host',
          'The URL redirects from https: to http:. Give the URL of the file itself.',
        );
      const reason = fault(url);
      if (reason !== undefined)
        throw new AvocadoError(
          'media_forbidden_host',
          `The URL redirects to one that ${reason}. Upload the file instead.`,
        );
      return url;
    },
  };
}
