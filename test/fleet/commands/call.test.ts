import assert from 'node:assert/strict';
import { once } from 'node:events';
import mqtt from 'mqtt';
import { systemClock } from '../../../src/core/base/clock.ts';
import { hours } from '../../../src/core/base/duration.ts';
import { signSasToken } from '../../../src/emulator/sas.ts';
import { FleetBed, MODULE } from './bed.ts';

describe('vakt fleet call', () => {
  let bed: FleetBed;
  const clients: mqtt.MqttClient[] = [];
  beforeEach(async () => {
    bed = await FleetBed.open();
  });
  afterEach(async () => {
    for (const client of clients.splice(0)) client.end(true);
    await bed.hub.stop();
  });

  /** A module that answers every call so. */
  async function answering(deviceId: string, status: number, payload: unknown): Promise<void> {
    const { credential } = bed.hub.addModule({ deviceId, moduleId: MODULE });
    assert.ok(credential.type === 'sas');
    const { hostName } = bed.hub;
    const expires = new Date(systemClock.now().getTime() + hours(1));
    const client = mqtt.connect({
      ...{ protocol: 'mqtts', host: 'localhost', port: bed.hub.port, ca: bed.hub.caPem, protocolVersion: 4 },
      clientId: `${deviceId}/${MODULE}`,
      username: `${hostName}/${deviceId}/${MODULE}/?api-version=2021-04-12`,
      password: signSasToken(`${hostName}/devices/${deviceId}/modules/${MODULE}`, credential.primaryKey, expires),
    });
    clients.push(client);
    client.on('message', (topic) => {
      const id = /\$rid=(.+)$/.exec(topic)?.[1];
      client.publish(`$iothub/methods/res/${status}/?$rid=${id}`, JSON.stringify(payload));
    });
    await once(client, 'connect');
    await new Promise<void>((resolve) => {
      client.subscribe('$iothub/methods/POST/#', () => resolve());
    });
  }

  it('prints the answers of all, and names each failure once', async () => {
    await answering('dev1', 200, { version: '1\u001b[2J' });
    await answering('dev2', 403, { message: 'not permitted' });
    bed.hub.addModule({ deviceId: 'dev3', moduleId: MODULE });
    const { status, out, err } = await bed.run('call', 'ping', '--all', '--yes');
    assert.equal(status, 1);
    assert.deepEqual(out.slice(0, -1).sort(), [
      String.raw`dev1  200  {"version":"1\u001b[2J"}`,
      'dev2  403  {"message":"not permitted"}',
    ]);
    assert.equal(out.at(-1), 'Calls: 1 answered, 2 failed.');
    assert.deepEqual(err, [
      'failed: dev3: 404 DeviceNotOnline: The module is not connected, or has not subscribed to direct methods.',
    ]);
  });

  it('passes a payload, and prints JSON', async () => {
    await answering('dev1', 200, null);
    const args = ['--device', 'dev1', '--payload', '{"duration":"PT1H"}', '--json', '--timeout', 'PT10S'];
    const { status, out } = await bed.run('call', 'pause', ...args);
    assert.deepEqual([status, out], [0, ['{"deviceId":"dev1","status":200,"payload":null}', 'Calls: 1 answered.']]);
  });

  it('never repeats a call that may have been received', async () => {
    bed.hub.addModule({ deviceId: 'dev1', moduleId: MODULE });
    bed.hub.faults.inject({ kind: 'restStatus', status: 500, text: '/methods' });
    assert.equal((await bed.run('call', 'flush', '--device', 'dev1')).status, 1);
    assert.equal(bed.requests.filter((request) => request.endsWith('/methods')).length, 1);
  });

  it('asks before it calls several, and says whom it would call', async () => {
    for (const deviceId of ['dev1', 'dev2']) bed.hub.addModule({ deviceId, moduleId: MODULE });
    await assert.rejects(bed.run('call', 'ping', '--all'), { name: 'UsageError', message: /confirm it with --yes/ });
    const { out } = await bed.run('call', 'ping', '--all', '--dry-run');
    assert.deepEqual(out, [
      `would call ping of dev1/${MODULE}`,
      `would call ping of dev2/${MODULE}`,
      'Dry run, nothing was done. Without --dry-run: 2 called.',
    ]);
  });

  for (const [args, message] of [
    [['call', '--all'], 'name the method to call'],
    [['call', 'a/b', '--all'], 'name the method to call'],
    [['call', 'ping', '--all', '--payload', '{'], '--payload takes JSON'],
    [['call', 'ping', '--all', '--timeout', 'PT1S'], '--timeout takes PT5S to PT5M'],
  ] as const)
    it(`refuses ${args.join(' ')}`, () => assert.rejects(bed.run(...args), { name: 'UsageError', message }));
});
