import { isIP } from 'node:net';
import ipaddr from 'ipaddr.js';
import { AvocadoError } from '../base/errors.ts';
import { bareHost, parseUrl } from './url-text.ts';

/** Whether a connection to this address may be made. Anything that is not an address may not. */
export type AddressPolicy = (address: string) => boolean;

type Address = ReturnType<typeof ipaddr.process>;
type Range = ReturnType<typeof ipaddr.parseCIDR>;

/** All that is assigned for the public internet (RFC 4291): everything beside it is somebody's own network or a way into one. */
const PUBLIC_V6 = ipaddr.parseCIDR('2000::/3');
/** Public by its number, yet it is Azure's host that answers there, with secrets of the machine. */
const CLOUD_HOST = ipaddr.parseCIDR('168.63.129.16/32');

function isWithin(address: Address, [base, bits]: Range): boolean {
  return address.kind() === base.kind() && address.match(base, bits);
}

function isPublic(address: Address): boolean {
  if (address.range() !== 'unicast') return false;
  return address.kind() === 'ipv6' ? isWithin(address, PUBLIC_V6) : !isWithin(address, CLOUD_HOST);
}

/**
 * Public addresses, and those of `allowCidrs`. An IPv4 address inside an IPv6 one (::ffff:…) counts as what it is.
 * @throws AvocadoError `bad_request` for a range that is none
 */
export function addressPolicy(allowCidrs: readonly string[]): AddressPolicy {
  const allowed = allowCidrs.map(parseRange);
  return (text) => {
    const address = parseAddress(text);
    if (address === undefined) return false;
    return isPublic(address) || allowed.some((range) => isWithin(address, range));
  };
}

/** As one of its forms only: ipaddr.js also reads 127.1, and takes ::8.8.8.8 for ::ffff:8.8.8.8. An address that needs a zone is none for us. */
function parseAddress(text: string): Address | undefined {
  if (isIP(text) !== 6) return isIP(text) === 4 ? ipaddr.process(text) : undefined;
  const url = parseUrl(`http://[${text}]/`);
  return url === undefined ? undefined : ipaddr.process(bareHost(url.hostname));
}

function parseRange(text: string): Range {
  // ipaddr.js also reads 10/8, as 0.0.0.10/8, which nobody means.
  if (isIP(text.split('/')[0] ?? '') !== 0 && ipaddr.isValidCIDR(text)) return ipaddr.parseCIDR(text);
  throw new AvocadoError('bad_request', `${text} is no range of addresses: write it like 10.1.0.0/16 or fd00:1::/32.`);
}
