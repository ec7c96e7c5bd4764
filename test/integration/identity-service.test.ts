import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { minutes } from '../../src/core/base/duration.ts';
import { AGENT_KINDS } from '../../src/emulator/agent-kinds.ts';
import { HubEmulator } from '../../src/emulator/hub.ts';
import { IdentityServiceEmulator, type IdentityServiceOptions } from '../../src/emulator/identity-service/service.ts';
import { KeptFiles } from '../../src/emulator/kept-files.ts';
import { until } from '../harness/until.ts';
import { assertRight, check, connectionsOf, connectsAfter } from './local-identity.ts';
import { assertClosed, DEVICE, MODULE, OBJECT, STEADY, TestBed } from './test-bed.ts';

describe('An agent with an identity of the IoT Identity Service', () => {
  let bed: TestBed;
  let service: IdentityServiceEmulator;
  let directory: string;

  const startService = async (options: Partial<IdentityServiceOptions> = {}) => {
    await service?.stop();
    const ids = { deviceId: DEVICE, moduleId: MODULE };
    service = await IdentityServiceEmulator.start({ directory, hub: bed.hub, ...ids, ...options });
  };
  beforeEach(async () => {
    bed = await TestBed.open({ desired: STEADY });
    bed.startWith(STEADY); // command lines of other programs must not be searched for secrets
    directory = join(bed.directory, 'aziot');
    mkdirSync(directory);
    await startService();
    bed.writeConfiguration({
      hub: { trustedCaFile: 'ca.pem' },
      identity: { kind: 'identityService', socketDirectory: 'aziot' },
    });
  });
  afterEach(async () => {
    await bed?.close();
    await service?.stop();
  });

  const moreEvents = async () => {
    const before = bed.events().length;
    await bed.waitForEvents(() => bed.events().length > before);
  };
  const connected = async () => {
    const agent = bed.startAgent();
    await agent.waitForStatus(({ hub }) => hub.state === 'connected');
    return agent;
  };

  it('connects, sends, and shows no secret', async () => {
    const agent = await connected();
    await bed.waitForEvents(() => bed.events('ListeningPorts').length > 0);
    const status = await agent.status();
    assert.equal(status.credential.kind, 'identityService');
    assertClosed(status);
    await agent.end();
    assert.ok(!agent.output.includes(service.keyHandle));
    assert.doesNotMatch(agent.output, /SharedAccess|sig=|keyHandle/);
  });

  it('connects with the configuration that the emulator prints', async () => {
    const prepared = join(bed.directory, 'prepared');
    mkdirSync(prepared, { mode: 0o700 });
    const files = new KeptFiles(prepared);
    files.open('ca.pem', bed.hub.caPem);
    const surroundings = { hub: bed.hub, files, deviceId: DEVICE, moduleId: MODULE, servicePort: 0 };
    const { config, service: other } = await AGENT_KINDS.identityService(surroundings);
    try {
      bed.writeConfiguration({ ...config, identity: { kind: 'identityService', ...config.identity } });
      await (await connected()).end();
    } finally {
      await other.stop();
    }
  });

  for (const daemon of ['identityd', 'keyd'] as const) {
    it(`collects while the socket of ${daemon} is missing, and connects within 15 s once it exists`, async () => {
      await service.offline(daemon);
      const agent = bed.startAgent();
      const { hub } = await agent.waitForStatus(
        ({ hub, delivery }) => hub.error !== undefined && delivery.collected > 0,
      );
      assert.equal(hub.state, 'connecting');
      assert.match(hub.error ?? '', new RegExp(`${daemon}\\.sock does not exist`));
      await connectsAfter(bed, agent, () => service.online(daemon));
      await moreEvents();
      assertClosed(await agent.status());
    });

    it(`collects while ${daemon} does not answer, and connects within 15 s once it does @release`, async () => {
      service.faults.inject({ kind: 'silence', operation: daemon === 'keyd' ? 'sign' : 'identity' });
      const agent = bed.startAgent();
      await agent.waitForStatus(({ hub }) => /did not answer within \d s/.test(hub.error ?? ''));
      await connectsAfter(bed, agent, async () => service.faults.clear());
    });
  }

  it('keeps its connection while the sockets are missing, and waits for them after a disconnection', async () => {
    const agent = await connected();
    await service.offline();
    await moreEvents();
    assert.equal((await agent.status()).hub.state, 'connected');
    bed.hub.disconnect(DEVICE, MODULE);
    await agent.waitForStatus(({ hub }) => /identityd\.sock does not exist/.test(hub.error ?? ''));
    assert.equal(connectionsOf(bed), 1);
    await connectsAfter(bed, agent, () => service.online());
    await moreEvents();
  });

  it('follows the device to another hub and sends its queue there', async () => {
    const other = await HubEmulator.start({
      hostName: 'other.azure-devices.net',
      certificateAuthority: bed.hub.certificateAuthority,
    });
    try {
      const agent = await connected();
      await moreEvents();
      await service.offline();
      bed.hub.disconnect(DEVICE, MODULE);
      await agent.waitForStatus(({ delivery }) => delivery.queued.lowEvents + delivery.queued.highEvents > 2);
      await service.moveTo(other);
      other.patchDesired(DEVICE, MODULE, { [OBJECT]: STEADY });
      bed.hub.removeModule(DEVICE, MODULE);
      await connectsAfter({ hub: other }, agent, () => service.online());
      await agent.waitForStatus(({ delivery: { queued } }) => queued.lowEvents + queued.highEvents === 0);
      await until('messages at the other hub', () => other.messages.length > 0);
      const status = await agent.status();
      assert.equal(status.credential.hub, 'other.azure-devices.net');
      assertClosed(status);
      bed.hub.addModule({ deviceId: DEVICE, moduleId: MODULE }); // the test bed looks into its twin
      await agent.end();
    } finally {
      await other.stop();
    }
  });

  it('requests the new handle of a replaced key', async () => {
    const agent = await connected();
    const before = service.keyHandle;
    await connectsAfter(bed, agent, () => service.renewKey(), minutes(1));
    assert.notEqual(service.keyHandle, before);
    await moreEvents();
  });

  it('logs once how to get a principal, without connecting to the hub, and connects within 15 s once it has one @release', async () => {
    service.state = 'unknownPrincipal';
    const agent = bed.startAgent();
    const { remedy } = await agent.waitForLog(({ id }) => id === 'IDENTITY_SERVICE_REFUSED');
    assert.match(String(remedy), /\[\[principal\]\].*\/etc\/aziot\/identityd\/config\.d\/vakt\.toml/);
    await until('a second question', () => service.requests.length >= 2);
    assert.equal(agent.log.filter(({ id }) => id === 'IDENTITY_SERVICE_REFUSED').length, 1);
    assert.equal(bed.hub.connections.length, 0);
    const { credential } = await agent.status();
    assert.deepEqual([credential.error?.id, credential.error?.code], ['IDENTITY_SERVICE_REFUSED', 'Authentication']);
    await connectsAfter(bed, agent, async () => {
      service.state = 'provisioned';
    });
    await agent.waitForStatus(({ credential }) => credential.error === undefined);
  });

  describe('in vakt check', () => {
    const first = async () => {
      const { status, output } = await check(bed);
      assert.equal(status, 1, output);
      return /^WRONG .*\W([A-Z_]+)\W$/m.exec(output)?.[1] ?? output;
    };

    it('is correct, and shows the network path', async () => {
      const { status, output } = await check(bed);
      assert.match(output, /OK +identity service +device1\/azureiotsecurity at emulator\.azure-devices\.net/);
      assert.match(output, /OK +key service +.*keyd\.sock signs with the module's key/);
      assert.match(output, /OK +hub +the identity is accepted/);
      assertRight(status, output);
    });

    it('is wrong without a socket, a principal or a usable key', async () => {
      await service.offline('keyd');
      assert.equal(await first(), 'IDENTITY_SERVICE_UNREACHABLE');
      await service.online('keyd');
      service.state = 'unknownPrincipal';
      assert.equal(await first(), 'IDENTITY_SERVICE_REFUSED');
      await startService({ authentication: 'x509' });
      assert.equal(await first(), 'IDENTITY_SERVICE_REFUSED');
    });
  });
});
