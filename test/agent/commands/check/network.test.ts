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
   * A hub whose certificate was created `daysOff` days from now, signed by its own authority, and whose clock is off by
   * `clockOff` ms.
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

  it('check reports a hub name without an address, and skips the checks that need one', async () => {
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

  it('check tests TLS with the hub even if the identity cannot be read', async () => {
    await hub();
    bench.write('module.key', 'broken');
    assertFinding(await tls(), 'ok', /^localhost is trusted/);
  });

  describe('TLS', () => {
    it('check accepts a trusted certificate, and reports its issuer and expiry', async () => {
      await hub();
      assertFinding(
        await tls(),
        'ok',
        /trusted \(certificate of localhost, by Vakt hub emulator CA, valid until 20.*TLSv1/,
      );
    });

    it('check accepts an IP address as the gateway', async () => {
      await hub();
      bench.configure({
        hub: { hostName: 'hub.example', gatewayHostName: `127.0.0.1:${hubPort}`, trustedCaFile: 'ca.pem' },
      });
      assertFinding(await tls(), 'ok', /^127\.0\.0\.1 is trusted/);
    });

    it('check reports a certificate of an unknown authority', async () => {
      await hub({ trusted: false });
      assertFinding(
        await tls(),
        'wrong',
        /does not end at an authority of Node's list.*by Vakt hub emulator CA/,
        /hub\.trustedCaFile/,
      );
    });

    it('check reports an expired certificate', async () => {
      await hub({ daysOff: -400 });
      assertFinding(await tls(), 'wrong', /has expired, according to the device's clock/, /renew the certificate/);
    });

    it('check reports a certificate that is not valid yet', async () => {
      await hub({ daysOff: 3 });
      assertFinding(await tls(), 'wrong', /not valid yet, according to the device's clock/, /Set the clock/);
    });

    it('check notes a certificate that expires soon', async () => {
      await hub({ daysOff: -355 });
      assertFinding(await tls(), 'note', /expires soon/, /Renew/);
    });

    it('check reports a server that does not use TLS', async () => {
      at(await listen(createServer((socket) => socket.on('error', () => {}).end('220 mail.example ESMTP\r\n'))));
      assertFinding(await tls(), 'wrong', /the TLS handshake with .* failed/, /TLS 1\.2/);
    });
  });

  describe('the clock', () => {
    it('check accepts a clock that agrees with the clock of the hub', async () => {
      await hub();
      assertFinding(await bench.lookAt('clock'), 'ok', /within 30 s of the hub's$/);
    });

    it('check reports a clock that is minutes off, even if TLS fails because of it', async () => {
      await hub({ clockOff: 600_000, daysOff: 3 });
      assertFinding(await bench.lookAt('clock'), 'wrong', /(?:599|600|601) s behind the hub's \(TLS_FAILED\)$/, /NTP/);
      await hub({ clockOff: 600_000 });
      assertFinding(await bench.lookAt('clock'), 'wrong', /s behind the hub's \(CREDENTIAL_REFUSED\)$/, /NTP/);
      assert.deepEqual(
        (await bench.look('clock', 'identity', 'way')).map(({ check }) => check),
        ['clock'],
      );
    });

    it('check notes a clock that is one minute off', async () => {
      await hub({ clockOff: -60_000 });
      assertFinding(await bench.lookAt('clock'), 'note', /(?:59|60|61) s ahead of the hub's/, /NTP/);
    });

    it('check accepts the clock if it cannot read the time from the hub', async () => {
      bench.configure();
      assertFinding(await bench.lookAt('clock'), 'ok', /could not be read over HTTPS/);
    });
  });
});
