// URLs that this server must not fetch (SSRF). Real sockets; only the names are invented.
import type { LookupAddress } from 'node:dns';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import type { Resolve } from '../../src/intake/download.ts';
import { FORBIDDEN_HOSTS, FORBIDDEN_URLS } from '../fixtures/hostile-urls.ts';
import { openedIntake, openSource, type OpenedIntake } from '../fixtures/opened-intake.ts';
import { rawServer, rawTlsServer, trap, type RawServer } from '../fixtures/raw-server.ts';
import { selfSigned } from '../fixtures/self-signed.ts';

let snare: RawServer;
beforeAll(async () => {
  snare = await trap();
});
afterAll(async () => {
  await snare.close();
});

const atSnare = (url: string): string => url.replaceAll('PORT', String(snare.port));

/** The URLs' own hosts and ports, to be allowed: only the address check is left to refuse them. */
function hostsOf(urls: readonly string[]): string[] {
  return urls
    .filter((url) => URL.canParse(url))
    .map((url) => new URL(url))
    .filter(({ host }) => host !== '')
    .map((url) => (url.port === '' ? url.host : `${url.hostname}:${url.port}`));
}

async function nothingIsLeft(intake: OpenedIntake): Promise<void> {
  expect({ files: await intake.files(), use: intake.use() }).toMatchObject({
    files: [],
    use: { usedBytes: 0, files: 0 },
  });
}

function addresses(...texts: string[]): readonly LookupAddress[] {
  return texts.map((address) => ({ address, family: address.includes(':') ? 6 : 4 }));
}

/** A resolver with fixed answers; a name with several answers gives one per lookup, the last for ever. */
function resolver(
  names: Readonly<Record<string, readonly LookupAddress[][]>>,
): Resolve & { readonly asked: () => string[] } {
  const asked: string[] = [];
  const resolve = async (hostname: string): Promise<readonly LookupAddress[]> => {
    const answers = names[hostname] ?? [];
    const answer = answers[Math.min(asked.filter((name) => name === hostname).length, answers.length - 1)];
    asked.push(hostname);
    return answer ?? [];
  };
  return Object.assign(resolve, { asked: () => asked });
}

describe('a forbidden address', () => {
  let intake: OpenedIntake;
  const urls = (): string[] =>
    [...FORBIDDEN_HOSTS.map(([, host]) => `http://${host}:PORT/clip.mp4`), ...FORBIDDEN_URLS.map(([url]) => url)].map(
      atSnare,
    );
  beforeAll(async () => {
    intake = await openedIntake({ urlHosts: hostsOf(urls()) });
  });
  afterAll(async () => {
    await intake.close();
  });

  it.each(FORBIDDEN_HOSTS)('is not contacted: %s, %j', async (_what, host) => {
    const error = await intake.errorOf(atSnare(`http://${host}:PORT/clip.mp4`));
    expect([error?.code, error?.param, snare.connections()]).toEqual(['media_forbidden_host', 'media', 0]);
    await nothingIsLeft(intake);
  });

  it.each(FORBIDDEN_URLS)('is not contacted: %j is %s', async (url, code) => {
    const error = await intake.errorOf(atSnare(url));
    expect([error?.code, error?.param, snare.connections()]).toEqual([code, 'media', 0]);
    expect(error!.message).not.toMatch(/secret/);
    await nothingIsLeft(intake);
  });

  it.each([
    ['loopback', addresses('127.0.0.1')],
    ['IPv6 loopback', addresses('::1')],
    ['mapped loopback', addresses('::ffff:127.0.0.1')],
    ['no address', addresses('0.0.0.0')],
    ['the metadata service', addresses('169.254.169.254')],
    ['a link-local address with its zone', addresses('fe80::1%lo')],
    ['a public and a private address', addresses('93.184.216.34', '10.0.0.1')],
    ['a private and a public address', addresses('fd00::1', '2606:2800:220:1::1')],
    ['what is no address', addresses('localhost')],
  ])('is not contacted through a name that resolves to %s', async (_what, answer) => {
    const named = await openedIntake(
      { urlHosts: [`media.test:${snare.port}`] },
      { resolve: resolver({ 'media.test': [[...answer]] }) },
    );
    const error = await named.errorOf(atSnare('http://media.test:PORT/clip.mp4?token=1'));
    expect([error?.code, error?.param, snare.connections()]).toEqual(['media_forbidden_host', 'media', 0]);
    expect(error!.message).not.toMatch(/\d+\.\d+\.\d+|::|token/);
    await named.close();
  });

  it('is contacted when allowed: the trap works', async () => {
    const other = await trap();
    const local = ['127.0.0.1', '2130706433', '①②⑦.⓪.⓪.①', '127.0.0.2', '0.0.0.0', '[::ffff:127.0.0.1]'];
    const reached = local.map((host) => `http://${host}:${other.port}/`);
    const open = await openedIntake({ urlHosts: hostsOf(reached), allowCidrs: ['0.0.0.0/0'] }, { fetchIdleMs: 50 });
    const errors = await Promise.all(reached.map((url) => open.errorOf(url)));
    expect(errors.map((error) => error?.code)).toEqual(reached.map(() => 'media_unreachable'));
    expect(other.connections()).toBe(local.length);
    await open.close();
    await other.close();
  });
});

