import assert from 'node:assert/strict';
import { chmodSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:https';
import { connect as connectTcp, type Socket } from 'node:net';
import { join } from 'node:path';
import { systemClock } from '../../../src/core/base/clock.ts';
import { seconds } from '../../../src/core/base/duration.ts';
import { AgentError } from '../../../src/core/base/errors.ts';
import { Network, type NetworkOptions } from '../../../src/core/network/network.ts';
import { ProxyError } from '../../../src/core/network/tunnel.ts';
import { CertificateAuthority } from '../../../src/emulator/certificates.ts';
import { HubEmulator } from '../../../src/emulator/hub.ts';
import { ProxyEmulator } from '../../../src/emulator/proxy.ts';
import { temporaryFolder } from '../../harness/folders.ts';
import { until } from '../../harness/until.ts';
import { HandClock, never, Sockets } from './bench.ts';

const USER = { name: 'us@er', password: 'p:ä S3cret' };

describe('Network, through a proxy', () => {
  let hub: HubEmulator;
  let proxy: ProxyEmulator;
  let sockets: Sockets;

  before(async () => {
    hub = await HubEmulator.start();
  });
  after(() => hub.stop());
  beforeEach(async () => {
    sockets = new Sockets();
    proxy = await ProxyEmulator.start();
    proxy.routeTo(hub);
  });
  afterEach(async () => {
    sockets.close();
    await proxy.stop();
  });

  const url = (user = '') => `http://${user}127.0.0.1:${proxy.port}`;
  const networkOf = (options: Partial<NetworkOptions>) =>
    new Network({ environment: {}, clock: systemClock, ...options });
  const connect = async (network: Network, port = 8883) =>
    sockets.keep(await network.connect({ host: hub.hostName, port, trustedCa: hub.caPem }, never));
  const passwordFile = (text = USER.password) => {
    const path = join(temporaryFolder(), 'proxy.password');
    writeFileSync(path, `${text}\n`, { mode: 0o600 });
    return path;
  };
  /** The error with which a connection fails; no text of it has the password. */
  const failure = async (network: Network, port?: number): Promise<ProxyError> => {
    const error = await connect(network, port).then(
      () => assert.fail('connected'),
      (thrown) => thrown,
    );
    assert.ok(error instanceof ProxyError, String(error));
    assert.equal(error.proxy, `127.0.0.1:${proxy.port}`);
    assert.ok(!JSON.stringify([error.message, error.stack, String(error.cause)]).includes('S3cret'));
    return error;
  };

  it('connects, and asks for port 443 by HTTPS', async () => {
    const network = networkOf({ proxy: url() });
    await connect(network);
    const target = { host: hub.hostName, port: 443, trustedCa: hub.caPem };
    const { status } = await network.request(target, { method: 'GET', path: '/devices/d/modules/m' }, never);
    assert.equal(status, 400);
    sockets.keep(await network.webSocket(target, never));
    assert.deepEqual(
      proxy.requests.map((request) => request.target),
      [`${hub.hostName}:8883`, `${hub.hostName}:443`, `${hub.hostName}:443`],
    );
  });

  it('sends user and password, and reads the password again for each connection', async () => {
    proxy.setUser(USER);
    const file = passwordFile('S3cret of before');
    const network = networkOf({ proxy: url('us%40er@'), proxyPasswordFile: file });
    const { status, passwordFile: named } = await failure(network);
    assert.deepEqual([status, named], [407, file]);
    writeFileSync(file, USER.password);
    await connect(network);
    assert.deepEqual(
      proxy.requests.map(({ user, status }) => [user, status]),
      [
        ['us@er', 407],
        ['us@er', 200],
      ],
    );
    chmodSync(file, 0o644);
    await assert.rejects(connect(network), { name: 'AgentError', id: 'SECRET_FILE_EXPOSED', exitStatus: 77 });
    assert.equal(proxy.requests.length, 2);
  });

  it('sends a user without a password', async () => {
    proxy.setUser({ name: 'user', password: '' });
    await connect(networkOf({ proxy: url('user@') }));
  });

  for (const [text, id] of [
    ['', 'SECRET_FILE_MALFORMED'],
    ['two\nlines', 'SECRET_FILE_MALFORMED'],
    ['x'.repeat(9_000), 'SECRET_FILE_MALFORMED'],
    [undefined, 'SECRET_FILE_MISSING'],
  ] as const) {
    it(`refuses a password file with ${JSON.stringify(text)?.slice(0, 20) ?? 'no file'} at the start`, () => {
      const file = text === undefined ? '/nonexistent/password' : passwordFile(text);
      assert.throws(() => networkOf({ proxy: url('user@'), proxyPasswordFile: file }), { id });
    });
  }

  it('derives from the status why the proxy refuses', async () => {
    const network = networkOf({ proxy: url() });
    for (const [behaviour, status] of [
      ['refuse', 403],
      ['unavailable', 502],
    ] as const) {
      proxy.behave(behaviour, '*:8883');
      const error = await failure(network);
      assert.equal(error.status, status);
      assert.match(error.message, new RegExp(`answered CONNECT ${hub.hostName}:8883 with ${status}$`));
    }
    await connect(network, 443);
    for (const behaviour of ['close', 'garbage'] as const) {
      proxy.behave(behaviour, '*:8883');
      assert.equal((await failure(network)).status, undefined);
    }
  });

  it('distinguishes a proxy that cannot be reached', async () => {
    const network = networkOf({ proxy: url('user@'), proxyPasswordFile: passwordFile() });
    await proxy.offline();
    const { message, cause } = await failure(network);
    assert.match(message, /^the proxy 127\.0\.0\.1:\d+ can't be used: connect ECONNREFUSED 127\.0\.0\.1:\d+$/);
    assert.equal((cause as { code: string }).code, 'ECONNREFUSED');
  });

  it('waits 15 s for an answer', async () => {
    proxy.behave('silent');
    const clock = new HandClock();
    const failed = failure(networkOf({ proxy: url(), clock }));
    await proxy.waitForRequest(() => true);
    await clock.advance(seconds(14.9));
    await clock.advance(seconds(0.1));
    const { message, cause } = await failed;
    assert.match(message, /can't be used: CONNECT emulator\.azure-devices\.net:8883 took longer than 15 s$/);
    assert.equal((cause as Error).name, 'TimeLimitError');
    assert.equal(clock.timers, 0);
  });

  it('closes the connection when it is aborted', async () => {
    proxy.behave('silent');
    const stop = new AbortController();
    const connecting = networkOf({ proxy: url() }).connect({ host: 'hub', port: 8883 }, stop.signal);
    await proxy.waitForRequest(() => true);
    stop.abort(new Error('enough'));
    await assert.rejects(connecting, { message: 'enough' });
  });

  it("verifies the hub's certificate, which the proxy may have replaced", async () => {
    const network = networkOf({ proxy: url() });
    await assert.rejects(network.connect({ host: hub.hostName, port: 8883 }, never), { code: /SELF_SIGNED|UNABLE_TO/ });
  });

  describe('that is secured itself', () => {
    let server: Server;
    let caFile: string;
    let port: number;

    beforeEach(async () => {
      const root = await CertificateAuthority.create();
      const { caPem, certificatePem, keyPem } = await root.issueServer(['proxy.example']);
      caFile = join(temporaryFolder(), 'ca.pem');
      writeFileSync(caFile, caPem);
      server = createServer({ cert: certificatePem, key: keyPem });
      server.on('connect', (_request, socket: Socket) => {
        const there = sockets.keep(connectTcp(hub.port, '127.0.0.1'));
        sockets.keep(socket).write('HTTP/1.1 200 OK\r\n\r\n');
        socket.pipe(there).pipe(socket);
      });
      await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
      port = (server.address() as { port: number }).port;
    });
    afterEach(() => void server.close());

    const network = (trustedCaFile: string | undefined, lookUp = async () => ['127.0.0.1']) =>
      networkOf({ proxy: `https://proxy.example:${port}`, trustedCaFile, lookUp });

    it('is reached by TLS, and another TLS within', async () => {
      const socket = await connect(network(caFile));
      assert.deepEqual([socket.authorized, socket.servername], [true, hub.hostName]);
    });

    it('must be trusted', async () => {
      const failed = connect(network(undefined));
      await assert.rejects(failed, {
        name: 'ProxyError',
        message: /^the proxy proxy\.example:\d+ can't be used: .*cert/,
      });
    });
  });

  describe('by the environment', () => {
    const environment = (more: object = {}) => ({
      HTTPS_PROXY: url(`us%40er:${encodeURIComponent(USER.password)}@`),
      ...more,
    });
    const used = (options: Partial<NetworkOptions>, host = 'hub.example', port?: number) =>
      networkOf(options).proxyOf(host, port);
    const own = () => `127.0.0.1:${proxy.port}`;

    it('connects with the password of the URL', async () => {
      proxy.setUser(USER);
      await connect(networkOf({ environment: environment() }));
    });

    it('uses the password of a file for the user of the URL', async () => {
      proxy.setUser(USER);
      await connect(networkOf({ environment: { https_proxy: url('us%40er@') }, proxyPasswordFile: passwordFile() }));
    });

    it('reads both spellings, the one in lower case first, and empty ones as absent', () => {
      assert.equal(used({ environment: environment() }), own());
      assert.equal(used({ environment: environment({ https_proxy: 'http://lower:1' }) }), 'lower:1');
      assert.equal(used({ environment: environment({ https_proxy: ' ' }) }), own());
      assert.equal(used({ environment: { HTTPS_PROXY: '' } }), undefined);
      assert.equal(used({ environment: { HTTP_PROXY: url(), ALL_PROXY: url() } }), undefined);
      assert.equal(used({ environment: { HTTPS_PROXY: 'proxy:3128' } }), 'proxy:3128');
      assert.equal(used({ environment: { HTTPS_PROXY: 'http://[::1]' } }), '[::1]:80');
    });

    it('connects directly to what NO_PROXY names', async () => {
      const network = networkOf({ environment: environment({ NO_PROXY: 'localhost, .example' }) });
      assert.equal(network.proxyOf('a.example'), undefined);
      assert.equal(network.proxyOf(hub.hostName), own());
      sockets.keep(await network.connect({ host: 'localhost', port: hub.port, trustedCa: hub.caPem }, never));
      assert.deepEqual(proxy.requests, []);
      assert.equal(used({ environment: environment({ NO_PROXY: 'a', no_proxy: '*' }) }, 'b'), undefined);
      assert.equal(used({ environment: environment({ NO_PROXY: 'b:8883' }) }, 'b', 8883), undefined);
      assert.equal(used({ environment: environment({ NO_PROXY: 'b:8883' }) }, 'b', 443), own());
    });

    it('is overridden by the setting, with NO_PROXY', () => {
      assert.equal(used({ proxy: 'http://mine:1', environment: environment({ NO_PROXY: '*' }) }), 'mine:1');
    });

    it('refuses a port that no proxy can have', () => {
      const wrong = { id: 'CONFIG_INVALID', message: /^hub\.proxy .* ports are 1 to 65535/ };
      assert.throws(() => networkOf({ proxy: 'http://proxy:0' }), wrong);
    });

    for (const wrong of ['socks5://u:S3cret@p:1080', 'http://u:S3cret@', 'ftp://u:S3cret@p', 'u:S3cret@p:x']) {
      it(`refuses ${wrong.replace('S3cret', '…')}, without showing it`, () => {
        assert.throws(
          () => networkOf({ environment: { HTTPS_PROXY: wrong } }),
          (error: AgentError) => {
            assert.deepEqual([error instanceof AgentError, error.id, error.exitStatus], [true, 'CONFIG_INVALID', 78]);
            assert.match(error.message, /^the environment variable HTTPS_PROXY must be the URL of an HTTP proxy/);
            assert.match(error.remedy, /HTTPS_PROXY/);
            return !`${error.message}${error.remedy}${error.cause}`.includes('S3cret');
          },
        );
      });
    }
  });

  it('refuses settings that contradict each other', () => {
    assert.throws(() => networkOf({ proxy: url(), proxyPasswordFile: passwordFile() }), {
      id: 'CONFIG_INVALID',
      remedy: `Write the user into hub.proxy: http://USER@127.0.0.1:${proxy.port}`,
    });
    assert.throws(() => networkOf({ proxy: url('user:S3cret@') }), {
      id: 'CONFIG_INVALID',
      message: /^hub\.proxy must not contain a password: .*hub\.proxyPasswordFile$/,
    });
  });

  it('leaves nothing open after a hundred failures', async () => {
    proxy.behave('close');
    const network = networkOf({ proxy: url() });
    const open = () => process.getActiveResourcesInfo().filter((kind) => kind === 'TCPSocketWrap').length;
    const before = open();
    for (let round = 0; round < 100; round += 1) await failure(network);
    await until('all sockets closed', () => open() <= before);
  });
});
