import assert from 'node:assert/strict';
import { once } from 'node:events';
import type mqtt from 'mqtt';
import { systemClock } from '../../src/core/base/clock.ts';
import { days } from '../../src/core/base/duration.ts';
import { CertificateAuthority, type IssuedCertificate, selfSigned } from '../../src/emulator/certificates.ts';
import { HubEmulator } from '../../src/emulator/hub.ts';
import type { Credential } from '../../src/emulator/identity.ts';
import { bareClient, DEVICE, KEY, MODULE, module, token } from './clients.ts';

const NAME = `${DEVICE}/${MODULE}`;
const inDays = (number: number) => new Date(systemClock.now().getTime() + days(1) * number);

describe('client certificates at the hub emulator', () => {
  let hub: HubEmulator;
  let root: CertificateAuthority;
  let factory: CertificateAuthority;
  const opened: mqtt.MqttClient[] = [];

  before(async () => {
    root = await CertificateAuthority.create({ commonName: 'Devices' });
    const region = await root.intermediate({ commonName: 'Region', keyType: 'rsa' });
    factory = await region.intermediate({ commonName: 'Factory' });
  });
  beforeEach(async () => {
    hub = await HubEmulator.start();
  });
  afterEach(async () => {
    for (const client of opened.splice(0)) client.end(true);
    await hub.stop();
  });

  const register = (credential: Credential) => hub.addModule({ deviceId: DEVICE, moduleId: MODULE, credential });
  const byThumbprint = (primaryThumbprint: string, secondaryThumbprint?: string) =>
    register({ type: 'selfSigned', primaryThumbprint, ...(secondaryThumbprint ? { secondaryThumbprint } : {}) });
  const byAuthority = (pem = root.certificatePem) => {
    hub.addClientAuthority(pem);
    register({ type: 'certificateAuthority' });
  };
  /** Connects with a certificate and without a password. @returns the connection's record */
  const connect = async (
    { chainPem, keyPem }: IssuedCertificate,
    options: mqtt.IClientOptions & { maxVersion?: 'TLSv1.2' } = {},
  ) => {
    const client = bareClient(hub, { cert: chainPem, key: keyPem, password: '', ...options });
    opened.push(client);
    await once(client, 'connect').catch(() => {}); // rejects if it is refused
    return hub.connections.at(-1);
  };

  describe('admission', () => {
    for (const [what, hash] of Object.entries({ 'SHA-256': 'thumbprint', 'SHA-1': 'sha1Thumbprint' } as const)) {
      it(`accepts a module by the ${what} thumbprint of its certificate`, async () => {
        const own = await selfSigned({ commonName: NAME });
        byThumbprint(own[hash].toUpperCase());
        const record = await connect(own);
        assert.equal(record?.admitted, true, record?.reason);
        assert.deepEqual([record.thumbprint, record.transport, record.expiresAt], [own.thumbprint, 'mqtt', undefined]);
      });
    }

    it('the secondary thumbprint, so that a certificate can be renewed', async () => {
      const [first, second] = [
        await selfSigned({ commonName: NAME }),
        await selfSigned({ commonName: NAME, keyType: 'rsa' }),
      ];
      byThumbprint(first.thumbprint, second.thumbprint);
      assert.equal((await connect(second))?.thumbprint, second.thumbprint);
    });

    for (const keyType of ['ecdsa', 'rsa'] as const) {
      it(`a chain over two intermediates to a registered root, with an ${keyType} key`, async () => {
        byAuthority();
        const record = await connect(await factory.issue({ commonName: NAME, keyType }));
        assert.equal(record?.admitted, true, record?.reason);
      });
    }

    it('a chain to a registered intermediate', async () => {
      byAuthority(factory.certificatePem);
      const { certificatePem, ...rest } = await factory.issue({ commonName: NAME });
      const record = await connect({ ...rest, certificatePem, chainPem: certificatePem });
      assert.equal(record?.admitted, true, record?.reason);
    });

    it('a module with keys by its token, whatever certificate it presents beside', async () => {
      hub.addModule(module);
      const record = await connect(await selfSigned({ commonName: 'x' }), { password: token(hub) });
      assert.deepEqual([record?.admitted, record?.thumbprint], [true, undefined]);
    });

    it('accepts the same certificate over TLS 1.2', async () => {
      byAuthority();
      const record = await connect(await factory.issue({ commonName: NAME }), { maxVersion: 'TLSv1.2' });
      assert.equal(record?.admitted, true, record?.reason);
    });
  });

  describe('refusals', () => {
    for (const [what, [reason, present]] of Object.entries<[RegExp, () => Promise<IssuedCertificate>]>({
      'with a thumbprint that is not registered': [
        /^the certificate's thumbprint [0-9a-f]{64} is not registered for dev1\/azureiotsecurity$/,
        async () => {
          byThumbprint((await selfSigned({ commonName: NAME })).thumbprint);
          return selfSigned({ commonName: NAME });
        },
      ],
      'with the CN of another module': [
        /^the certificate's CN is "dev1\/other", not "dev1\/azureiotsecurity"$/,
        async () => {
          byAuthority();
          return root.issue({ commonName: `${DEVICE}/other` });
        },
      ],
      'with the CN of the device': [
        /^the certificate's CN is "dev1", not/,
        async () => {
          byAuthority();
          return root.issue({ commonName: DEVICE });
        },
      ],
      'when they have expired': [
        /^the certificate expired at \d{4}-/,
        async () => {
          byAuthority();
          return root.issue({ commonName: NAME, notBefore: inDays(-2), notAfter: inDays(-1) });
        },
      ],
      'when they have expired, though their thumbprint is registered': [
        /^the certificate expired at/,
        async () => {
          const own = await selfSigned({ commonName: NAME, notBefore: inDays(-2), notAfter: inDays(-1) });
          byThumbprint(own.thumbprint);
          return own;
        },
      ],
      'when they are not valid yet': [
        /^the certificate is not valid before/,
        async () => {
          byAuthority();
          return root.issue({ commonName: NAME, notBefore: inDays(1), notAfter: inDays(2) });
        },
      ],
      'when an authority of their chain has expired': [
        /^the authority's certificate "Old" expired at/,
        async () => {
          byAuthority();
          const old = await root.intermediate({ commonName: 'Old', notBefore: inDays(-2), notAfter: inDays(-1) });
          return old.issue({ commonName: NAME });
        },
      ],
      'when no registered authority has issued them': [
        /^the certificate's chain does not end at a registered authority$/,
        async () => {
          byAuthority();
          return (await CertificateAuthority.create({ commonName: 'Devices' })).issue({ commonName: NAME });
        },
      ],
      'when the authority is no longer registered': [
        /does not end at a registered authority/,
        async () => {
          byAuthority();
          hub.removeClientAuthority(root.certificatePem);
          return root.issue({ commonName: NAME });
        },
      ],
      'when an intermediate is missing': [
        /does not end at a registered authority/,
        async () => {
          byAuthority();
          const own = await factory.issue({ commonName: NAME });
          return { ...own, chainPem: own.certificatePem };
        },
      ],
      'when their signature is not the authority’s': [
        /does not end at a registered authority/,
        async () => {
          byAuthority();
          const own = await root.issue({ commonName: NAME });
          const der = Buffer.from(own.certificatePem.replaceAll(/-----.*-----|\s/g, ''), 'base64');
          der.writeUInt8(der.readUInt8(der.length - 1) ^ 1, der.length - 1); // within the signature, which comes last
          const chainPem = `-----BEGIN CERTIFICATE-----\n${der.toString('base64')}\n-----END CERTIFICATE-----\n`;
          return { ...own, chainPem };
        },
      ],
      'when their chain only lists the authority': [
        /does not end at a registered authority/,
        async () => {
          byAuthority();
          const own = await selfSigned({ commonName: NAME });
          return { ...own, chainPem: own.certificatePem + root.certificatePem };
        },
      ],
      'for a module with keys': [
        /^dev1\/azureiotsecurity has keys; it must present a token/,
        async () => {
          hub.addModule(module);
          return selfSigned({ commonName: NAME });
        },
      ],
      'for a module of a disabled device': [
        /^device dev1 is disabled$/,
        async () => {
          byAuthority();
          hub.setStatus('disabled', DEVICE);
          return root.issue({ commonName: NAME });
        },
      ],
      'for a module that does not exist': [
        /^device dev1 does not exist$/,
        async () => {
          hub.addClientAuthority(root.certificatePem);
          return root.issue({ commonName: NAME });
        },
      ],
    })) {
      it(what, async () => {
        const record = await connect(await present());
        assert.deepEqual([record?.admitted, record?.returnCode, record?.thumbprint], [false, 5, undefined]);
        assert.match(record?.reason ?? '', reason);
      });
    }

    it('rejects a token for a module without keys', async () => {
      byAuthority();
      const record = await connect(await root.issue({ commonName: NAME }), { password: token(hub, { key: KEY }) });
      assert.match(record?.reason ?? '', /has no keys; it must present a certificate/);
    });
  });

  it('rejects a certificate that is not an authority when it is registered as one', async () => {
    const own = await selfSigned({ commonName: 'dev1' });
    assert.throws(() => hub.addClientAuthority(own.certificatePem), /"dev1" is not that of an authority/);
  });
});