describe('the list of hosts', () => {
  it('public: any host at its default port only; other names are not looked up', async () => {
    const resolve = resolver({});
    const intake = await openedIntake({}, { resolve });
    for (const port of [22, 25, 6379, 8080, 9200])
      expect((await intake.errorOf(`http://media.test:${port}/`))?.code).toBe('media_forbidden_host');
    expect((await intake.errorOf('https://media.test:80/'))?.code).toBe('media_forbidden_host');
    expect(resolve.asked()).toEqual([]);
    expect((await intake.errorOf('https://media.test:443/'))?.code).toBe('media_unreachable');
    expect(resolve.asked()).toEqual(['media.test']);
    await intake.close();
  });

  it('off: no URL is fetched', async () => {
    const resolve = resolver({});
    const intake = await openedIntake({ urlHosts: 'off' }, { resolve });
    expect((await intake.errorOf('https://media.test/clip.mp4'))?.code).toBe('media_forbidden_host');
    expect(resolve.asked()).toEqual([]);
    await intake.close();
  });

  it.each(['a.test.evil.test', 'evil-a.test', 'xa.test', 'b.test', 'sub.a.test', 'wild.test', 'wild.test.evil.test'])(
    'denies %s',
    async (host) => {
      const resolve = resolver({});
      const intake = await openedIntake({ urlHosts: ['a.test', '*.wild.test', 'port.test:8080'] }, { resolve });
      expect((await intake.errorOf(`http://${host}/`))?.code).toBe('media_forbidden_host');
      expect(resolve.asked()).toEqual([]);
      await intake.close();
    },
  );
});

