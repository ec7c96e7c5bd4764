import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { existsSync, statSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import device from 'azure-iot-device';
import transport from 'azure-iot-device-mqtt';
import { EdgeEmulator } from '../../../src/emulator/edge/workload.ts';
import { HubEmulator } from '../../../src/emulator/hub.ts';
import { temporaryFolder } from '../../harness/folders.ts';
import { KEY, MODULE, module, OTHER_KEY } from '../clients.ts';
import { curl, requireCurl } from '../curl.ts';

const API = 'api-version=2020-07-07';

describe("the emulator of IoT Edge's workload API", () => {
  let hub: HubEmulator;
  let edge: EdgeEmulator;
  let socketPath: string;

  beforeEach(async function () {
    await requireCurl(this);
    hub = await HubEmulator.start({ modules: [{ ...module, secondaryKey: OTHER_KEY }] });
    socketPath = join(temporaryFolder(), 'workload.sock');
    edge = await EdgeEmulator.start({ hub, deviceId: module.deviceId, address: { socketPath, mode: 0o666 } });
  });
  afterEach(async () => {
    await edge?.stop();
    await hub?.stop();
  });

  const generation = () => edge.environmentOf(MODULE).IOTEDGE_MODULEGENERATIONID ?? '';
  const signPath = (name = MODULE, genid = generation(), query = API) =>
    `/modules/${name}/genid/${genid}/sign?${query}`;
  const toSign = { keyId: 'primary', algo: 'HMACSHA256', data: Buffer.from('resource\n1').toString('base64') };
  const digest = (key: string) =>
    createHmac('sha256', Buffer.from(key, 'base64')).update('resource\n1').digest('base64');

  for (const version of ['2018-06-28', '2019-01-30', '2020-07-07']) {
    it(`signs with the module's keys, as asked by version ${version}`, async () => {
      const path = signPath(MODULE, generation(), `api-version=${version}`);
      assert.deepEqual((await curl(socketPath, path, toSign)).body, { digest: digest(KEY) });
      const secondary = await curl(socketPath, path, { ...toSign, keyId: 'secondary' });
      assert.deepEqual(secondary.body, { digest: digest(OTHER_KEY) });
    });
  }

  it('gives the CA of the gateway, and lists the modules', async () => {
    assert.deepEqual((await curl(socketPath, `/trust-bundle?${API}`)).body, { certificate: hub.caPem });
    const { modules } = (await curl(socketPath, `/modules?${API}`)).body;
    assert.deepEqual(modules, [
      {
        id: MODULE,
        name: MODULE,
        type: 'docker',
        config: { settings: {}, env: [] },
        status: { runtimeStatus: { status: 'running' } },
      },
    ]);
  });

  it("lets the SDK's own client connect by the variables of a module", async () => {
    const environment = edge.environmentOf(MODULE);
    assert.equal(environment.IOTEDGE_WORKLOADURI, `unix://${socketPath}`);
    const before = { ...process.env };
    Object.assign(process.env, environment);
    try {
      const client = await device.ModuleClient.fromEnvironment(transport.Mqtt);
      client.on('error', () => {});
      await client.open();
      await client.sendEvent(new device.Message('{"a":1}'));
      assert.equal(hub.messages[0]?.body, '{"a":1}');
      await client.close();
    } finally {
      for (const name of Object.keys(environment)) delete process.env[name];
      Object.assign(process.env, before);
    }
    const asked = edge.requests.map(({ operation, status, transport: by }) => [operation, status, by]);
    assert.deepEqual(asked, [
      ['trustBundle', 200, 'unix'],
      ['sign', 200, 'unix'],
    ]);
  });

  it('supports HTTP, too', async () => {
    const other = await EdgeEmulator.start({ hub, deviceId: module.deviceId, address: { port: 0 } });
    const status = await new Promise((resolve, reject) => {
      const asked = request(`${other.workloadUri}/trust-bundle?${API}`, (response) => {
        response.resume();
        resolve(response.statusCode);
      });
      asked.on('error', reject).end();
    });
    assert.deepEqual([status, other.requests[0]?.transport], [200, 'http']);
    assert.match(other.workloadUri, /^http:\/\/127\.0\.0\.1:\d+$/);
    await other.stop();
  });

  const refusals: Record<string, [number, string, () => ReturnType<typeof curl>]> = {
    'an unknown module': [404, 'Module other not found', () => curl(socketPath, signPath('other'), toSign)],
    'an old generation': [
      404,
      `Module ${MODULE} has no generation 1`,
      () => curl(socketPath, signPath(MODULE, '1'), toSign),
    ],
    'an unknown key': [
      404,
      `Module ${MODULE} has no key tertiary`,
      () => curl(socketPath, signPath(), { ...toSign, keyId: 'tertiary' }),
    ],
    'another algorithm': [
      400,
      'Invalid algorithm: HMACSHA512',
      () => curl(socketPath, signPath(), { ...toSign, algo: 'HMACSHA512' }),
    ],
    'data that is not base64': [
      400,
      'The data is not base64',
      () => curl(socketPath, signPath(), { ...toSign, data: '?' }),
    ],
    'no version': [400, 'Invalid api-version: ', () => curl(socketPath, signPath(MODULE, generation(), ''), toSign)],
    'a path that is none': [404, '// does not exist', () => curl(socketPath, '//')],
    'an unknown path': [404, '/elsewhere does not exist', () => curl(socketPath, '/elsewhere')],
  };
  for (const [what, [status, message, run]] of Object.entries(refusals)) {
    it(`refuses ${what}`, async () => {
      const answer = await run();
      assert.deepEqual([answer.status, answer.body], [status, { message }]);
      assert.equal(edge.requests.at(-1)?.reason, message);
    });
  }

  it('has faults', async () => {
    edge.faults.inject({ kind: 'status', operation: 'sign', status: 500, message: 'broken', count: 1 });
    const failed = await curl(socketPath, signPath(), toSign);
    assert.deepEqual([failed.status, failed.body], [500, { message: 'broken' }]);
    edge.faults.inject({ kind: 'garbage', count: 1 });
    assert.match((await curl(socketPath, signPath(), toSign)).text, /^<html>/);
    edge.faults.inject({ kind: 'reset', count: 1 });
    assert.equal((await curl(socketPath, signPath(), toSign)).exit, 52); // empty reply
    edge.faults.inject({ kind: 'silence', count: 1 });
    const silent = curl(socketPath, signPath(), toSign);
    await edge.waitForRequest(({ fault }) => fault === 'silence');
    await edge.offline();
    assert.equal((await silent).exit, 52);
  });

  it('goes, with its socket, and comes back with the same mode', async () => {
    assert.equal(statSync(socketPath).mode & 0o777, 0o666);
    await edge.offline();
    assert.equal(existsSync(socketPath), false);
    assert.equal((await curl(socketPath, signPath(), toSign)).exit, 7); // could not connect
    await edge.online();
    assert.equal(statSync(socketPath).mode & 0o777, 0o666);
    assert.equal((await curl(socketPath, signPath(), toSign)).status, 200);
  });

  it('follows a module that is removed and added again, and a device that moves to another hub', async () => {
    const old = generation();
    hub.removeModule(module.deviceId, MODULE);
    hub.addModule({ ...module, primaryKey: OTHER_KEY });
    assert.equal((await curl(socketPath, signPath(MODULE, old), toSign)).status, 404);
    assert.deepEqual((await curl(socketPath, signPath(), toSign)).body, { digest: digest(OTHER_KEY) });
    const second = await HubEmulator.start({ hostName: 'second.azure-devices.net', modules: [module] });
    edge.moveTo(second);
    assert.deepEqual((await curl(socketPath, `/trust-bundle?${API}`)).body, { certificate: second.caPem });
    assert.equal(edge.environmentOf(MODULE).IOTEDGE_IOTHUBHOSTNAME, 'second.azure-devices.net');
    await second.stop();
  });

  it('has no variables for a module that does not exist', () => {
    assert.throws(() => edge.environmentOf('other'), RangeError);
  });
});
