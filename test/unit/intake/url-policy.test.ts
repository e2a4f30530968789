import { describe, expect, it } from 'vitest';
import { AvocadoError } from '../../../src/base/errors.ts';
import { addressPolicy, hostPolicy } from '../../../src/intake/url-policy.ts';

describe('addressPolicy', () => {
  it.each([
    '8.8.8.8',
    '1.1.1.1',
    '9.255.255.255',
    '11.0.0.0',
    '100.63.255.255',
    '100.128.0.0',
    '126.255.255.255',
    '128.0.0.1',
    '169.253.255.255',
    '172.15.255.255',
    '172.32.0.0',
    '192.167.255.255',
    '192.169.0.0',
    '198.17.255.255',
    '198.20.0.0',
    '223.255.255.255',
    '168.63.129.15',
    '168.63.129.17',
    '2001:4860:4860::8888',
    '2606:4700::1111',
    '2a00:1450::1',
    '::ffff:8.8.8.8',
  ])('allows the public %s', (address) => {
    expect(addressPolicy([])(address)).toBe(true);
  });

  it.each([
    '0.0.0.0',
    '0.255.255.255',
    '10.0.0.0',
    '10.255.255.255',
    '100.64.0.0',
    '100.127.255.255',
    '127.0.0.0',
    '127.255.255.255',
    '168.63.129.16',
    '169.254.0.0',
    '169.254.169.254',
    '172.16.0.0',
    '172.31.255.255',
    '192.0.0.1',
    '192.0.2.1',
    '192.88.99.1',
    '192.168.0.0',
    '192.168.255.255',
    '198.18.0.0',
    '198.19.255.255',
    '198.51.100.1',
    '203.0.113.1',
    '224.0.0.1',
    '239.255.255.255',
    '240.0.0.1',
    '255.255.255.255',
    '::',
    '::1',
    '::7f00:1',
    '::8.8.8.8',
    '::ffff:10.0.0.1',
    '::ffff:169.254.169.254',
    '::ffff:168.63.129.16',
    '::ffff:0:8.8.8.8',
    '64:ff9b::8.8.8.8',
    '64:ff9b:1::1',
    '100::1',
    '2001::1',
    '2001:2::1',
    '2001:db8::1',
    '2002::1',
    '3fff::1',
    '4000::1',
    '5f00::1',
    'fc00::1',
    'fdff::1',
    'fe80::1',
    'fe80::1%eth0',
    'fec0::1',
    'ff02::1',
  ])('denies %s', (address) => {
    expect(addressPolicy([])(address)).toBe(false);
  });

  it.each([
    '',
    '127.1',
    '2130706433',
    '0x7f.1',
    '010.0.0.1',
    '8.8.8.8.',
    ' 8.8.8.8',
    '8.8.8.8:80',
    '[::1]',
    'localhost',
    '8.8.8',
    '1.2.3.4/8',
    '::g',
  ])('denies %j, which is not an address', (text) => {
    expect(addressPolicy(['0.0.0.0/0', '::/0'])(text)).toBe(false);
  });

  it('allows the given ranges, and no other private address', () => {
    const allows = addressPolicy(['10.1.0.0/16', '127.0.0.1/32', 'fd00:1::/32', '168.63.129.16/32']);
    expect(
      ['10.1.0.0', '10.1.255.255', '127.0.0.1', '::ffff:127.0.0.1', 'fd00:1::5', '168.63.129.16', '8.8.8.8'].map(
        allows,
      ),
    ).toEqual(Array.from({ length: 7 }, () => true));
    expect(
      [
        '10.0.255.255',
        '10.2.0.0',
        '127.0.0.2',
        '::ffff:127.0.0.2',
        '::7f00:1',
        '64:ff9b::127.0.0.1',
        '2002:7f00:1::',
        'fd00:2::1',
      ].map(allows),
    ).toEqual(Array.from({ length: 8 }, () => false));
  });

  it.each(['10.0.0.0', '10/8', '0x7f.1/8', 'fd00:1/32', '10.0.0.0/33', '/8', 'example.org/8', '', '::/129'])(
    'refuses %j as a range, by name',
    (range) => {
      expect(() => addressPolicy(['10.0.0.0/8', range])).toThrow(AvocadoError);
      expect(() => addressPolicy([range])).toThrow(`${range} is not a range of addresses`);
    },
  );
});

describe('hostPolicy', () => {
  it.each([
    [
      'a.test',
      ['http://a.test/', 'https://A.TEST/', 'https://a.test:443/', 'http://a.test./'],
      ['http://a.test:8080/', 'https://a.test:80/', 'http://b.a.test/', 'http://ba.test/', 'http://a.test.evil/'],
    ],
    [
      '*.a.test',
      ['http://x.a.test/', 'https://x.y.a.test/'],
      ['http://a.test/', 'http://xa.test/', 'http://x.a.test:81/'],
    ],
    ['a.test:8080', ['http://a.test:8080/', 'https://a.test:8080/'], ['http://a.test/', 'http://a.test:8081/']],
    ['a.test:80', ['http://a.test/', 'https://a.test:80/'], ['https://a.test/']],
    ['*.a.test:9000', ['http://x.a.test:9000/'], ['http://a.test:9000/', 'http://x.a.test/']],
    ['Bücher.test', ['http://b%C3%BCcher.test/', 'http://xn--bcher-kva.test/'], ['http://bucher.test/']],
    ['127.0.0.1:81', ['http://127.1:81/', 'http://0x7f000001:81/'], ['http://127.0.0.1/', 'http://127.0.0.2:81/']],
    ['[::1]:81', ['http://[0:0::1]:81/'], ['http://[::1]/', 'http://[::2]:81/']],
  ])('%s', (entry, yes, no) => {
    const allows = hostPolicy([entry])!;
    expect(yes.filter((url) => !allows(new URL(url)))).toEqual([]);
    expect(no.filter((url) => allows(new URL(url)))).toEqual([]);
  });

  it('denies everything when off or empty, and allows only default ports when public', () => {
    expect(hostPolicy('off')).toBeUndefined();
    expect(hostPolicy([])!(new URL('http://a.test/'))).toBe(false);
    expect(
      ['http://a.test/', 'https://a.test/', 'http://a.test:8080/', 'https://a.test:80/'].map((url) =>
        hostPolicy('public')!(new URL(url)),
      ),
    ).toEqual([true, true, false, false]);
  });

  it.each([
    '',
    '*',
    '*.',
    'http://a.test',
    'a.test/path',
    'user@a.test',
    'a.*.test',
    'a b',
    '[::1',
    'a.test:99999',
    'a.test:x',
    'a.test?x',
    'a.test#x',
  ])('refuses %j as an entry', (entry) => {
    expect(() => hostPolicy([entry])).toThrow(AvocadoError);
  });
});
