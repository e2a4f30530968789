// What this server may fetch (defence against server-side request forgery, SSRF): which URLs, hosts and IP addresses.
// Everything that is not allowed here is denied. No I/O: download.ts applies addressPolicy to what names resolve to.
import { isIP } from 'node:net';
import ipaddr from 'ipaddr.js';
import { AvocadoError } from '../base/errors.ts';

/** off: no URL is fetched; public: any host; otherwise only these hosts (`host`, `*.host`, `host:port`) */
export type UrlHosts = 'off' | 'public' | readonly string[];

/** Whether the host and port of a URL are allowed. Its addresses are checked separately. */
type HostPolicy = (url: URL) => boolean;

/** Whether a connection to this IP address is allowed. Text that is not an address is not allowed. */
export type AddressPolicy = (address: string) => boolean;

/** The checks that a URL must pass before its name is resolved. */
export interface UrlPolicy {
  /** @throws AvocadoError `bad_request`, `media_forbidden_host` */
  read(text: string, param: string): URL;
  /** The target of a redirect. @throws AvocadoError `media_forbidden_host`, `media_unreachable` */
  follow(from: URL, location: string | undefined): URL;
}

/** Longer URLs occur only in attacks and by mistake. */
const MAX_URL_CHARACTERS = 8192;
/** Names that mean this machine, whatever a resolver says (RFC 6761, section 6.3). */
const LOCALHOST = /(^|\.)localhost\.?$/;

