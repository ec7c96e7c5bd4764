import assert from 'node:assert/strict';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { createServer, request } from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { systemClock } from '../../src/core/base/clock.ts';
import { milliseconds } from '../../src/core/base/duration.ts';
import { Network } from '../../src/core/network/network.ts';
import { CertificateAuthority } from '../../src/emulator/certificates.ts';
import { HubEmulator } from '../../src/emulator/hub.ts';
import { ProxyEmulator } from '../../src/emulator/proxy.ts';
import { addSimulatedDevices } from '../../src/emulator/simulated-devices.ts';
import type { ServiceCredential } from '../../src/fleet/credential.ts';
import { HubAgent } from '../../src/fleet/hub-agent.ts';
import { HubService } from '../../src/fleet/service.ts';
import { networkTo } from '../emulator/service/client.ts';
import { temporaryFolder } from '../harness/folders.ts';

const MODULE = 'azureiotsecurity';

describe('The service API by the SDK', () => {
  let hub: HubEmulator;
  const opened: HubService[] = [];
  before(async () => {
    hub = await HubEmulator.start({ bearerTokens: ['an Entra token'] });
    addSimulatedDevices(hub, 2_500);
  });
  after(() => hub.stop());
  afterEach(() => {
    for (const service of opened.splice(0)) service.close();
    hub.faults.clear();
  });

  const gateway = () => `localhost:${hub.restPort}`;
  const ofPolicy = (policy = 'iothubowner', key?: string): ServiceCredential => ({
    kind: 'sharedAccessKey',
    hostName: hub.hostName,
    gateway: gateway(),
    policy,
    key: key ?? hub.policies.find(({ name }) => name === policy)?.primaryKey ?? '',
  });
  const open = async (credential = ofPolicy(), more: Partial<Parameters<typeof HubService.open>[0]> = {}) => {
    const signal = new AbortController().signal;
    const service = await HubService.open({ credential, network: networkTo(hub), clock: systemClock, signal, ...more });
    opened.push(service);
    return service;
  };

  for (const hostName of ['emulator.azure-devices.net', 'emulator.service.azure-devices.net']) {
    it(`reaches the hub by ${hostName}, with a key and with Microsoft Entra`, async () => {
      const entra = { kind: 'entra', hostName, gateway: gateway() } as const;
      const tokens = {
        getToken: async () => ({ token: 'an Entra token', expiresOnTimestamp: Number.MAX_SAFE_INTEGER }),
      };
      for (const service of [await open({ ...ofPolicy(), hostName }), await open(entra, { tokens })]) {
        assert.equal(await service.count('devices WHERE tags.site = 2'), 250);
      }
    });
  }

  it('reads all pages of a query, once each, even if the hub throttles it in between', async () => {
    const service = await open();
    hub.faults.inject({ kind: 'throttleRest', perSecond: 2, retryAfter: 1 });
    const ids: unknown[] = [];
    const sizes: number[] = [];
    for await (const rows of service.query('SELECT deviceId FROM devices')) {
      ids.push(...rows.map(({ deviceId }) => deviceId));
      sizes.push(rows.length);
    }
    assert.deepEqual([sizes, new Set(ids).size], [[1_000, 1_000, 500], 2_500]);
    assert.equal(await service.count('devices WHERE tags.site = 2'), 250);
  });

  it('proves itself by a token of Microsoft Entra', async () => {
    const credential = { kind: 'entra', hostName: hub.hostName, gateway: gateway() } as const;
    const asked: unknown[] = [];
    const tokens = {
      getToken: async (scope: unknown) => {
        asked.push(scope);
        return { token: 'an Entra token', expiresOnTimestamp: systemClock.now().getTime() + 3_600_000 };
      },
    };
    const service = await open(credential, { tokens });
    assert.equal(await service.count('devices'), 2_500);
    assert.deepEqual(asked, ['https://iothubs.azure.net/.default']);
    assert.deepEqual(hub.restRequests.at(-1)?.caller, { policy: 'entra' });
  });

  it('explains an invalid credential', async () => {
    const wrong = await open(ofPolicy('iothubowner', Buffer.alloc(32).toString('base64')));
    await assert.rejects(wrong.count('devices'), { id: 'CREDENTIAL_REFUSED', message: /not signed with a key/ });
    const weak = await open(ofPolicy('registryRead'));
    await assert.rejects(weak.count('devices'), {
      id: 'CREDENTIAL_REFUSED',
      message: /not have the permission ServiceConnect/,
    });
  });

  it('reports an untrusted certificate', async () => {
    const service = await open(ofPolicy(), { network: new Network({ environment: {}, clock: systemClock }) });
    await assert.rejects(service.count('devices'), { id: 'TLS_FAILED', remedy: /--trusted-ca-file/ });
  });

  it('makes five requests at once at most', async () => {
    const service = await open();
    const before = hub.restRequests.length;
    await Promise.all(
      Array.from({ length: 40 }, (_, n) => service.createModule(`sim-${String(n + 1).padStart(6, '0')}`, MODULE)),
    );
    assert.equal(hub.restRequests.length - before, 40);
    await assert.rejects(service.createModule('sim-000001', MODULE), { kind: 'refused', status: 409 });
  });

  it('ends a connection that the hub leaves silent', async () => {
    const authority = await CertificateAuthority.create();
    const { caPem, certificatePem: cert, keyPem: key } = await authority.issueServer([hub.hostName]);
    const trustedCaFile = join(temporaryFolder(), 'ca.pem');
    writeFileSync(trustedCaFile, caPem);
    const silent = createServer({ cert, key }, () => {}).listen(0, '127.0.0.1');
    await once(silent, 'listening');
    const { port } = silent.address() as AddressInfo;
    const network = new Network({ trustedCaFile, environment: {}, clock: systemClock });
    const clock = systemClock;
    const agent = new HubAgent({ network, gateway: `127.0.0.1:${port}`, clock, silence: milliseconds(50) });
    try {
      const [error] = await once(request({ host: hub.hostName, agent }).end(), 'error').catch((thrown) => [thrown]);
      assert.equal(error.code, 'ETIMEDOUT');
    } finally {
      agent.destroy();
      silent.close();
    }
  });

  it('is closed while it connects', async () => {
    const proxy = await ProxyEmulator.start();
    try {
      proxy.behave('silent');
      const network = new Network({ proxy: `http://127.0.0.1:${proxy.port}`, environment: {}, clock: systemClock });
      const agent = new HubAgent({ network, clock: systemClock });
      const ended = once(request({ host: hub.hostName, agent }).end(), 'error').catch((thrown) => [thrown]);
      await proxy.waitForRequest(() => true);
      agent.destroy();
      const [error] = await ended;
      assert.equal(error.name, 'AbortError');
    } finally {
      await proxy.stop();
    }
  });
});