describe('a redirect', () => {
  const TARGETS = [
    ...[
      '127.0.0.2',
      '127.1.1.1',
      '[::1]',
      '0.0.0.0',
      '2130706434',
      '[::ffff:127.0.0.2]',
      '①②⑦.⓪.⓪.②',
      'localhost',
      'inner.test',
      '10.0.0.1',
      '192.168.0.1',
      '172.16.0.1',
      '169.254.169.254',
      '100.64.0.1',
      '[fd00::1]',
      '[fe80::1]',
      '[2002:7f00:1::]',
      '[64:ff9b::7f00:1]',
    ].map((host) => `http://${host}:PORT/`),
    '//127.0.0.2:PORT/',
    'file:///etc/passwd',
    'ftp://127.0.0.1:PORT/',
    'data:video/mp4;base64,AAAA',
    'media://films/a.mp4',
    'http://user:pw@media.test/',
    'http://elsewhere.test/',
    'http://media.test:1/',
  ];
  let server: RawServer;
  let intake: OpenedIntake;
  const answers: Record<string, string> = {};
  beforeAll(async () => {
    server = await rawServer((socket, path) => {
      socket.end(answers[path] ?? redirect(path.replace(/\d*$/, (hop) => String(Number(hop) + 1))));
    });
    const resolve = resolver({
      'media.test': [[...addresses('127.0.0.1')]],
      'inner.test': [[...addresses('10.0.0.7')]],
      localhost: [[...addresses('::1', '127.0.0.1')]],
    });
    const targets = hostsOf(TARGETS.map(atSnare)).filter(
      (host) => !host.startsWith('elsewhere') && host !== 'media.test:1',
    );
    intake = await openedIntake(
      { urlHosts: [`media.test:${server.port}`, ...targets], allowCidrs: ['127.0.0.1/32'] },
      { resolve },
    );
  });
  afterAll(async () => {
    await intake.close();
    await server.close();
  });
  const redirect = (location: string, status = 302): string =>
    `HTTP/1.1 ${status} Found\r\nLocation: ${location}\r\nContent-Length: 0\r\n\r\n`;
  const ask = (path: string): ReturnType<OpenedIntake['errorOf']> =>
    intake.errorOf(`http://media.test:${server.port}${path}`);

  it.each(TARGETS)('to %j is not followed', async (target) => {
    // Header bytes are latin1: other characters come percent-escaped, as servers send them.
    const location = encodeURI(atSnare(target)).replace('%5B', '[').replace('%5D', ']');
    for (const status of [301, 302, 303, 307, 308]) {
      answers['/start'] = redirect(location, status);
      const error = await ask('/start');
      expect([error?.code, error?.param, snare.connections()]).toEqual(['media_forbidden_host', 'media', 0]);
      expect(error!.message).not.toMatch(/127|10\.0|inner|elsewhere|passwd/);
    }
    await nothingIsLeft(intake);
  });

  it('is followed five times, not six', async () => {
    answers['/chain/5'] = 'HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc';
    const before = server.connections();
    expect(await ask('/chain/0')).toBeUndefined();
    expect(server.connections() - before).toBe(6);
    expect((await ask('/endless/0'))?.code).toBe('media_unreachable');
    expect(server.connections() - before).toBe(12);
  });

  it.each([
    ['to itself', 'HTTP/1.1 302 Found\r\nLocation: /self\r\n\r\n'],
    ['without a Location', 'HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n'],
    ['with two Locations', 'HTTP/1.1 302 Found\r\nLocation: /a\r\nLocation: /b\r\nContent-Length: 0\r\n\r\n'],
    ['to no URL', 'HTTP/1.1 302 Found\r\nLocation: http://[::1\r\nContent-Length: 0\r\n\r\n'],
  ])('%s ends', async (_what, answer) => {
    answers['/self'] = answer;
    expect((await ask('/self'))?.code).toBe('media_unreachable');
    await nothingIsLeft(intake);
  });

  it('from https: to http: is not followed; within https: it is', async () => {
    const signed = selfSigned('media.test');
    const paths: Record<string, string> = {
      '/down': redirect(`http://media.test:${server.port}/chain/5`),
      '/up': redirect('/file'),
      '/file': 'HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc',
    };
    const secure = await rawTlsServer(signed, (socket, path) => {
      socket.end(paths[path]!);
    });
    const resolve = resolver({ 'media.test': [[...addresses('127.0.0.1')]] });
    const settings = {
      urlHosts: [`media.test:${server.port}`, `media.test:${secure.port}`],
      allowCidrs: ['127.0.0.1/32'],
    };
    const trusting = await openedIntake(settings, { resolve, certificateAuthorities: signed.certificate });
    expect(await trusting.errorOf(`https://media.test:${secure.port}/up`)).toBeUndefined();
    const before = server.connections();
    const down = await trusting.errorOf(`https://media.test:${secure.port}/down`);
    expect([down?.code, server.connections() - before]).toEqual(['media_forbidden_host', 0]);
    const doubtful = await openedIntake(settings, { resolve });
    const error = await doubtful.errorOf(`https://media.test:${secure.port}/file`);
    expect([error?.code, error?.message]).toEqual([
      'media_unreachable',
      expect.stringContaining('no certificate this server trusts'),
    ]);
    await trusting.close();
    await doubtful.close();
    await secure.close();
  });
});

