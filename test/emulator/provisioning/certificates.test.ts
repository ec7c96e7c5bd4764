import assert from 'node:assert/strict';
import { systemClock } from '../../../src/core/base/clock.ts';
import { days } from '../../../src/core/base/duration.ts';
import { CertificateAuthority, type IssuedCertificate, selfSigned } from '../../../src/emulator/certificates.ts';
import { HubEmulator } from '../../../src/emulator/hub.ts';
import { ProvisioningEmulator } from '../../../src/emulator/provisioning/service.ts';
import { ask, register } from './clients.ts';

describe('the provisioning service emulator, with certificates', () => {
  let hub: HubEmulator;
  let root: CertificateAuthority;
  let intermediate: CertificateAuthority;
  let own: IssuedCertificate;
  let service: ProvisioningEmulator;

  before(async () => {
    hub = await HubEmulator.start();
    root = await CertificateAuthority.create({ commonName: 'Fleet root' });
    intermediate = await root.intermediate({ commonName: 'Factory 7' });
    own = await selfSigned({ commonName: 'dev-x' });
  });
  after(() => hub.stop());
  beforeEach(async () => {
    service = await ProvisioningEmulator.start({
      hubs: [hub],
      retryAfterSeconds: 0,
      certificateAuthority: hub.certificateAuthority,
      individuals: [{ registrationId: 'dev-x', thumbprint: own.sha1Thumbprint }, { registrationId: 'dev-k' }],
      groups: [{ name: 'by key' }, { name: 'fleet', caPem: root.certificatePem }],
    });
  });
  afterEach(async () => {
    await service.stop();
    for (const { deviceId } of hub.devices) hub.removeDevice(deviceId);
  });

  const secretOf = ({ chainPem, keyPem }: IssuedCertificate) => ({ cert: chainPem, key: keyPem });

  it('has a certificate that the authority of a hub has signed', () => assert.equal(service.caPem, hub.caPem));

  for (const transport of ['https', 'mqtt', 'mqttWebSocket'] as const) {
    describe(`and the SDK over ${transport}`, () => {
      it('assigns an individual device by its thumbprint, which the hub then knows', async () => {
        const result = await register(service, transport, 'dev-x', secretOf(own));
        assert.deepEqual([result.assignedHub, result.deviceId, result.status], [hub.hostName, 'dev-x', 'assigned']);
        const credential = { type: 'selfSigned', primaryThumbprint: own.thumbprint };
        assert.deepEqual(hub.getDevice('dev-x')?.credential, credential);
      });

      it('assigns devices of a group by their chain to its authority', async () => {
        for (const authority of [root, intermediate]) {
          const leaf = await authority.issue({ commonName: 'sn-7' });
          const result = await register(service, transport, 'sn-7', secretOf(leaf));
          assert.equal(result.deviceId, 'sn-7');
          assert.deepEqual(hub.getDevice('sn-7')?.credential, {
            type: 'selfSigned',
            primaryThumbprint: leaf.thumbprint,
          });
        }
      });

      const refused: Record<string, [string, string, () => Promise<IssuedCertificate>]> = {
        'another CN': [
          'dev-x',
          `the certificate's CN is "dev-y", not "dev-x"`,
          () => selfSigned({ commonName: 'dev-y' }),
        ],
        'another certificate with the right CN': [
          'dev-x',
          "the certificate's thumbprint … is not registered for dev-x",
          () => selfSigned({ commonName: 'dev-x' }),
        ],
        'an unknown authority': [
          'sn-7',
          'the certificate chains to no authority of an enrolment group',
          async () => (await CertificateAuthority.create({ commonName: 'Fleet root' })).issue({ commonName: 'sn-7' }),
        ],
        'an expired certificate': [
          'sn-7',
          'the certificate expired at …',
          () => {
            const notAfter = new Date(systemClock.now().getTime() - days(1));
            return root.issue({ commonName: 'sn-7', notBefore: new Date(notAfter.getTime() - days(1)), notAfter });
          },
        ],
        'a certificate of a device that is enrolled with keys': [
          'dev-k',
          'dev-k is enrolled with keys, not with a certificate',
          () => root.issue({ commonName: 'dev-k' }),
        ],
      };
      for (const [what, [registrationId, reason, issue]] of Object.entries(refused)) {
        it(`refuses ${what}`, async () => {
          const secret = secretOf(await issue());
          const unauthorized = transport === 'https' ? { name: 'UnauthorizedError' } : { message: /Not authorized/ };
          await assert.rejects(register(service, transport, registrationId, secret), unauthorized);
          const lastReason = service.requests.at(-1)?.reason?.replace(/[0-9a-f]{64}|(?<=expired at ).*/, '…');
          assert.equal(lastReason, reason);
          assert.deepEqual(hub.devices, []);
        });
      }
    });
  }

  it('answers with the same errors as the service', async () => {
    const path = (id: string) => `/${service.idScope}/registrations/${id}/register?api-version=2021-06-01`;
    const register = async (id: string, certificate: IssuedCertificate) => {
      const { status, body } = await ask(service, 'PUT', path(id), {
        ...secretOf(certificate),
        body: { registrationId: id },
      });
      return [status, body.errorCode, body.message];
    };
    const strange = await selfSigned({ commonName: 'sn-7' });
    assert.deepEqual(await register('sn-7', strange), [401, 401002, 'CA certificate not found']);
    const other = await selfSigned({ commonName: 'dev-x' });
    assert.deepEqual(await register('dev-x', other), [401, 401002, 'Invalid certificate']);
    assert.deepEqual(await register('dev-x', strange), [401, 401002, 'Unauthorized']);
  });

  it('accepts the second thumbprint of an enrolment, and rejects an invalid one', async () => {
    const second = await selfSigned({ commonName: 'dev-x' });
    service.enroll({ registrationId: 'dev-x', thumbprint: own.thumbprint, secondaryThumbprint: second.thumbprint });
    assert.equal((await register(service, 'https', 'dev-x', secretOf(second))).status, 'assigned');
    assert.throws(() => service.enroll({ registrationId: 'dev-x', thumbprint: 'abc' }), RangeError);
    assert.throws(() => service.enrollGroup({ name: 'x', caPem: own.certificatePem }), RangeError);
  });
});
