import assert from 'node:assert/strict';
import type { RequestListener } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import * as fc from 'fast-check';
import {
  type DeviceProof,
  ModuleRegistry,
  nameOfError,
  RegistryRefusal,
} from '../../../src/agent/identity/module-registry.ts';
import { retryAfter } from '../../../src/agent/identity/request-failure.ts';
import { systemClock } from '../../../src/core/base/clock.ts';
import { hours, minutes, seconds } from '../../../src/core/base/duration.ts';
import type { FailureId } from '../../../src/core/base/errors.ts';
import { HubFailure, type RetryCause } from '../../../src/core/contract/hub.ts';
import { Network } from '../../../src/core/network/network.ts';
import { CertificateAuthority, selfSigned } from '../../../src/emulator/certificates.ts';
import { HubEmulator } from '../../../src/emulator/hub.ts';
import { ProxyEmulator } from '../../../src/emulator/proxy.ts';
import { fuzzRuns } from '../../fuzz.ts';
import { withCopies } from '../../harness/copies.ts';
import { suiteFolder } from '../../harness/folders.ts';
import { newKey } from '../hub/support.ts';
import { clockAt, failureOf, writer } from './support.ts';

describe('ModuleRegistry', () => {
  const never = new AbortController().signal;
  const key = newKey();
  const proof: DeviceProof = { kind: 'key', key };
  let authority: CertificateAuthority;
  let network: Network;
  before(async () => {
    authority = await CertificateAuthority.create();
    const trustedCaFile = writer(suiteFolder())('ca.pem', authority.rootPem);
    network = new Network({ trustedCaFile, environment: {}, clock: systemClock });
  });

  const registryAt = (port: number, clock = systemClock) =>
    new ModuleRegistry({ endpoint: `localhost:${port}`, network, clock, credential: 'the key in /k' });

  for (const errorForm of ['text', 'json'] as const) {
    describe(`of a hub that words errors as ${errorForm}`, () => {
      let hub: HubEmulator;
      let registry: ModuleRegistry;
      const entry = { hostName: 'emulator.azure-devices.net', deviceId: 'dev1', moduleId: 'm' };
      beforeEach(async () => {
        const devices = [
          { deviceId: 'dev1', credential: { type: 'sas', primaryKey: key, secondaryKey: newKey() } },
        ] as const;
        hub = await HubEmulator.start({ devices, certificateAuthority: authority, errorForm });
        registry = registryAt(hub.restPort);
      });
      afterEach(() => hub.stop());

      const refusal = (work: Promise<unknown>, id: FailureId, cause: RetryCause) => failureOf(work, id, cause, [key]);

      it('reads the keys of a module', async () => {
        hub.addModule({ deviceId: 'dev1', moduleId: 'm', primaryKey: newKey() });
        const { credential } = hub.getModule('dev1', 'm') ?? {};
        assert.ok(credential?.type === 'sas');
        assert.deepEqual(await registry.read(entry, proof, never), [
          { source: 'primary', key: credential.primaryKey },
          { source: 'secondary', key: credential.secondaryKey },
        ]);
      });

      it('finds that a device has no such module, and creates it', async () => {
        assert.equal(await registry.read(entry, proof, never), undefined);
        const created = await registry.create(entry, proof, never);
        assert.deepEqual(await registry.read(entry, proof, never), created);
        assert.deepEqual(
          hub.restRequests.map(({ method, status }) => [method, status]),
          [
            ['GET', 404],
            ['PUT', 201],
            ['GET', 200],
          ],
        );
      });

      it('reads a module that another process has just created', async () => {
        hub.addModule({ deviceId: 'dev1', moduleId: 'm' });
        const created = await registry.create(entry, proof, never);
        assert.equal(created.length, 2);
        assert.equal(hub.restRequests[0]?.status, 409);
      });

      it('encodes ids in the path and in the token', async () => {
        const ids = { deviceId: "d-.%_*?!(),:=@$'1", moduleId: "m:%2F?'$" };
        hub.addDevice({ deviceId: ids.deviceId, credential: { type: 'sas', primaryKey: key, secondaryKey: key } });
        await registry.create({ ...entry, ...ids }, proof, never);
        assert.ok(hub.hasModule(ids.deviceId, ids.moduleId));
      });

      it('is the device by its certificate', async () => {
        const own = await selfSigned({ commonName: 'dev2' });
        const credential = { type: 'selfSigned', primaryThumbprint: own.thumbprint } as const;
        hub.addDevice({ deviceId: 'dev2', credential });
        const certificate = {
          kind: 'certificate',
          certificate: own.chainPem,
          key: own.keyPem,
          expiresAt: own.notAfter,
          dueAt: own.notAfter,
        } as const;
        assert.equal((await registry.create({ ...entry, deviceId: 'dev2' }, certificate, never)).length, 2);
        assert.equal(hub.restRequests[0]?.caller !== undefined && 'thumbprint' in hub.restRequests[0].caller, true);
      });

      it('explains how to fix a wrong key', async () => {
        const work = registry.read(entry, { kind: 'key', key: newKey() }, never);
        const failure = await refusal(work, 'CREDENTIAL_REFUSED', 'credentials');
        assert.ok(failure instanceof RegistryRefusal);
        assert.deepEqual([failure.status, failure.errorName], [401, 'IotHubUnauthorized']);
        assert.match(failure.error.message, /refused the credential of the device dev1 \(401 IotHubUnauthorized\)/);
        assert.match(
          failure.error.remedy,
          /the key in \/k is the device's own.*az iot hub device-identity show --hub-name emulator/,
        );
      });

      it('asks for a restart after a change of a key that systemd has copied', async () => {
        const wrong = { kind: 'key', key: newKey() } as const;
        const { error } = await withCopies({ '/s/k': '/c/k' }, () =>
          refusal(registry.read(entry, wrong, never), 'CREDENTIAL_REFUSED', 'credentials'),
        );
        assert.match(error.remedy, /; after a change of \/s\/k, run: systemctl restart vakt\.$/);
      });

      it('reports an unset clock if the hub refuses the token', async () => {
        const work = registryAt(hub.restPort, clockAt(new Date(60_000))).read(entry, proof, never);
        const { error } = await refusal(work, 'CREDENTIAL_REFUSED', 'credentials');
        assert.match(`${error.message} ${error.remedy}`, /clock is not set.*now 1970-01-01T00:01/);
      });

      it('reports a disabled device', async () => {
        hub.setStatus('disabled', 'dev1');
        const { error } = await refusal(registry.read(entry, proof, never), 'CREDENTIAL_REFUSED', 'credentials');
        assert.match(error.remedy, /az iot hub device-identity update .*--device-id 'dev1' --set status=enabled/);
      });

      it('distinguishes a missing device from a missing module', async () => {
        hub.removeDevice('dev1');
        const failure = await refusal(registry.read(entry, proof, never), 'MODULE_UNKNOWN', 'absent');
        assert.ok(failure instanceof RegistryRefusal && failure.errorName === 'DeviceNotFound');
        assert.match(failure.error.message, /has no device dev1/);
        assert.match(failure.error.remedy, /az iot hub device-identity create .*'dev1'/);
      });

      it('reports that the device has the maximum number of modules', async () => {
        for (let i = 0; i < 50; i++) hub.addModule({ deviceId: 'dev1', moduleId: `m${i}` });
        const { error } = await refusal(registry.create(entry, proof, never), 'MODULE_UNKNOWN', 'absent');
        assert.match(error.message, /as many modules as it may have/);
      });

      for (const [type, credential] of [
        ['selfSigned', { type: 'selfSigned', primaryThumbprint: 'ab'.repeat(32) }],
        ['certificateAuthority', { type: 'certificateAuthority' }],
      ] as const) {
        it(`reports that a module with a certificate (${type}) has no keys`, async () => {
          hub.addModule({ deviceId: 'dev1', moduleId: 'm', credential });
          const { error } = await refusal(registry.read(entry, proof, never), 'CREDENTIAL_REFUSED', 'credentials');
          assert.match(error.message, new RegExp(`authenticated by a certificate \\(${type}\\)`));
          assert.match(error.remedy, /moduleCertificate.*az iot hub module-identity delete .*--module-id 'm'/);
        });
      }

      it('waits as long as a hub that throttles asks', async () => {
        hub.faults.inject({ kind: 'restStatus', status: 429, retryAfter: 17 });
        const { after } = await refusal(registry.read(entry, proof, never), 'HUB_THROTTLED', 'throttled');
        assert.equal(after, seconds(17));
      });

      for (const status of [500, 502, 503]) {
        it(`retries after ${status}`, async () => {
          hub.faults.inject({ kind: 'restStatus', status, retryAfter: 3 });
          const { after } = await refusal(registry.read(entry, proof, never), 'HUB_UNREACHABLE', 'network');
          assert.equal(after, seconds(3));
        });
      }

      it('reports that a module without a credential has no keys', async () => {
        const authentication = { type: 'none', symmetricKey: { primaryKey: null, secondaryKey: null } };
        const body = JSON.stringify({ deviceId: 'dev1', moduleId: 'm', authentication });
        const network = { request: async () => ({ status: 200, headers: {}, body }) } as unknown as Network;
        const asked = new ModuleRegistry({ endpoint: undefined, network, clock: systemClock, credential: '/k' });
        const { error } = await refusal(asked.read(entry, proof, never), 'CREDENTIAL_REFUSED', 'credentials');
        assert.match(error.message, /the module dev1\/m has no credential at /);
        assert.match(error.remedy, /^Delete the module.*az iot hub module-identity delete .*--module-id 'm'/);
      });

      it('rejects HTML instead of a module', async () => {
        hub.faults.inject({ kind: 'restGarbage' });
        const { error } = await refusal(registry.read(entry, proof, never), 'HUB_MISBEHAVES', 'network');
        assert.match(error.message, /registry at localhost:\d+ can't be used: what it sent is not a module/);
      });
    });
  }

  describe('with a server that is not a hub', () => {
    let server: Server;
    let answer: RequestListener;
    const entry = { hostName: 'hub.example', deviceId: 'dev1', moduleId: 'm' };
    before(async () => {
      const { certificatePem: cert, keyPem } = await authority.issueServer(['localhost']);
      server = createServer({ cert, key: keyPem }, (request, response) => answer(request, response));
      await new Promise<void>((resolve) => server.listen(0, 'localhost', resolve));
    });
    after(() => server.close());
    const read = () => registryAt((server.address() as AddressInfo).port).read(entry, proof, never);

    for (const [what, status, body, headers] of [
      ['a 404 that names no error', 404, '<html>', {}],
      ['a 404 with another name', 404, '{}', { 'iothub-errorcode': 'Other' }],
      ['a redirection', 302, '', { location: 'https://evil.example/' }],
      ['a status that is not used', 418, '', {}],
      ['400', 400, '{"Message":"ErrorCode:ArgumentInvalid;x"}', {}],
      ['no keys', 200, '{"authentication":{"type":"sas","symmetricKey":{"primaryKey":null,"secondaryKey":null}}}', {}],
      [
        'keys that are none',
        200,
        '{"authentication":{"type":"sas","symmetricKey":{"primaryKey":"x","secondaryKey":"y"}}}',
        {},
      ],
      ['an unknown type', 200, '{"authentication":{"type":"other"}}', {}],
      ['deep JSON', 200, '['.repeat(100_000), {}],
    ] as const) {
      it(`reports ${what} as misbehaviour`, async () => {
        answer = (_, response) => void response.writeHead(status, headers).end(body);
        await failureOf(read(), 'HUB_MISBEHAVES', 'network', [key]);
      });
    }

    it('reports an answer without end', async () => {
      answer = (_, response) => {
        response.writeHead(200);
        const more = () => {
          while (!response.destroyed && response.write('x'.repeat(65_536)));
        };
        response.on('drain', more);
        more();
      };
      await failureOf(read(), 'HUB_UNREACHABLE', 'network');
    });

    it('reads its error name from the body, if the header has none', async () => {
      answer = (_, response) => void response.writeHead(404).end('{"Message":"ErrorCode:ModuleNotFound;m"}');
      assert.equal(await read(), undefined);
      answer = (_, response) => void response.writeHead(404).end('{"Message":"{\\"errorCode\\":404010}"}');
      assert.equal(await read(), undefined);
      answer = (_, response) => void response.writeHead(403).end('{"Message":"{\\"errorCode\\":403002}"}');
      await failureOf(read(), 'HUB_QUOTA_EXCEEDED', 'quota');
    });

    for (const body of [
      '{"Message":"ErrorCode:OperationNotAvailableInCurrentTier;x"}',
      '{"Message":"{\\"errorCode\\":403010}"}',
    ]) {
      it(`reports the basic tier, which has no modules, for ${body}`, async () => {
        answer = (_, response) => void response.writeHead(403).end(body);
        const { error } = await failureOf(read(), 'HUB_TIER_UNSUPPORTED', 'credentials');
        assert.match(`${error.message} ${error.remedy}`, /basic tier, which has no modules.* standard tier/);
      });
    }

    it('fails only with a HubFailure for random answers', async () => {
      const text = fc.oneof(fc.string({ maxLength: 200 }), fc.json());
      const message = fc.record({ Message: text }).map((value) => JSON.stringify(value));
      const name = fc.constantFrom('ModuleNotFound', 'DeviceNotFound', 'x', 'a b', 'A'.repeat(200));
      const status = fc.constantFrom(200, 201, 204, 301, 400, 401, 403, 404, 409, 413, 429, 500, 503);
      const wait = fc.oneof(
        fc.constantFrom('1', '-1', '1e9', 'Thu, 26 Nov 2026 17:00:00 GMT'),
        fc.stringMatching(/^[!-~]{0,20}$/),
      );
      await fc.assert(
        fc.asyncProperty(status, fc.oneof(text, message), name, wait, async (code, body, error, after) => {
          answer = (_, response) =>
            void response.writeHead(code, { 'iothub-errorcode': error, 'retry-after': after }).end(body);
          try {
            assert.equal(await read(), undefined);
          } catch (failure) {
            assert.ok(failure instanceof HubFailure, String(failure));
            assert.ok(failure.error.message.length < 500 && !failure.error.message.includes(key.slice(0, 12)));
            if (failure.after !== undefined) assert.ok(failure.after >= 0 && failure.after <= hours(1));
          }
        }),
        { numRuns: fuzzRuns(1_000) },
      );
    });
  });

  describe('with an unreachable hub', () => {
    const entry = { hostName: 'hub.example', deviceId: 'dev1', moduleId: 'm' };

    it('reports that nothing listens', async () => {
      const { error } = await failureOf(registryAt(1).read(entry, proof, never), 'HUB_UNREACHABLE', 'network');
      assert.match(error.message, /the hub's REST interface, localhost:1, can't be reached/);
    });

    it('reports an untrusted authority', async () => {
      const hub = await HubEmulator.start();
      try {
        const { error } = await failureOf(registryAt(hub.restPort).read(entry, proof, never), 'TLS_FAILED', 'network');
        assert.match(error.remedy, /Set hub\.trustedCaFile/);
      } finally {
        await hub.stop();
      }
    });

    it('reports an unresolvable name, and the setting that has it', async () => {
      const lookUp = () => Promise.reject(Object.assign(new Error('getaddrinfo ENOTFOUND'), { code: 'ENOTFOUND' }));
      const noNames = new Network({ environment: {}, clock: systemClock, lookUp });
      const registry = new ModuleRegistry({
        endpoint: undefined,
        network: noNames,
        clock: systemClock,
        credential: 'k',
      });
      const { error } = await failureOf(registry.read(entry, proof, never), 'HUB_UNREACHABLE', 'network');
      assert.match(`${error.message} ${error.remedy}`, /hub\.example can't be resolved.*Check hub\.hostName/);
    });

    for (const [what, id, retryCause, says, start] of [
      [
        'asks for a password',
        'PROXY_REFUSED',
        'credentials',
        /localhost:\d+ asks for a user.*hub\.proxyPasswordFile/,
        () => ProxyEmulator.start({ user: { name: 'u', password: 'secret' } }),
      ],
      [
        'refuses the address',
        'PROXY_REFUSED',
        'credentials',
        /localhost:\d+ refused CONNECT to hub\.example:443 \(403\).*Allow CONNECT to hub\.example:443/,
        async () => {
          const proxy = await ProxyEmulator.start();
          proxy.behave('refuse');
          return proxy;
        },
      ],
    ] as const) {
      it(`reports that the proxy ${what}`, async () => {
        const proxy = await start();
        const proxied = new Network({ environment: {}, proxy: `http://localhost:${proxy.port}`, clock: systemClock });
        const registry = new ModuleRegistry({
          endpoint: undefined,
          network: proxied,
          clock: systemClock,
          credential: 'k',
        });
        try {
          const { error } = await failureOf(registry.read(entry, proof, never), id, retryCause);
          assert.match(`${error.message} ${error.remedy}`, says);
        } finally {
          await proxy.stop();
        }
      });
    }

    it('reports an unreachable proxy', async () => {
      const proxied = new Network({ environment: {}, proxy: 'http://localhost:1', clock: systemClock });
      const registry = new ModuleRegistry({
        endpoint: undefined,
        network: proxied,
        clock: systemClock,
        credential: 'k',
      });
      const { error } = await failureOf(registry.read(entry, proof, never), 'HUB_UNREACHABLE', 'network');
      assert.match(error.remedy, /Check the proxy localhost:1/);
    });

    it('reports a hub that does not answer', async () => {
      const hub = await HubEmulator.start({ certificateAuthority: authority });
      const soon = {
        ...systemClock,
        within: <T>(_: unknown, step: string, work: Promise<T>) => systemClock.within(seconds(1), step, work),
      };
      const trustedCaFile = writer(suiteFolder())('ca.pem', authority.rootPem);
      const impatient = new Network({ trustedCaFile, environment: {}, clock: soon });
      hub.faults.inject({ kind: 'restSilence' });
      try {
        const options = {
          endpoint: `localhost:${hub.restPort}`,
          network: impatient,
          clock: systemClock,
          credential: 'k',
        };
        await failureOf(new ModuleRegistry(options).read(entry, proof, never), 'HUB_SILENT', 'network');
      } finally {
        await hub.stop();
      }
    });

    it('stops immediately when it is cancelled', async () => {
      const hub = await HubEmulator.start({ certificateAuthority: authority });
      hub.faults.inject({ kind: 'restSilence' });
      const cancelled = new AbortController();
      try {
        const work = registryAt(hub.restPort).read(entry, proof, cancelled.signal);
        await hub.waitForRestRequest(() => true);
        cancelled.abort(new Error('stopped'));
        await assert.rejects(work, /stopped/);
      } finally {
        await hub.stop();
      }
    });
  });
});

describe('nameOfError', () => {
  it('prefers the header, and rejects invalid names', () => {
    const body = '{"Message":"ErrorCode:DeviceNotFound;d"}';
    assert.equal(nameOfError({ headers: { 'iothub-errorcode': 'ModuleNotFound' }, body }), 'ModuleNotFound');
    assert.equal(nameOfError({ headers: { 'iothub-errorcode': 'x y\u001b[2J' }, body }), 'DeviceNotFound');
    assert.equal(nameOfError({ headers: {}, body: '{"Message":"404010"}' }), undefined);
    assert.equal(nameOfError({ headers: {}, body: '' }), undefined);
  });
});

describe('retryAfter', () => {
  const now = new Date('2026-11-26T17:00:00Z');
  for (const [header, expected] of [
    ['0', seconds(0)],
    ['90', seconds(90)],
    ['Thu, 26 Nov 2026 17:05:00 GMT', minutes(5)],
    ['Thu, 26 Nov 2026 16:05:00 GMT', seconds(0)],
    ['999999999', hours(1)],
    ['Thu, 26 Nov 2099 17:05:00 GMT', hours(1)],
    ['-5', undefined],
    ['1.5', undefined],
    ['soon', undefined],
    ['2026', seconds(2026)],
    ['2026-11-26', undefined],
    ['', undefined],
    [undefined, undefined],
  ] as const) {
    it(`reads ${JSON.stringify(header)}`, () => assert.equal(retryAfter(header, now), expected));
  }
});
