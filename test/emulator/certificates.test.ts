import assert from 'node:assert/strict';
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { type ConnectionOptions, connect } from 'node:tls';
import { CertificateAuthority, type IssuedCertificate, selfSigned } from '../../src/emulator/certificates.ts';
import { type EmulatorOptions, HubEmulator } from '../../src/emulator/hub.ts';

const read = ({ certificatePem }: { certificatePem: string }) => new X509Certificate(certificatePem);
const count = (pem: string) => pem.match(/BEGIN CERTIFICATE/g)?.length;

describe('the certificate authority of the hub emulator', () => {
  let root: CertificateAuthority;
  before(async () => {
    root = await CertificateAuthority.create();
  });

  for (const keyType of ['ecdsa', 'rsa'] as const) {
    it(`issues certificates with ${keyType} keys, below an authority of the other type`, async () => {
      const intermediate = await root.intermediate({
        commonName: 'Factory 1',
        keyType: keyType === 'rsa' ? 'ecdsa' : 'rsa',
      });
      const issued = await intermediate.issue({ commonName: 'dev1/azureiotsecurity', keyType });
      const certificate = read(issued);
      assert.equal(certificate.subject, 'CN=dev1/azureiotsecurity');
      assert.ok(certificate.checkIssued(read(intermediate)));
      assert.ok(certificate.verify(read(intermediate).publicKey));
      assert.ok(read(intermediate).verify(read(root).publicKey));
      assert.ok(certificate.checkPrivateKey(createPrivateKey(issued.keyPem)));
      assert.equal(certificate.publicKey.asymmetricKeyType, keyType === 'rsa' ? 'rsa' : 'ec');
      assert.equal(certificate.ca, false);
      assert.deepEqual([count(issued.chainPem), count(issued.certificatePem)], [2, 1]);
      assert.equal(intermediate.rootPem, root.certificatePem);
    });
  }

  it('quotes what is special in a name', async () => {
    const { subject } = read(await selfSigned({ commonName: 'a,b=c+d#$*' }));
    assert.equal(subject.replaceAll('\\', ''), 'CN=a,b=c+d#$*');
  });

  it('computes the thumbprints as OpenSSL does', async () => {
    const issued: IssuedCertificate = await selfSigned({ commonName: 'dev1' });
    const { fingerprint, fingerprint256 } = read(issued);
    const digits = (text: string) => text.toUpperCase().match(/../g)?.join(':');
    assert.deepEqual([digits(issued.sha1Thumbprint), digits(issued.thumbprint)], [fingerprint, fingerprint256]);
    assert.equal(issued.chainPem, issued.certificatePem);
  });

  it('issues certificates that have expired', async () => {
    const notBefore = new Date('2020-01-01T00:00:00Z');
    const notAfter = new Date('2020-02-01T00:00:00Z');
    const issued = await root.issue({ commonName: 'dev1', notBefore, notAfter });
    assert.deepEqual(issued.notAfter, notAfter);
    assert.equal(new Date(read(issued).validTo).getTime(), notAfter.getTime());
    assert.equal(new Date(read(issued).validFrom).getTime(), notBefore.getTime());
  });

  describe('as the authority of hubs', () => {
    const hubs: HubEmulator[] = [];
    const start = async (options: EmulatorOptions) => {
      const hub = await HubEmulator.start(options);
      hubs.push(hub);
      return hub;
    };
    afterEach(async () => {
      for (const hub of hubs.splice(0)) await hub.stop();
    });
    const handshake = async (options: ConnectionOptions) => {
      const client = connect(options);
      await once(client, 'secureConnect');
      client.destroy();
    };

    it('is trusted by the clients of all hubs that share it, also below an intermediate', async () => {
      const first = await start({ hostName: 'hub1.azure-devices.net', certificateAuthority: root });
      const certificateAuthority = await root.intermediate({ commonName: 'Servers' });
      const second = await start({ hostName: 'hub2.azure-devices.net', certificateAuthority });
      const ca = root.rootPem;
      await handshake({ port: first.port, host: 'localhost', ca });
      await handshake({ port: second.port, host: 'localhost', ca, servername: 'hub2.azure-devices.net' });
      const wrong = handshake({ port: second.port, host: 'localhost', ca, servername: 'hub1.azure-devices.net' });
      await assert.rejects(wrong, { code: 'ERR_TLS_CERT_ALTNAME_INVALID' });
      const otherHub = await start({});
      await assert.rejects(handshake({ port: otherHub.port, host: 'localhost', ca }), /certificate/);
    });

    it('names both loopback addresses, and the hub listens on the configured one', async () => {
      const six = await start({ address: '::1' });
      await handshake({ port: six.port, host: '::1', ca: six.caPem });
      const four = await start({});
      await handshake({ port: four.port, host: '127.0.0.1', ca: four.caPem });
      await assert.rejects(handshake({ port: four.port, host: '::1', ca: four.caPem }), { code: 'ECONNREFUSED' });
    });
  });
});