/** `hosts` undefined: this server fetches no URLs. */
export function urlPolicy(hosts: HostPolicy | undefined, allowsAddress: AddressPolicy): UrlPolicy {
  /** @returns why the URL is refused, as the end of a sentence; undefined = it is allowed */
  const fault = (url: URL): string | undefined => {
    if (url.protocol !== 'https:' && url.protocol !== 'http:') return 'is neither https: nor http:';
    if (url.username !== '' || url.password !== '')
      return 'holds a user name or a password, which this server does not send';
    if (hosts?.(url) !== true) return 'names a host or a port this server does not fetch from';
    // A host that is an address is not resolved, so it is checked here; the URL parser has normalised its spelling.
    const host = bareHost(url.hostname);
    const address = LOCALHOST.test(host) ? '127.0.0.1' : host;
    return isIP(address) !== 0 && !allowsAddress(address)
      ? 'names an address this server does not fetch from'
      : undefined;
  };
  return {
    read: (text, param) => {
      const instead =
        param === 'webhook'
          ? 'Give another one; the operator opens more with --url-host and --allow-cidr.'
          : 'Upload the file instead.';
      if (hosts === undefined)
        throw new AvocadoError('media_forbidden_host', `This server fetches no URLs. ${instead}`, { param });
      const url = text.length > MAX_URL_CHARACTERS ? undefined : parseUrl(text);
      if (url === undefined)
        throw new AvocadoError(
          'bad_request',
          `This is not a URL of at most ${MAX_URL_CHARACTERS} characters. Write it like https://example.org/clip.mp4.`,
          { param },
        );
      const reason = fault(url);
      if (reason !== undefined)
        throw new AvocadoError('media_forbidden_host', `The URL ${reason}. ${instead}`, { param });
      return url;
    },
    follow: (from, location) => {
      const url = location === undefined || location.length > MAX_URL_CHARACTERS ? undefined : parseUrl(location, from);
      if (url === undefined)
        throw new AvocadoError(
          'media_unreachable',
          'The URL redirects without a valid target. Give the URL of the file itself.',
        );
      // The messages do not name the target: it may be a host of an internal network.
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

/**
 * `public` allows any host at its scheme's default port: other ports rarely serve media, but often databases.
 * @returns undefined when this server fetches no URLs
 * @throws AvocadoError `bad_request` for an entry that is not a host
 */
export function hostPolicy(urlHosts: UrlHosts): HostPolicy | undefined {
  if (urlHosts === 'off') return undefined;
  if (urlHosts === 'public') return (url) => url.port === '';
  const entries = urlHosts.map(parseHostEntry);
  return (url) => entries.some((allows) => allows(url));
}

/** One entry: `host`, `*.host`, either with `:port`. Without a port only the scheme's default port is allowed. */
function parseHostEntry(text: string): HostPolicy {
  const wildcard = text.startsWith('*.');
  const rest = wildcard ? text.slice(2) : text;
  const port = /:(\d{1,5})$/.exec(rest)?.[1];
  // Parsed as a URL, so that both sides are normalised alike: case, IDN, IPv6.
  const url = parseUrl(`http://${rest}/`);
  if (url === undefined || /[/?#@\\*\s]/.test(rest))
    throw new AvocadoError(
      'bad_request',
      `${text} is not a host: write it like media.example.org, *.example.org or example.org:8080.`,
    );
  const host = withoutFinalDot(url);
  return (asked) => {
    const name = withoutFinalDot(asked);
    if (port === undefined ? asked.port !== '' : Number(port) !== portOf(asked)) return false;
    return wildcard ? name.endsWith(`.${host}`) : name === host;
  };
}

/** `https://example.org.` and `https://example.org` are the same host. */
function withoutFinalDot(url: URL): string {
  return url.hostname.replace(/\.$/, '');
}

function portOf(url: URL): number {
  if (url.port !== '') return Number(url.port);
  return url.protocol === 'https:' ? 443 : 80;
}

type Address = ReturnType<typeof ipaddr.process>;
type Range = ReturnType<typeof ipaddr.parseCIDR>;

/** All IPv6 that is assigned to the public internet (RFC 4291); the rest is private or translates to other networks. */
const PUBLIC_V6 = ipaddr.parseCIDR('2000::/3');
/** A public number, but Azure answers there with metadata and secrets of the virtual machine. */
const AZURE_WIRE_SERVER = ipaddr.parseCIDR('168.63.129.16/32');

/**
 * Allows public addresses and those in `allowCidrs`. An IPv4 address mapped into IPv6 (::ffff:…) counts as IPv4.
 * @throws AvocadoError `bad_request` for text that is not a range
 */
export function addressPolicy(allowCidrs: readonly string[]): AddressPolicy {
  const allowed = allowCidrs.map(parseRange);
  return (text) => {
    const address = parseAddress(text);
    if (address === undefined) return false;
    return isPublic(address) || allowed.some((range) => isWithin(address, range));
  };
}

function isPublic(address: Address): boolean {
  if (address.range() !== 'unicast') return false;
  return address.kind() === 'ipv6' ? isWithin(address, PUBLIC_V6) : !isWithin(address, AZURE_WIRE_SERVER);
}

function isWithin(address: Address, [base, bits]: Range): boolean {
  return address.kind() === base.kind() && address.match(base, bits);
}

/** Stricter than ipaddr.js, which reads 127.1 and takes ::8.8.8.8 for ::ffff:8.8.8.8. A zone (%eth0) is refused. */
function parseAddress(text: string): Address | undefined {
  if (isIP(text) !== 6) return isIP(text) === 4 ? ipaddr.process(text) : undefined;
  const url = parseUrl(`http://[${text}]/`);
  return url === undefined ? undefined : ipaddr.process(bareHost(url.hostname));
}

/** What counts as one client: an IPv4 address, or an IPv6 network of 64 bits, all of whose addresses one client has. */
export function networkOf(text: string): string {
  const address = parseAddress(text);
  return address instanceof ipaddr.IPv6 ? address.parts.slice(0, 4).join(':') : (address?.toString() ?? text);
}

function parseRange(text: string): Range {
  // ipaddr.js also reads 10/8, but as 0.0.0.10/8.
  if (isIP(text.split('/')[0] ?? '') !== 0 && ipaddr.isValidCIDR(text)) return ipaddr.parseCIDR(text);
  throw new AvocadoError(
    'bad_request',
    `${text} is not a range of addresses: write it like 10.1.0.0/16 or fd00:1::/32.`,
  );
}

/** @returns undefined for text that is not a URL */
export function parseUrl(text: string, base?: URL): URL | undefined {
  return URL.canParse(text, base?.href) ? new URL(text, base) : undefined;
}

/** The parts of a URL that may be shown and logged: no credentials, and no query, which may hold a signature. */
export function redactedUrl({ protocol, host, pathname }: URL): string {
  return `${protocol}//${host}${pathname}`;
}

/** An IPv6 address without its brackets. */
export function bareHost(hostname: string): string {
  return hostname.replace(/^\[(.*)\]$/, '$1');
}
