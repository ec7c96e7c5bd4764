import assert from 'node:assert/strict';
import { deriveDeviceKey } from '../../../src/agent/identity/provisioning/attestation.ts';
import { GLOBAL_SERVICE, type Registering, register } from '../../../src/agent/identity/provisioning/register.ts';
import { systemClock } from '../../../src/core/base/clock.ts';
import { minutes, seconds } from '../../../src/core/base/duration.ts';
import { HubFailure } from '../../../src/core/contract/hub.ts';
import { Network } from '../../../src/core/network/network.ts';
import { CertificateAuthority, type IssuedCertificate, selfSigned } from '../../../src/emulator/certificates.ts';
import { HubEmulator } from '../../../src/emulator/hub.ts';
import { deriveDeviceKey as derivedByService } from '../../../src/emulator/provisioning/enrollments.ts';
import { ProvisioningEmulator } from '../../../src/emulator/provisioning/service.ts';
import { ProxyEmulator } from '../../../src/emulator/proxy.ts';
import { token } from '../../emulator/provisioning/clients.ts';
import { until } from '../../harness/until.ts';
import { fastClock, newKey, temporaryDirectory } from '../hub/support.ts';

const never = new AbortController().signal;
const ID = 'gateway7';

/** Port of each protocol; a proxy can block one of them. */
const PORTS = { HTTPS: 443, MQTT: 8883 } as const;
type Protocol = keyof typeof PORTS;

