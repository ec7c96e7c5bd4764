import assert from 'node:assert/strict';
import { once } from 'node:events';
import { rmSync, writeFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import { createServer, type TlsOptions } from 'node:tls';
import { systemClock } from '../../../src/core/base/clock.ts';
import { seconds } from '../../../src/core/base/duration.ts';
import { Network, type NetworkOptions } from '../../../src/core/network/network.ts';
import { CertificateAuthority, type ServerCertificate } from '../../../src/emulator/certificates.ts';
import { temporaryFolder } from '../../harness/folders.ts';
import { until } from '../../harness/until.ts';
import { HandClock, never, Sockets } from './bench.ts';

const DAY = 86_400_000;

describe('Network, by TLS', () => {
  let root: CertificateAuthority;
  let right: ServerCertificate;
  let sockets: Sockets;

  before(async () => {
    root = await CertificateAuthority.create();
    right = await root.issueServer(['hub.example']);
  });
  beforeEach(() => {
    sockets = new Sockets();
  });
  afterEach(() => sockets.close());

  /** @returns the port of a server with such a certificate */
  const serve = async (options: TlsOptions = {}, { certificatePem, keyPem } = right, address = '127.0.0.1') => {
    const server = createServer({ cert: certificatePem, key: keyPem, ...options }, (socket) => {
      sockets.keep(socket);
    });
    server.on('tlsClientError', () => {});
    server.listen(0, address);
    await once(server, 'listening');
    sockets.after(() => server.close());
    return (server.address() as { port: number }).port;
  };
  const networkOf = (options: Partial<NetworkOptions> = {}) =>
    new Network({ environment: {}, clock: systemClock, lookUp: async () => ['127.0.0.1'], ...options });
  const connect = async (port: number, { host = 'hub.example', trustedCa = right.caPem, ...options }: Asked = {}) =>
    sockets.keep(await networkOf(options).connect({ host, port, trustedCa }, never));
  type Asked = Partial<NetworkOptions> & { host?: string; trustedCa?: string };

  for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
    it(`uses ${version} where the server offers no newer one`, async () => {
      const socket = await connect(await serve({ maxVersion: version }));
      assert.equal(socket.getProtocol(), version);
    });
  }

  it('refuses TLS 1.1', async () => {
    const port = await serve({ minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT:@SECLEVEL=0' });
    await assert.rejects(connect(port), { code: /^ERR_SSL_.*(?:PROTOCOL_VERSION|UNSUPPORTED_PROTOCOL)/ });
  });

  it('asks for the host by SNI, without the dot at its end', async () => {
    const port = await serve();
    assert.equal((await connect(port, { host: 'hub.example.' })).servername, 'hub.example');
  });

  it('refuses the certificate of another authority', async () => {
    const other = await CertificateAuthority.create();
    const port = await serve({}, await other.issueServer(['hub.example']));
    await assert.rejects(connect(port), { code: /^(?:SELF_SIGNED_CERT_IN_CHAIN|UNABLE_TO_)/ });
  });

  it('refuses a certificate for another name', async () => {
    const port = await serve();
    for (const host of ['other.example', 'example', 'hub.example.com']) {
      await assert.rejects(connect(port, { host }), { code: 'ERR_TLS_CERT_ALTNAME_INVALID' });
    }
  });

  it('refuses a certificate for another address', async () => {
    const port = await serve({}, right, '127.0.0.9'); // the certificate is for 127.0.0.1
    await assert.rejects(connect(port, { host: '127.0.0.9' }), { code: 'ERR_TLS_CERT_ALTNAME_INVALID' });
  });

  it('refuses an expired certificate, and one of the future', async () => {
    const at = (days: number) => new Date(systemClock.now().getTime() + days * DAY);
    for (const [from, to, code] of [
      [-9, -1, 'CERT_HAS_EXPIRED'],
      [1, 9, 'CERT_NOT_YET_VALID'],
    ] as const) {
      const hostNames = ['hub.example'];
      const leaf = await root.issue({ commonName: 'hub.example', hostNames, notBefore: at(from), notAfter: at(to) });
      const port = await serve({ cert: leaf.chainPem, key: leaf.keyPem });
      await assert.rejects(connect(port), { code });
    }
  });

  it('is not weakened by NODE_TLS_REJECT_UNAUTHORIZED', async () => {
    const port = await serve();
    const before = process.env.NODE_TLS_REJECT_UNAUTHORIZED;
    process.env.NODE_TLS_REJECT_UNAUTHORIZED = '0';
    try {
      await assert.rejects(networkOf().connect({ host: 'hub.example', port }, never), {
        code: /SELF_SIGNED|UNABLE_TO/,
      });
    } finally {
      if (before === undefined) delete process.env.NODE_TLS_REJECT_UNAUTHORIZED;
      else process.env.NODE_TLS_REJECT_UNAUTHORIZED = before;
    }
  });

  it('trusts the authorities of a file, which is read again for each connection', async () => {
    const file = join(temporaryFolder(), 'ca.pem');
    const other = await CertificateAuthority.create();
    writeFileSync(file, other.certificatePem);
    const network = networkOf({ trustedCaFile: file });
    const port = await serve();
    const target = { host: 'hub.example', port };
    await assert.rejects(network.connect(target, never), { code: /SELF_SIGNED|UNABLE_TO/ });
    writeFileSync(file, right.caPem);
    sockets.keep(await network.connect(target, never));
    rmSync(file);
    await assert.rejects(network.connect(target, never), { id: 'CA_FILE_UNUSABLE' });
    assert.throws(() => networkOf({ trustedCaFile: file }), { id: 'CA_FILE_UNUSABLE' });
    // A target's own authorities are used instead.
    sockets.keep(await network.connect({ ...target, trustedCa: right.caPem }, never));
  });

  it('presents the whole chain of the client certificate', async () => {
    const factory = await root.intermediate({ commonName: 'Factory' });
    const { chainPem, keyPem } = await factory.issue({ commonName: 'd/m' });
    const port = await serve({ requestCert: true, rejectUnauthorized: true, ca: root.certificatePem });
    const target = { host: 'hub.example', port, trustedCa: right.caPem };
    const socket = sockets.keep(await networkOf().connect({ ...target, certificate: chainPem, key: keyPem }, never));
    socket.write('x');
    await assert.rejects(networkOf().connect({ ...target, certificate: chainPem, key: right.keyPem }, never), {
      code: 'ERR_OSSL_X509_KEY_VALUES_MISMATCH',
    });
  });

  it('waits 15 s for a handshake, and closes the connection', async () => {
    const clock = new HandClock();
    let accepted: Socket | undefined;
    const port = await sockets.listen((socket) => {
      accepted = socket.resume();
    });
    const connecting = connect(port, { clock });
    const failed = assert.rejects(connecting, {
      name: 'TimeLimitError',
      message: `the TLS handshake with hub.example:${port} took longer than 15 s`,
    });
    await until('a connection', () => accepted !== undefined && clock.timers === 1);
    await clock.advance(seconds(14.9));
    await clock.advance(seconds(0.1));
    await failed;
    await until('its end', () => accepted?.destroyed === true);
    assert.equal(clock.timers, 0);
  });

  it('reports what is not TLS, and a connection that is closed during the handshake', async () => {
    const garbage = await sockets.listen((socket) => void socket.write('SSH-2.0-OpenSSH_9.9\r\n'));
    await assert.rejects(connect(garbage), { code: /^(?:EPROTO|ERR_SSL_)/ });
    const closing = await sockets.listen((socket) => void socket.once('data', () => socket.end()));
    await assert.rejects(connect(closing), { code: 'ECONNRESET' });
  });

  it('leaves nothing open, and no listener at a signal that is used again and again', async () => {
    const port = await serve({}, await (await CertificateAuthority.create()).issueServer(['hub.example']));
    const stop = new AbortController();
    const added: string[] = [];
    const removed: string[] = [];
    const { signal } = stop;
    const add = signal.addEventListener.bind(signal);
    const remove = signal.removeEventListener.bind(signal);
    signal.addEventListener = (...[type, ...rest]: Parameters<typeof add>) => {
      added.push(type);
      add(type, ...rest);
    };
    signal.removeEventListener = (...[type, ...rest]: Parameters<typeof remove>) => {
      removed.push(type);
      remove(type, ...rest);
    };
    const open = () => process.getActiveResourcesInfo().filter((kind) => /TCPSocketWrap|Timeout/.test(kind)).length;
    const before = open();
    const network = networkOf();
    for (let round = 0; round < 20; round += 1) {
      await assert.rejects(network.connect({ host: 'hub.example', port, trustedCa: right.caPem }, signal));
    }
    await until('all closed', () => open() <= before);
    assert.ok(added.length >= 40);
    assert.deepEqual(removed, added);
  });
});
