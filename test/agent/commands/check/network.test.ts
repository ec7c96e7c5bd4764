import assert from 'node:assert/strict';
import { createServer as createHttpsServer } from 'node:https';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { days } from '../../../../src/core/base/duration.ts';
import { createServerCertificate } from '../../../../src/emulator/certificates.ts';
import { assertFinding, CheckBench } from './bench.ts';

describe('vakt check: the network', () => {
  let bench: CheckBench;
  let hubPort = 0;
  beforeEach(() => {
    bench = new CheckBench();
  });
  afterEach(() => bench.close());

  const listen = (server: Server) =>
    new Promise<number>((resolve) => {
      server.listen(0, 'localhost', () => resolve((server.address() as AddressInfo).port));
      bench.after(() => server.close());
    });
  const at = (port: number, more: object = {}) =>
    bench.configure({ hub: { hostName: 'hub.example', gatewayHostName: `localhost:${port}`, ...more } });

  /**
   * A hub with a certificate of its own, made at a time that is off by so many days, and a clock that is off by so many
   * ms.
   */
  const hub = async ({ names = ['localhost'], daysOff = 0, clockOff = 0, trusted = true } = {}) => {
    const made = await createServerCertificate(names, new Date(Date.now() + days(daysOff)));
    const server = createHttpsServer({ cert: made.certificatePem, key: made.keyPem }, (_request, response) => {
      response.setHeader('date', new Date(Date.now() + clockOff).toUTCString());
      response.end();
    });
    bench.write('ca.pem', made.caPem);
    hubPort = await listen(server);
    at(hubPort, trusted ? { trustedCaFile: 'ca.pem' } : {});
    bench.after(() => server.closeAllConnections());
  };
  const tls = async () => (await bench.look('way')).find(({ check }) => check === 'TLS');

  it('finds a name that has no address, and tries nothing that would need one', async () => {
    bench.configure({ hub: { hostName: 'no-such-hub.invalid' } });
    const found = await bench.look('way', 'hub');
    assertFinding(
      found[0],
      'wrong',
      /^the name no-such-hub\.invalid can't be resolved \(.*\) \(HUB_UNREACHABLE\)$/,
      /hub\.hostName.*DNS/,
    );
    assert.equal(found.length, 1);
  });

  it('finds a port where nobody listens', async () => {
    bench.configure();
    const found = await bench.look('way');
    assertFinding(
      found.at(-1),
      'wrong',
      /^localhost:1 can't be reached \(.*ECONNREFUSED.*\) \(HUB_UNREACHABLE\)$/,
      /reach localhost:1 by TCP/,
    );
  });

  it('finds an address by the hub’s name when the identity can’t be read', async () => {
    await hub();
    bench.write('module.key', 'broken');
    assertFinding(await tls(), 'ok', /^localhost is trusted/);
  });

  describe('TLS', () => {
    it('is in order', async () => {
      await hub();
      assertFinding(
        await tls(),
        'ok',
        /trusted \(certificate of localhost, by Vakt hub emulator CA, valid until 20.*TLSv1/,
      );
    });

    it('knows an address for what it is', async () => {
      await hub();
      bench.configure({
        hub: { hostName: 'hub.example', gatewayHostName: `127.0.0.1:${hubPort}`, trustedCaFile: 'ca.pem' },
      });
      assertFinding(await tls(), 'ok', /^127\.0\.0\.1 is trusted/);
    });

    it('finds an authority that is not known', async () => {
      await hub({ trusted: false });
      assertFinding(
        await tls(),
        'wrong',
        /does not end at an authority of Node's list.*by Vakt hub emulator CA/,
        /hub\.trustedCaFile/,
      );
    });

    it('finds an authority that is not the one to trust', async () => {
      await hub();
      bench.write('ca.pem', (await createServerCertificate(['localhost'], new Date())).caPem);
      assertFinding(await tls(), 'wrong', /does not end at an authority of .*ca\.pem/, /hub\.trustedCaFile/);
    });

    it('finds a certificate for another name', async () => {
      await hub({ names: ['gateway.example'] });
      assertFinding(await tls(), 'wrong', /for another name: DNS:gateway\.example/, /a name in the certificate/);
    });

    it('finds one that has expired', async () => {
      await hub({ daysOff: -400 });
      assertFinding(await tls(), 'wrong', /has expired, according to the device's clock/, /renew the certificate/);
    });

    it('finds one that is not valid yet', async () => {
      await hub({ daysOff: 3 });
      assertFinding(await tls(), 'wrong', /not valid yet, according to the device's clock/, /Set the clock/);
    });

    it('tells of one that will expire soon', async () => {
      await hub({ daysOff: -355 });
      assertFinding(await tls(), 'note', /expires soon/, /Renew/);
    });

    it('finds somebody who speaks something else', async () => {
      at(await listen(createServer((socket) => socket.on('error', () => {}).end('220 mail.example ESMTP\r\n'))));
      assertFinding(await tls(), 'wrong', /the TLS handshake with .* failed/, /TLS 1\.2/);
    });
  });

  describe('the clock', () => {
    it('is held against the hub’s', async () => {
      await hub();
      assertFinding(await bench.lookAt('clock'), 'ok', /within 30 s of the hub's$/);
    });

    it('finds one that is minutes off, also where it spoils TLS', async () => {
      await hub({ clockOff: 600_000, daysOff: 3 });
      assertFinding(await bench.lookAt('clock'), 'wrong', /(?:599|600|601) s behind the hub's \(TLS_FAILED\)$/, /NTP/);
      await hub({ clockOff: 600_000 });
      assertFinding(await bench.lookAt('clock'), 'wrong', /s behind the hub's \(CREDENTIAL_REFUSED\)$/, /NTP/);
      assert.deepEqual(
        (await bench.look('clock', 'identity', 'way')).map(({ check }) => check),
        ['clock'],
      );
    });

    it('tells of one that is somewhat off', async () => {
      await hub({ clockOff: -60_000 });
      assertFinding(await bench.lookAt('clock'), 'note', /(?:59|60|61) s ahead of the hub's/, /NTP/);
    });

    it('says when nobody could be asked', async () => {
      bench.configure();
      assertFinding(await bench.lookAt('clock'), 'ok', /could not be read over HTTPS/);
    });
  });
});
