import { describe, expect, it } from 'vitest';
import { AvocadoError } from '../../../src/base/errors.ts';
import { hostPolicy } from '../../../src/intake/host-policy.ts';

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

  it('lets nothing through when it is off or the list is empty, and only own ports when it is public', () => {
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