describe('Registration with the provisioning service', () => {
  let authority: CertificateAuthority;
  let hub: HubEmulator;
  let service: ProvisioningEmulator;
  let proxy: ProxyEmulator;
  let groupAuthority: CertificateAuthority;
  let own: IssuedCertificate;
  const key = newKey();
  const groupKey = newKey();
  const directory = temporaryDirectory();
  const clock = fastClock(500);

  before(async () => {
    authority = await CertificateAuthority.create();
    groupAuthority = await CertificateAuthority.create({ commonName: 'fleet' });
    own = await selfSigned({ commonName: ID });
    hub = await HubEmulator.start({ certificateAuthority: authority });
    directory.write('ca.pem', hub.caPem);
  });
  after(async () => {
    await hub.stop();
    directory.remove();
  });
  beforeEach(async () => {
    service = await ProvisioningEmulator.start({
      hubs: [hub],
      certificateAuthority: authority,
      individuals: [
        { registrationId: ID, deviceId: 'device7', primaryKey: key },
        { registrationId: 'by-certificate', thumbprint: own.thumbprint },
      ],
      groups: [
        { name: 'keys', primaryKey: groupKey },
        { name: 'certificates', caPem: groupAuthority.certificatePem },
      ],
    });
    const routes = Object.fromEntries(Object.values(PORTS).map((port) => [`${GLOBAL_SERVICE}:${port}`, service.port]));
    proxy = await ProxyEmulator.start({ routes });
  });
  afterEach(async () => {
    await proxy.stop();
    await service.stop();
  });

  /** Options with one open protocol; with `undefined`, both are open. */
  const options = (protocol: Protocol | undefined, changes: Partial<Registering> = {}): Registering => {
    for (const [other, port] of Object.entries(PORTS)) {
      proxy.behave(protocol === undefined || other === protocol ? 'connect' : 'unavailable', `*:${port}`);
    }
    const registrant = { idScope: service.idScope, registrationId: ID, token: token(ID, key) };
    return {
      endpoint: GLOBAL_SERVICE,
      registrant,
      subject: { service: GLOBAL_SERVICE, ...registrant, proof: 'the key in /key', now: systemClock.now() },
      network: new Network({
        trustedCaFile: `${directory.path}/ca.pem`,
        proxy: `http://localhost:${proxy.port}`,
        environment: {},
        clock,
      }),
      clock,
      signal: never,
      ...changes,
    };
  };

  const as = (registrationId: string, proof: { token: string } | IssuedCertificate): Partial<Registering> =>
    'token' in proof
      ? { registrant: { idScope: service.idScope, registrationId, token: proof.token } }
      : {
          registrant: { idScope: service.idScope, registrationId },
          certificate: { certificate: proof.chainPem, key: proof.keyPem },
        };

  const failureOf = async (registering: Registering): Promise<HubFailure> => {
    const failure = await register(registering).then(
      (registered) => assert.fail(`registered: ${JSON.stringify(registered)}`),
      (error: unknown) => error,
    );
    assert.ok(failure instanceof HubFailure, String(failure));
    return failure;
  };

  const operations = () => service.requests.map(({ transport, operation }) => `${transport} ${operation}`);

  it('derives the key of a device in a group as the documentation does', () => {
    const documented = '8isrFI1sGsIlvvFSSFRiMfCNzv21fjbE/+ah/lSh3lF8e2YG1Te7w1KpZhJFFXJrqYKi9yegxkqIChbqOS9Egw==';
    const derived = deriveDeviceKey(documented, 'sn-007-888-abc-mac-a1-b2-c3-d4-e5-f6');
    assert.equal(derived, 'Jsm0lyGpjaVYVP2g3FnmnmG9dI/9qU24wNoykUmermc=');
  });

  for (const protocol of ['HTTPS', 'MQTT'] as const) {
    describe(`by ${protocol}`, () => {
      it('registers with a key, waits during the assignment, and returns hub and device', async () => {
        service.settings.polls = 3;
        const registered = await register(options(protocol));
        assert.deepEqual(registered, {
          assignment: { hub: hub.hostName, deviceId: 'device7' },
          isNew: true,
          by: `${GLOBAL_SERVICE}:${PORTS[protocol]} (${protocol})`,
        });
        const asked = protocol === 'HTTPS' ? [] : ['mqtt connect'];
        const polls = Array.from({ length: 3 }, () => `${protocol.toLowerCase()} operation`);
        assert.deepEqual(operations(), [...asked, `${protocol.toLowerCase()} register`, ...polls]);
      });

      it('leaves no connection behind', async () => {
        await register(options(protocol));
        await until('the end of the tunnel', () => proxy.tunnels === 0);
        service.setStatus(ID, 'disabled');
        await failureOf(options(protocol));
        await until('the end of the tunnel', () => proxy.tunnels === 0);
      });

      it('registers with the key of its group', async () => {
        const id = 'sn-1';
        const derived = deriveDeviceKey(groupKey, id);
        assert.equal(derived, derivedByService(groupKey, id));
        const { assignment } = await register(options(protocol, as(id, { token: token(id, derived) })));
        assert.equal(assignment.deviceId, id);
      });

      it('registers with a self-signed certificate', async () => {
        const leaf = await selfSigned({ commonName: 'by-certificate' });
        service.enroll({ registrationId: 'by-certificate', thumbprint: leaf.thumbprint });
        const { assignment } = await register(options(protocol, as('by-certificate', leaf)));
        assert.equal(assignment.deviceId, 'by-certificate');
      });

      it('registers with a certificate of its group, issued by an intermediate authority', async () => {
        const leaf = await (await groupAuthority.intermediate({ commonName: 'site 1' })).issue({ commonName: 'sn-2' });
        const { assignment } = await register(options(protocol, as('sn-2', leaf)));
        assert.equal(assignment.deviceId, 'sn-2');
      });

      for (const [what, changes] of [
        ['a wrong key', () => as(ID, { token: token(ID, newKey()) })],
        ['a device that is not enrolled', () => as('nobody', own)],
        [
          'an unknown ID scope',
          () => ({ registrant: { idScope: '0ne99999999', registrationId: ID, token: token(ID, key) } }),
        ],
        ['an expired token', () => as(ID, { token: token(ID, key, { expiresAt: new Date(0) }) })],
      ] as const) {
        it(`rejects ${what}`, async () => {
          const { error, retryCause } = await failureOf(options(protocol, changes()));
          assert.deepEqual([error.id, retryCause], ['PROVISIONING_REFUSED', 'credentials']);
          assert.match(error.remedy, /idScope .*0ne00000001.*gateway7 is enrolled/);
        });
      }

      it("reports a failure with the service's code and text", async () => {
        service.setFailure(ID, { errorCode: 400207, errorMessage: 'Custom allocation failed with status code: 500' });
        const { error, retryCause } = await failureOf(options(protocol));
        assert.deepEqual([error.id, retryCause], ['PROVISIONING_FAILED', 'credentials']);
        assert.match(error.message, /\(400207\): Custom allocation failed with status code: 500$/);
      });

      it('reports a disabled enrolment', async () => {
        service.setStatus(ID, 'disabled');
        const { error, retryCause } = await failureOf(options(protocol));
        assert.deepEqual([error.id, retryCause], ['PROVISIONING_DISABLED', 'credentials']);
      });

      it('continues if the service is busy during the assignment', async () => {
        service.faults.inject({ kind: 'status', status: 503, operation: 'operation', count: 2, retryAfterSeconds: 5 });
        service.faults.inject({ kind: 'status', status: 429, operation: 'operation', count: 1 });
        const { assignment } = await register(options(protocol));
        assert.equal(assignment.hub, hub.hostName);
      });

      for (const [status, retryCause] of [
        [429, 'throttled'],
        [503, 'network'],
      ] as const) {
        it(`reports when to try again after ${status} to the first request`, async () => {
          service.faults.inject({ kind: 'status', status, operation: 'register', retryAfterSeconds: 40 });
          const failure = await failureOf(options(protocol));
          const { error, after } = failure;
          assert.deepEqual(
            [error.id, failure.retryCause, after],
            ['PROVISIONING_UNREACHABLE', retryCause, seconds(40)],
          );
        });
      }

      it('gives up after 5 minutes without a result', async () => {
        service.settings.polls = Number.MAX_SAFE_INTEGER;
        service.settings.retryAfterSeconds = 20;
        const from = clock.monotonic();
        const { error, retryCause } = await failureOf(options(protocol));
        assert.deepEqual([error.id, retryCause], ['PROVISIONING_UNREACHABLE', 'network']);
        assert.match(error.message, /within 5 minutes/);
        const spent = clock.monotonic() - from;
        assert.ok(spent > minutes(4) && spent < minutes(6), String(spent));
      });

      it('asks once more at the time limit, even if the service asks for a longer wait', async () => {
        service.settings.polls = 1;
        service.settings.retryAfterSeconds = 300;
        const from = clock.monotonic();
        const { assignment } = await register(options(protocol));
        assert.equal(assignment.deviceId, 'device7');
        assert.ok(clock.monotonic() - from >= minutes(5));
        assert.equal(operations().filter((name) => name.endsWith(' register')).length, 1);
      });

      it('reports when to try again after it gave up', async () => {
        service.settings.polls = Number.MAX_SAFE_INTEGER;
        service.settings.retryAfterSeconds = 300;
        const { error, after } = await failureOf(options(protocol));
        assert.match(error.message, /within 5 minutes/);
        assert.equal(after, minutes(5));
      });

      it('rejects answers of a portal instead of the service', async () => {
        service.faults.inject({ kind: 'garbage', operation: 'register' });
        const { error, retryCause } = await failureOf(options(protocol));
        assert.deepEqual([error.id, retryCause], ['PROVISIONING_UNREACHABLE', 'network']);
        assert.match(error.remedy, /portal or proxy/);
      });

      it('stops immediately when it is cancelled', async () => {
        service.settings.polls = Number.MAX_SAFE_INTEGER;
        service.settings.retryAfterSeconds = undefined;
        const stop = new AbortController();
        const registering = register(options(protocol, { signal: stop.signal, clock: systemClock }));
        await service.waitForRequest(({ operation }) => operation === 'register');
        const reason = new Error('stopped');
        stop.abort(reason);
        await assert.rejects(registering, (error) => error === reason);
      });

      it('never shows the token, even if the service repeats it', async () => {
        const secret = token(ID, key);
        service.faults.inject({ kind: 'status', status: 401, message: `wrong: ${secret}`, operation: 'register' });
        const { error } = await failureOf(options(protocol, as(ID, { token: secret })));
        const [, signature = secret] = /sig=([^&]+)/.exec(secret) ?? [];
        for (const text of [error.message, error.remedy]) {
          assert.ok(!text.includes(signature) && !text.includes(decodeURIComponent(signature)), text);
        }
      });
    });
  }

  it('uses HTTPS if both protocols are open', async () => {
    const { by } = await register(options(undefined));
    assert.equal(by, `${GLOBAL_SERVICE}:443 (HTTPS)`);
    assert.ok(!proxy.requests.some(({ target }) => target.endsWith(':8883')));
  });

  it('uses MQTT if HTTPS is blocked', async () => {
    const registering = options(undefined);
    proxy.behave('close', '*:443');
    assert.match((await register(registering)).by, /:8883 \(MQTT\)$/);
  });

  it('tries both protocols at one endpoint, and names it once', async () => {
    await service.offline();
    const network = new Network({ trustedCaFile: `${directory.path}/ca.pem`, environment: {}, clock });
    const endpoint = service.endpoint;
    const failure = await failureOf({
      ...options(undefined),
      network,
      endpoint,
      subject: { ...options(undefined).subject, service: endpoint },
    });
    assert.deepEqual([failure.error.id, failure.retryCause], ['PROVISIONING_UNREACHABLE', 'network']);
    assert.equal(failure.error.message.split('ECONNREFUSED').length, 2, failure.error.message);
    assert.match(failure.error.remedy, new RegExp(`must reach ${endpoint} by TCP`));
  });

  it('reports an unresolvable name as such, whatever words it contains', async () => {
    const endpoint = 'alert-certificate.example';
    const lookUp = () =>
      Promise.reject(Object.assign(new Error(`getaddrinfo ENOTFOUND ${endpoint}`), { code: 'ENOTFOUND' }));
    const network = new Network({ environment: {}, clock, lookUp });
    const failure = await failureOf({ ...options(undefined, as('by-certificate', own)), network, endpoint });
    assert.deepEqual([failure.error.id, failure.retryCause], ['PROVISIONING_UNREACHABLE', 'network']);
    assert.match(failure.error.message, /can't be resolved/);
  });

  it('names both ports if the service cannot be reached by either', async () => {
    const registering = options(undefined);
    proxy.behave('unavailable');
    for (const port of Object.values(PORTS)) proxy.behave('unavailable', `*:${port}`);
    const { error } = await failureOf(registering);
    assert.match(error.message, /:443 with 502.*:8883 with 502/);
  });

  it('does not register with a server that it does not trust', async () => {
    const otherAuthority = await CertificateAuthority.create();
    directory.write('other.pem', otherAuthority.rootPem);
    const network = new Network({
      trustedCaFile: `${directory.path}/other.pem`,
      proxy: `http://localhost:${proxy.port}`,
      environment: {},
      clock,
    });
    const { error } = await failureOf({ ...options(undefined), network });
    assert.equal(error.id, 'TLS_FAILED');
    assert.match(error.remedy, /hub\.trustedCaFile/);
    assert.deepEqual(service.requests, []);
  });

  it('looks up an assignment without registering again', async () => {
    await register(options('HTTPS'));
    service.reassign(ID, hub, 'nextRegistration');
    const { assignment, isNew } = await register(options('HTTPS', { lookUp: true }));
    assert.deepEqual([assignment.deviceId, isNew], ['device7', false]);
    assert.equal(operations().filter((name) => name === 'https register').length, 1);
  });

  it('registers after a lookup of a device that has never registered', async () => {
    const { isNew } = await register(options('HTTPS', { lookUp: true }));
    assert.equal(isNew, true);
  });
});
