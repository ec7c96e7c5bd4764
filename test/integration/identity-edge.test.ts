import assert from 'node:assert/strict';
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { minutes, seconds } from '../../src/core/base/duration.ts';
import { AGENT_KINDS } from '../../src/emulator/agent-kinds.ts';
import { EdgeEmulator } from '../../src/emulator/edge/workload.ts';
import { KeptFiles } from '../../src/emulator/kept-files.ts';
import { assertRight, check, connectionsOf, connectsAfter } from './local-identity.ts';
import { assertClosed, DEVICE, MODULE, STEADY, TestBed } from './test-bed.ts';

describe('An agent that is a module of IoT Edge', () => {
  let bed: TestBed;
  let edge: EdgeEmulator;

  beforeEach(async () => {
    bed = await TestBed.open({ desired: STEADY });
    bed.startWith(STEADY); // command lines of other programs must not be searched for secrets
    edge = await EdgeEmulator.start({
      hub: bed.hub,
      deviceId: DEVICE,
      address: { socketPath: join(bed.directory, 'workload.sock') },
    });
    bed.writeConfiguration({ hub: {}, identity: { kind: 'edge' } });
  });
  afterEach(async () => {
    await bed?.close();
    await edge?.stop();
  });

  const start = () => bed.startAgent({ environment: edge.environmentOf(MODULE) });
  const moreEvents = async () => {
    const before = bed.events().length;
    await bed.waitForEvents(() => bed.events().length > before);
  };

  it('connects to the gateway and sends', async () => {
    const agent = start();
    await bed.waitForEvents(() => bed.events('ListeningPorts').length > 0);
    const status = await agent.waitForStatus(({ hub }) => hub.state === 'connected');
    assert.equal(status.credential.kind, 'edge');
    assertClosed(await agent.status());
  });

  it('is configured by environment variables alone', async () => {
    bed.write('agent.json', JSON.stringify({ stateDirectory: 'state', controlSocket: 'control.sock' }));
    const environment = { ...edge.environmentOf(MODULE), VAKT_IDENTITY__KIND: 'edge' };
    const agent = bed.startAgent({ environment });
    await agent.waitForStatus(({ hub }) => hub.state === 'connected');
  });

  it('connects with the configuration that the emulator prints', async () => {
    const directory = join(bed.directory, 'prepared');
    mkdirSync(directory, { mode: 0o700 });
    const { config, environment, service } = await AGENT_KINDS.edge({
      hub: bed.hub,
      files: new KeptFiles(directory),
      deviceId: DEVICE,
      moduleId: MODULE,
      servicePort: 0,
    });
    try {
      bed.writeConfiguration({ hub: {}, ...config, identity: { kind: 'edge', ...config.identity } });
      const agent = bed.startAgent({ environment });
      await agent.waitForStatus(({ hub }) => hub.state === 'connected');
      await agent.end();
    } finally {
      await service.stop();
    }
  });

  it('collects while the socket is missing, and connects within 15 s once it exists', async () => {
    await edge.offline();
    const agent = start();
    const { hub, delivery } = await agent.waitForStatus(
      ({ hub, delivery }) => hub.error !== undefined && delivery.collected > 0,
    );
    assert.equal(hub.state, 'connecting');
    assert.match(hub.error ?? '', /workload\.sock does not exist/);
    assert.match(hub.remedy ?? '', /iotedge system restart/);
    assert.ok(delivery.collected > 0);
    await agent.waitForLog(({ id }) => id === 'EDGE_UNREACHABLE');
    await connectsAfter(bed, agent, () => edge.online());
    await moreEvents();
    assertClosed(await agent.status());
  });

  it('collects while the socket does not answer, and connects within 15 s once it does @release', async () => {
    edge.faults.inject({ kind: 'silence' });
    const agent = start();
    await agent.waitForStatus(({ hub }) => /did not answer within 5 s/.test(hub.error ?? ''));
    await connectsAfter(bed, agent, async () => edge.faults.clear());
  });

  it('keeps its connection while the socket is missing, and waits for the socket after a disconnection', async () => {
    const agent = start();
    await agent.waitForStatus(({ hub }) => hub.state === 'connected');
    await edge.offline();
    await moreEvents();
    assert.equal((await agent.status()).hub.state, 'connected');
    bed.hub.disconnect(DEVICE, MODULE);
    await agent.waitForStatus(({ hub }) => /workload\.sock does not exist/.test(hub.error ?? ''));
    assert.equal(connectionsOf(bed), 1);
    await connectsAfter(bed, agent, () => edge.online());
    await moreEvents();
  });

  it('reads a key that was regenerated at the hub', async () => {
    const agent = start();
    await agent.waitForStatus(({ hub }) => hub.state === 'connected');
    await connectsAfter(
      bed,
      agent,
      async () => bed.hub.regenerateKeys({ deviceId: DEVICE, moduleId: MODULE }),
      minutes(1),
    );
    await moreEvents();
  });

  it('logs how to get new variables for a recreated module, without connecting to the hub @release', async () => {
    const environment = edge.environmentOf(MODULE);
    bed.hub.removeModule(DEVICE, MODULE);
    bed.hub.addModule({ deviceId: DEVICE, moduleId: MODULE, primaryKey: bed.key });
    bed.desire(STEADY);
    const agent = bed.startAgent({ environment });
    const { remedy } = await agent.waitForLog(({ id }) => id === 'EDGE_REFUSED');
    assert.match(String(remedy), /docker rm --force azureiotsecurity$/);
    await edge.waitForRequest(
      () => edge.requests.filter(({ operation }) => operation === 'sign').length === 2,
      seconds(30),
    );
    assert.equal(bed.hub.connections.length, 0);
    assert.equal(agent.log.filter(({ id }) => id === 'EDGE_REFUSED').length, 1);
    await agent.end();
    const again = start(); // like IoT Edge in a new container
    await again.waitForStatus(({ hub }) => hub.state === 'connected');
  });

  it('exits with status 78 without the variables, and names them', async () => {
    const agent = bed.startAgent();
    assert.equal((await agent.exited).status, 78);
    const [record] = agent.log.filter(({ id }) => id === 'CONFIG_INCOMPLETE');
    assert.match(String(record?.msg), /Error in: Local Configuration, reason: Missing Configuration/);
    assert.match(agent.output, /missing: IOTEDGE_WORKLOADURI, IOTEDGE_DEVICEID/);
  });

  describe('in vakt check', () => {
    it('is correct, and shows the network path', async () => {
      const { status, output } = await check(bed, edge.environmentOf(MODULE));
      assert.match(output, /OK +workload API +.*workload\.sock signs for device1\/azureiotsecurity at emulator/);
      assert.match(output, /OK +hub +the identity is accepted/);
      assertRight(status, output);
    });

    it('is wrong without the socket, the variables or the right generation', async () => {
      const right = edge.environmentOf(MODULE);
      const ids = async (environment: NodeJS.ProcessEnv) => {
        const { status, output } = await check(bed, environment);
        assert.equal(status, 1, output);
        return /^WRONG .*\W([A-Z_]+)\W$/m.exec(output)?.[1] ?? output;
      };
      assert.equal(await ids({ ...right, IOTEDGE_MODULEGENERATIONID: '1' }), 'EDGE_REFUSED');
      assert.equal(await ids({}), 'CONFIG_INCOMPLETE');
      await edge.offline();
      assert.equal(await ids(right), 'EDGE_UNREACHABLE');
    });
  });

  it('never shows the token or the digest', async () => {
    const agent = start();
    await bed.waitForEvents(() => bed.events().length > 0);
    await agent.end();
    assert.doesNotMatch(agent.output, /SharedAccess|sig=|digest/);
    assert.doesNotMatch(readFileSync(join(bed.directory, 'agent.json'), 'utf8'), /SharedAccess/);
  });
});
