import assert from 'node:assert/strict';
import {
  constants,
  createHash,
  createHmac,
  createPublicKey,
  publicDecrypt,
  verify,
  X509Certificate,
} from 'node:crypto';
import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { HubEmulator } from '../../../src/emulator/hub.ts';
import {
  IdentityServiceEmulator,
  type IdentityServiceOptions,
  type IdentityState,
} from '../../../src/emulator/identity-service/service.ts';
import { temporaryFolder } from '../../harness/folders.ts';
import { bareClient, DEVICE, KEY, MODULE, module } from '../clients.ts';
import { curl, requireCurl } from '../curl.ts';

const API = 'api-version=2020-09-01';

describe('the emulator of the IoT Identity Service', () => {
  let hub: HubEmulator;
  let service: IdentityServiceEmulator;
  let directory: string;

  const start = async (options: Partial<IdentityServiceOptions> = {}) => {
    service = await IdentityServiceEmulator.start({ directory, hub, deviceId: DEVICE, moduleId: MODULE, ...options });
  };
  beforeEach(async function () {
    await requireCurl(this);
    directory = temporaryFolder();
    hub = await HubEmulator.start({ modules: [module] });
    service = undefined as never;
  });
  afterEach(async () => {
    await service?.stop();
    await hub?.stop();
  });

  const identityd = (path = `/identities/identity?${API}`, body?: unknown) =>
    curl(join(directory, 'identityd.sock'), path, body);
  const keyd = (path: string, body: unknown) => curl(join(directory, 'keyd.sock'), `${path}?${API}`, body);
  const certd = (id: string) => curl(join(directory, 'certd.sock'), `/certificates/${id}?${API}`);
  const signed = (keyHandle: string, message: string) =>
    keyd('/sign', {
      keyHandle,
      algorithm: 'HMAC-SHA256',
      parameters: { message: Buffer.from(message).toString('base64') },
    });

  it('gives the identity of the module, and signs with its key', async () => {
    await start();
    const { status, body } = await identityd();
    assert.equal(status, 200);
    assert.deepEqual(body, {
      type: 'aziot',
      spec: {
        hubName: hub.hostName,
        gatewayHost: `localhost:${hub.port}`,
        deviceId: DEVICE,
        moduleId: MODULE,
        genId: hub.getModule(DEVICE, MODULE)?.generationId,
        auth: { type: 'sas', keyHandle: service.keyHandle },
      },
    });
    assert.deepEqual((await identityd(`/identities/modules/${MODULE}?${API}&type=aziot`)).body, body);
    assert.deepEqual((await identityd(`/identities/modules?${API}`, { type: 'aziot', moduleId: MODULE })).body, body);
    const signature = createHmac('sha256', Buffer.from(KEY, 'base64')).update('text').digest('base64');
    assert.deepEqual((await signed(body.spec.auth.keyHandle, 'text')).body, { signature });
    const log = JSON.stringify(service.requests);
    assert.ok(!log.includes(service.keyHandle) && !log.includes(signature));
  });

  it('makes a token that the hub takes, step by step as documented', async () => {
    await start();
    const { spec } = (await identityd()).body;
    const resource = encodeURIComponent(`${spec.hubName}/devices/${spec.deviceId}/modules/${spec.moduleId}`);
    const expiry = '4000000000';
    const { signature } = (await signed(spec.auth.keyHandle, `${resource}\n${expiry}`)).body;
    const password = `SharedAccessSignature sr=${resource}&se=${expiry}&sig=${encodeURIComponent(signature)}`;
    const client = bareClient(hub, { password });
    const connected = await hub.waitForConnection(() => true);
    assert.deepEqual([connected.admitted, connected.reason], [true, undefined]);
    client.end(true);
  });

  it('makes the module in its hub, can name the hub as its gateway, and gives the CA', async () => {
    hub.removeDevice(DEVICE);
    await start({ gatewayHost: 'direct' });
    assert.ok(hub.hasModule(DEVICE, MODULE));
    assert.equal((await identityd()).body.spec.gatewayHost, hub.hostName);
    assert.deepEqual((await identityd(`/trust-bundle?${API}`)).body, { certificate: hub.caPem });
  });

  describe('with a certificate', () => {
    const digest = createHash('sha256').update('handshake').digest();

    const certificateOf = async () => {
      const { auth } = (await identityd()).body.spec;
      const { pem } = (await certd(auth.certId)).body;
      return { auth, certificate: new X509Certificate(pem) };
    };

    it('signs digests with an EC key, so that the certificate verifies them', async () => {
      await start({ authentication: 'x509' });
      const { auth, certificate } = await certificateOf();
      assert.equal(auth.type, 'x509');
      assert.equal(certificate.subject, `CN=${DEVICE}/${MODULE}`);
      const thumbprint = certificate.fingerprint256.replaceAll(':', '').toLowerCase();
      assert.deepEqual(hub.getModule(DEVICE, MODULE)?.credential, {
        type: 'selfSigned',
        primaryThumbprint: thumbprint,
      });
      for (let round = 0; round < 20; round++) {
        const parameters = { digest: digest.toString('base64') };
        const { signature } = (await keyd('/sign', { keyHandle: auth.keyHandle, algorithm: 'ECDSA', parameters })).body;
        assert.ok(verify('sha256', Buffer.from('handshake'), certificate.publicKey, Buffer.from(signature, 'base64')));
      }
      const { x = '', y = '' } = certificate.publicKey.export({ format: 'jwk' });
      const point = Buffer.concat([Buffer.of(4), Buffer.from(x, 'base64url'), Buffer.from(y, 'base64url')]);
      const parameter = async (name: string) => (await keyd(`/parameters/${name}`, { keyHandle: auth.keyHandle })).body;
      assert.deepEqual(await parameter('algorithm'), { value: 'ECDSA' });
      assert.deepEqual(await parameter('ec-point'), { value: point.toString('base64') });
      assert.deepEqual(await parameter('ec-curve-oid'), { value: 'BggqhkjOPQMBBw==' });
      assert.deepEqual(await parameter('rsa-modulus'), { message: 'parameter "parameter" has an invalid value' });
    });

    it('signs by encryption with an RSA key', async () => {
      await start({ authentication: 'x509', keyType: 'rsa' });
      const { auth, certificate } = await certificateOf();
      const { keyHandle } = auth;
      const request = { keyHandle, algorithm: 'RSA-PKCS1', plaintext: digest.toString('base64') };
      const { ciphertext } = (await keyd('/encrypt', request)).body;
      const key = { key: certificate.publicKey, padding: constants.RSA_PKCS1_PADDING };
      assert.deepEqual(publicDecrypt(key, Buffer.from(ciphertext, 'base64')), digest);
      const jwk = createPublicKey(certificate.publicKey.export({ type: 'spki', format: 'pem' })).export({
        format: 'jwk',
      });
      const modulus = Buffer.from(jwk.n ?? '', 'base64url').toString('base64');
      assert.deepEqual((await keyd('/parameters/rsa-modulus', { keyHandle })).body, { value: modulus });
      assert.equal(
        (await keyd('/sign', { keyHandle, algorithm: 'ECDSA', parameters: { digest: 'AAAA' } })).status,
        400,
      );
    });

    it('hands out another after its renewal', async () => {
      await start({ authentication: 'x509' });
      const first = await certificateOf();
      await service.renewKey();
      const second = await certificateOf();
      assert.notEqual(second.auth.keyHandle, first.auth.keyHandle);
      assert.notEqual(second.certificate.fingerprint256, first.certificate.fingerprint256);
      assert.equal((await certd(first.auth.certId)).status, 400);
    });
  });

  it('moves to another hub, with another key handle; the old one is not known any more', async () => {
    await start();
    const old = service.keyHandle;
    const second = await HubEmulator.start({ hostName: 'second.azure-devices.net' });
    await service.moveTo(second);
    const { spec } = (await identityd()).body;
    assert.deepEqual([spec.hubName, spec.gatewayHost], ['second.azure-devices.net', `localhost:${second.port}`]);
    assert.ok(second.hasModule(DEVICE, MODULE));
    assert.notEqual(spec.auth.keyHandle, old);
    const refused = await signed(old, 'text');
    assert.deepEqual([refused.status, refused.body], [400, { message: 'parameter "handle" has an invalid value' }]);
    assert.equal((await signed(spec.auth.keyHandle, 'text')).status, 200);
    await second.stop();
  });

  it('renews the key, which the hub then knows', async () => {
    await start();
    const old = service.keyHandle;
    await service.renewKey();
    const credential = hub.getModule(DEVICE, MODULE)?.credential;
    assert.ok(credential?.type === 'sas' && credential.primaryKey !== KEY);
    assert.equal((await signed(old, 'text')).status, 400);
    const signature = createHmac('sha256', Buffer.from(credential.primaryKey, 'base64'))
      .update('text')
      .digest('base64');
    assert.deepEqual((await signed(service.keyHandle, 'text')).body, { signature });
    const again = service.keyHandle;
    assert.equal((await identityd(`/identities/device/reprovision?${API}`, { type: 'aziot' })).status, 204);
    assert.notEqual(service.keyHandle, again);
  });

  const states: Record<Exclude<IdentityState, 'provisioned'>, [number, RegExp]> = {
    unknownPrincipal: [401, /^authentication error$/],
    notAuthorized: [401, /^authorization error$/],
    notProvisioned: [400, /^device identity not found$/],
    hubUnreachable: [404, /^Hub client error\ncaused by: /],
  };
  for (const [state, [status, message]] of Object.entries(states)) {
    it(`answers ${status} when it is ${state}, until that is mended`, async () => {
      await start();
      service.state = state as IdentityState;
      const answer = await identityd();
      assert.equal(answer.status, status);
      assert.match(answer.body.message, message);
      service.state = 'provisioned';
      assert.equal((await identityd()).status, 200);
    });
  }

  it('refuses what its daemons refuse', async () => {
    await start();
    const { keyHandle } = service;
    const parameters = { message: 'AAAA' };
    const answers = [
      await identityd('/identities/identity'),
      await identityd('/identities/identity?api-version=1999-01-01'),
      await identityd(`/identities/modules/other?${API}`),
      await certd('none'),
      await keyd('/sign', { algorithm: 'HMAC-SHA256', parameters }),
      await keyd('/sign', { keyHandle: 'x', algorithm: 'HMAC-SHA256', parameters }),
      await keyd('/sign', { keyHandle, algorithm: 'MD5', parameters }),
      await keyd('/sign', { keyHandle, algorithm: 'HMAC-SHA256', parameters: { message: '?' } }),
      await keyd('/sign', { keyHandle, algorithm: 'ECDSA', parameters: { digest: 'AAAA' } }),
      await keyd('/encrypt', { keyHandle, algorithm: 'RSA-PKCS1', plaintext: 'AAAA' }),
    ];
    assert.deepEqual(
      answers.map(({ status, body }) => [status, Object.keys(body)]),
      [400, 400, 400, 400, 422, 400, 422, 422, 400, 400].map((status) => [status, ['message']]),
    );
  });

  it('has faults of single operations', async () => {
    await start();
    service.faults.inject({ kind: 'status', operation: 'identity', status: 403, message: 'no', count: 1 });
    const denied = await identityd();
    assert.deepEqual([denied.status, denied.body], [403, { message: 'no' }]);
    service.faults.inject({ kind: 'garbage', operation: 'sign', count: 1 });
    assert.equal((await identityd()).status, 200);
    assert.match((await signed(service.keyHandle, 'x')).text, /^<html>/);
    service.faults.inject({ kind: 'silence', operation: 'identity' });
    const silent = identityd();
    await service.waitForRequest(({ fault }) => fault === 'silence');
    await service.offline('identityd');
    assert.equal((await silent).exit, 52); // empty reply
  });

  it('has sockets with the given mode and group, which go and come one by one', async () => {
    const group = process.getgid?.() ?? 0;
    await start({ sockets: { identityd: { mode: 0o600 }, keyd: { group } } });
    const stat = (daemon: string) => statSync(join(directory, `${daemon}.sock`));
    assert.deepEqual([stat('identityd').mode & 0o777, stat('keyd').mode & 0o777], [0o600, 0o660]);
    assert.equal(stat('keyd').gid, group);
    await service.offline('keyd');
    assert.deepEqual([service.isOnline('keyd'), service.isOnline('identityd')], [false, true]);
    assert.equal(existsSync(join(directory, 'keyd.sock')), false);
    assert.equal((await signed(service.keyHandle, 'x')).exit, 7); // could not connect
    assert.equal((await identityd()).status, 200);
    await service.online('keyd');
    assert.equal((await signed(service.keyHandle, 'x')).status, 200);
  });
});