describe('a name that changes its address', () => {
  it('is connected at the address that was checked: one lookup per connection', async () => {
    const body = 'HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc';
    const server = await rawServer((socket, path) => {
      socket.end(
        path === '/again' ? `HTTP/1.1 302 Found\r\nLocation: http://rebind.test:${server.port}/file\r\n\r\n` : body,
      );
    });
    const settings = {
      urlHosts: [`rebind.test:${server.port}`, `rebind.test:${snare.port}`],
      allowCidrs: ['127.0.0.1/32'],
    };
    const resolve = resolver({ 'rebind.test': [[...addresses('127.0.0.1')], [...addresses('127.0.0.2')]] });
    const intake = await openedIntake(settings, { resolve });
    expect(await intake.errorOf(`http://rebind.test:${server.port}/file`)).toBeUndefined();
    expect(resolve.asked()).toEqual(['rebind.test']);
    const again = await openedIntake(settings, {
      resolve: resolver({ 'rebind.test': [[...addresses('127.0.0.1')], [...addresses('127.0.0.2')]] }),
    });
    expect((await again.errorOf(`http://rebind.test:${server.port}/again`))?.code).toBe('media_forbidden_host');
    expect((await again.errorOf(atSnare('http://rebind.test:PORT/')))?.code).toBe('media_forbidden_host');
    expect([server.connections(), snare.connections()]).toEqual([2, 0]);
    await intake.close();
    await again.close();
    await server.close();
  });
});

describe('what is allowed', () => {
  it('is fetched and hashed, with progress, ignoring proxies of the environment', async () => {
    const proxy = await trap();
    const server = await rawServer((socket, _path, head) => {
      expect(head).toMatch(/^GET \/films\/a%20b.mp4\?token=secret HTTP\/1.1\r\n/);
      expect(head.toLowerCase()).toContain('accept-encoding: identity\r\n');
      socket.end('HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc');
    });
    for (const name of ['http_proxy', 'HTTP_PROXY']) vi.stubEnv(name, `http://127.0.0.1:${proxy.port}`);
    vi.stubEnv('NODE_USE_ENV_PROXY', '1');
    const intake = await openedIntake(
      { urlHosts: [`media.test:${server.port}`], allowCidrs: ['127.0.0.1/32'] },
      { resolve: resolver({ 'media.test': [[...addresses('127.0.0.1')]] }) },
    );
    const source = intake.fromReference(`http://media.test:${server.port}/films/a b.mp4?token=secret#x`, 'media');
    expect([source.kind, source.displayName]).toEqual(['url', `http://media.test:${server.port}/films/a%20b.mp4`]);
    const progress: unknown[] = [];
    const file = await source.open({
      signal: new AbortController().signal,
      onProgress: (done, total) => progress.push([done, total]),
    });
    expect(file.contentHash).toBe('ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad');
    expect(file.path).toMatch(/\.mp4$/);
    expect(progress.at(-1)).toEqual([3, 3]);
    expect(await openSource(source)).toEqual(file); // once is enough
    expect([server.connections(), proxy.connections(), intake.use()]).toEqual([
      1,
      0,
      { usedBytes: 3, limitBytes: 10_000_000, files: 1 },
    ]);
    await source.release();
    await source.release();
    await nothingIsLeft(intake);
    vi.unstubAllEnvs();
    await intake.close();
    await server.close();
    await proxy.close();
  });
});
