import assert from 'node:assert/strict';
import { once } from 'node:events';
import type mqtt from 'mqtt';
import { HubEmulator } from '../../src/emulator/hub.ts';
import { bareClient, DEVICE, KEY, MODULE, module, OTHER_KEY, token } from './clients.ts';

const SHA256 = 'ab'.repeat(32);

describe('the identity registry of the hub emulator', () => {
  let hub: HubEmulator;
  const opened: mqtt.MqttClient[] = [];
  beforeEach(async () => {
    hub = await HubEmulator.start({ modules: [module] });
  });
  afterEach(async () => {
    for (const client of opened.splice(0)) client.end(true);
    await hub.stop();
  });

  const connect = async (options: mqtt.IClientOptions = {}) => {
    const client = bareClient(hub, options);
    opened.push(client);
    await once(client, 'connect').catch(() => {}); // rejects if it is refused
    return hub.connections.at(-1);
  };

  it('adds the device of a module, with keys of its own', () => {
    const device = hub.getDevice(DEVICE);
    assert.equal(device?.status, 'enabled');
    assert.ok(device.credential.type === 'sas');
    assert.equal(Buffer.from(device.credential.primaryKey, 'base64').length, 32);
    assert.notEqual(device.credential.primaryKey, device.credential.secondaryKey);
    assert.deepEqual(hub.devices, [device]);
  });

  it('keeps the credential of a device that was there before its module', () => {
    const credential = { type: 'selfSigned', primaryThumbprint: SHA256 } as const;
    hub.addDevice({ deviceId: 'd2', credential });
    hub.addModule({ deviceId: 'd2', moduleId: 'm' });
    assert.deepEqual(hub.getDevice('d2')?.credential, credential);
    assert.deepEqual(
      hub.modulesOf('d2').map(({ moduleId }) => moduleId),
      ['m'],
    );
  });

  it('keeps the generation id when the credential changes, and changes it when the identity is recreated', () => {
    const first = hub.getModule(DEVICE, MODULE);
    const second = hub.addModule({ ...module, primaryKey: OTHER_KEY });
    assert.equal(second.generationId, first?.generationId);
    assert.notEqual(second.etag, first?.etag);
    hub.removeModule(DEVICE, MODULE);
    assert.notEqual(hub.addModule(module).generationId, first?.generationId);
    assert.match(second.generationId, /^\d{18}$/);
  });

  it('removes the modules of a device with it, and closes their connections', async () => {
    await connect();
    const closing = once(hub, 'disconnection');
    assert.equal(hub.removeDevice(DEVICE), true);
    assert.equal((await closing)[0].closedBecause, 'the device was removed');
    assert.equal(hub.hasModule(DEVICE, MODULE), false);
    assert.equal(hub.removeDevice(DEVICE), false);
    assert.match((await connect())?.reason ?? '', /^device dev1 does not exist/);
  });

  for (const [what, moduleId] of Object.entries({ device: undefined, module: MODULE })) {
    it(`does not let a disabled ${what} connect, and closes its connection`, async () => {
      await connect();
      const closing = once(hub, 'disconnection');
      hub.setStatus('disabled', DEVICE, moduleId);
      assert.equal((await closing)[0].closedBecause, `the ${what} was disabled`);
      assert.match((await connect())?.reason ?? '', new RegExp(`^${what} .* is disabled`));
      hub.setStatus('enabled', DEVICE, moduleId);
      assert.equal((await connect())?.admitted, true);
    });
  }

  it('regenerates one key and keeps the other', async () => {
    const before = hub.getModule(DEVICE, MODULE)?.credential;
    assert.ok(before?.type === 'sas');
    await connect();
    const closing = once(hub, 'disconnection');
    const after = hub.regenerateKeys({ deviceId: DEVICE, moduleId: MODULE }, 'primary');
    assert.equal((await closing)[0].closedBecause, 'its keys were regenerated');
    assert.equal(after.secondaryKey, before.secondaryKey);
    assert.match((await connect({ password: token(hub, { key: KEY }) }))?.reason ?? '', /not signed with a key/);
    assert.equal((await connect({ password: token(hub, { key: after.primaryKey }) }))?.admitted, true);
  });

  it('regenerates both keys of a device', () => {
    const { credential } = hub.addDevice({ deviceId: 'd2' });
    assert.ok(credential.type === 'sas');
    const after = hub.regenerateKeys({ deviceId: 'd2' });
    assert.notEqual(after.primaryKey, credential.primaryKey);
    assert.notEqual(after.secondaryKey, credential.secondaryKey);
    assert.deepEqual(hub.getDevice('d2')?.credential, { type: 'sas', ...after });
  });

  it('refuses what a hub does not store', () => {
    const thumbprint = { type: 'selfSigned', primaryThumbprint: 'abc' } as const;
    assert.throws(() => hub.addDevice({ deviceId: 'a b' }), /not a valid id/);
    assert.throws(() => hub.addDevice({ deviceId: 'd', credential: thumbprint }), /thumbprint of d/);
    assert.throws(() => hub.addModule({ ...module, primaryKey: 'short' }), /key of dev1\/azureiotsecurity/);
    assert.throws(() => hub.setStatus('disabled', 'nobody'), /nobody does not exist/);
    hub.addDevice({ deviceId: 'd', credential: { type: 'certificateAuthority' } });
    assert.throws(() => hub.regenerateKeys({ deviceId: 'd' }), /d has no keys/);
    assert.equal(hub.getDevice('nobody'), undefined);
  });
});
