import assert from 'node:assert/strict';
import { once } from 'node:events';
import type mqtt from 'mqtt';
import { HubEmulator } from '../../../src/emulator/hub.ts';
import { addSimulatedDevices } from '../../../src/emulator/simulated-devices.ts';
import { bareClient, DEVICE, KEY, MODULE, module, OTHER_KEY } from '../clients.ts';
import { refusalOf, ServiceClient } from './client.ts';

const subscribed = (agent: mqtt.MqttClient, filter: string) =>
  new Promise<void>((resolve) => {
    agent.subscribe(filter, () => resolve());
  });

describe("the emulator's service API, by the official client", () => {
  let hub: HubEmulator;
  let service: ServiceClient;
  const opened: { close(): void }[] = [];
  const connected: mqtt.MqttClient[] = [];
  const client = (policy: string) => {
    const made = new ServiceClient(hub, policy);
    opened.push(made);
    return made;
  };
  beforeEach(async () => {
    hub = await HubEmulator.start({ modules: [module] });
    service = client('iothubowner');
  });
  afterEach(async () => {
    for (const each of connected.splice(0)) each.end(true);
    for (const each of opened.splice(0)) each.close();
    await hub.stop();
  });

  describe('devices', () => {
    it('creates, returns, changes and removes devices', async () => {
      const { responseBody: made } = await service.registry.create({ deviceId: 'dev2' });
      assert.equal(made.status, 'enabled');
      const key = made.authentication?.symmetricKey?.primaryKey ?? '';
      assert.equal(Buffer.from(key, 'base64').length, 32);
      assert.deepEqual(hub.getDevice('dev2')?.etag, made.etag);
      const { responseBody: shown } = await service.registry.get('dev2');
      assert.equal(shown.authentication?.symmetricKey?.primaryKey, key);

      const keys = { symmetricKey: { primaryKey: KEY, secondaryKey: OTHER_KEY } };
      await service.registry.update({ deviceId: 'dev2', status: 'disabled', authentication: keys });
      assert.equal(hub.getDevice('dev2')?.status, 'disabled');
      assert.deepEqual(hub.getDevice('dev2')?.credential, { type: 'sas', primaryKey: KEY, secondaryKey: OTHER_KEY });
      assert.equal(hub.getDevice('dev2')?.generationId, made.generationId);

      await service.registry.delete('dev2');
      assert.equal(hub.getDevice('dev2'), undefined);
      assert.deepEqual(await refusalOf(service.registry.get('dev2')), [404, 'DeviceNotFound', 'dev2']);
    });

    it('rejects existing, missing and invalid devices', async () => {
      assert.deepEqual(await refusalOf(service.registry.create({ deviceId: DEVICE })), [
        409,
        'DeviceAlreadyExists',
        DEVICE,
      ]);
      assert.equal((await refusalOf(service.registry.update({ deviceId: 'none' })))[1], 'PreconditionFailed');
      assert.equal((await refusalOf(service.registry.delete('none')))[1], 'DeviceNotFound');
      assert.equal((await refusalOf(service.registry.create({ deviceId: 'a b' })))[1], 'ArgumentInvalid');
    });

    it('lists at most 1000 devices, and counts them', async () => {
      addSimulatedDevices(hub, 1_005);
      assert.equal((await service.registry.list()).responseBody.length, 1_000);
      hub.setStatus('disabled', DEVICE);
      const { responseBody } = await service.registry.getRegistryStatistics();
      assert.deepEqual(responseBody, { totalDeviceCount: 1_006, enabledDeviceCount: 1_005, disabledDeviceCount: 1 });
    });

    it('creates, changes and removes devices in bulk, and names each refused one', async () => {
      const done = await service.registry.addDevices([{ deviceId: 'b1' }, { deviceId: DEVICE }, { deviceId: 'b2' }]);
      const { isSuccessful, errors } = done.responseBody;
      assert.deepEqual(
        [isSuccessful, errors.map(({ deviceId, errorCode }) => [deviceId, errorCode])],
        [false, [[DEVICE, 'DeviceAlreadyExists']]],
      );
      await service.registry.updateDevices([{ deviceId: 'b1', status: 'disabled' }], true);
      assert.equal(hub.getDevice('b1')?.status, 'disabled');
      const stale = await service.registry.updateDevices([{ deviceId: 'b2', etag: 'AAAA' }], false);
      assert.equal(stale.responseBody.errors[0]?.errorCode, 'PreconditionFailed');
      const etag = hub.getDevice('b2')?.etag ?? '';
      assert.equal(
        (await service.registry.removeDevices([{ deviceId: 'b2', etag }], false)).responseBody.isSuccessful,
        true,
      );
      assert.deepEqual(
        hub.devices.map(({ deviceId }) => deviceId),
        [DEVICE, 'b1'],
      );
    });
  });

  describe('modules', () => {
    it('creates, returns, lists, changes and removes modules', async () => {
      const { responseBody: made } = await service.registry.addModule({ deviceId: DEVICE, moduleId: 'm2' });
      assert.ok(made.authentication?.symmetricKey?.primaryKey);
      assert.equal((await service.registry.getModule(DEVICE, 'm2')).responseBody.generationId, made.generationId);
      const { responseBody: all } = await service.registry.getModulesOnDevice(DEVICE);
      assert.deepEqual(
        all.map(({ moduleId }) => moduleId),
        [MODULE, 'm2'],
      );
      assert.deepEqual(await refusalOf(service.registry.addModule({ deviceId: DEVICE, moduleId: 'm2' })), [
        409,
        'ModuleAlreadyExistsOnDevice',
        'm2',
      ]);
      const stale = { ...made, etag: 'AAAA' } as unknown as typeof made;
      assert.equal((await refusalOf(service.registry.updateModule(stale)))[1], 'PreconditionFailed');
      await service.registry.updateModule(made);
      await service.registry.removeModule(DEVICE, 'm2');
      assert.equal(hub.hasModule(DEVICE, 'm2'), false);
      assert.equal((await refusalOf(service.registry.getModule(DEVICE, 'm2')))[1], 'ModuleNotFound');
      assert.equal(
        (await refusalOf(service.registry.addModule({ deviceId: 'none', moduleId: 'm' })))[1],
        'DeviceNotFound',
      );
    });
  });

  describe('twins', () => {
    it('returns a twin with tags, versions and etag', async () => {
      const { responseBody: twin } = await service.registry.getModuleTwin(DEVICE, MODULE);
      assert.equal(twin.etag, 'AAAAAAAAAAE=');
      assert.deepEqual(twin.tags, {});
      assert.deepEqual(twin.properties, { desired: { $version: 1 }, reported: { $version: 1 } });
    });

    it('merges twins: null removes, both sections or neither change, and the module is notified', async () => {
      const agent = bareClient(hub);
      connected.push(agent);
      await once(agent, 'connect');
      await subscribed(agent, '$iothub/twin/PATCH/properties/desired/#');
      const notification = once(agent, 'message');
      const patch = { tags: { site: 1, old: 'x' }, properties: { desired: { a: { b: 1, c: 2 } } } };
      const { responseBody: twin } = await service.registry.updateModuleTwin(DEVICE, MODULE, patch, '*');
      assert.deepEqual([twin.tags, twin.etag], [{ site: 1, old: 'x' }, 'AAAAAAAAAAI=']);
      const [topic, body] = (await notification) as [string, Buffer];
      assert.equal(topic, '$iothub/twin/PATCH/properties/desired/?$version=2');
      assert.deepEqual(JSON.parse(body.toString()), { a: { b: 1, c: 2 }, $version: 2 });

      const more = { tags: { old: null }, properties: { desired: { a: { b: null } } } };
      await service.registry.updateModuleTwin(DEVICE, MODULE, more, twin.etag);
      assert.deepEqual(hub.tags(DEVICE, MODULE), { site: 1 });
      assert.deepEqual(hub.twin(DEVICE, MODULE).desired, { a: { c: 2 }, $version: 3 });

      const half = { tags: { site: 2 }, properties: { desired: { list: [1] } } };
      assert.equal(
        (await refusalOf(service.registry.updateModuleTwin(DEVICE, MODULE, half, '*')))[1],
        'ArgumentInvalid',
      );
      assert.deepEqual(hub.tags(DEVICE, MODULE), { site: 1 });
    });

    it('changes a twin only if the etag matches', async () => {
      const { responseBody: twin } = await service.registry.getModuleTwin(DEVICE, MODULE);
      await service.registry.updateModuleTwin(DEVICE, MODULE, { tags: { a: 1 } }, twin.etag);
      const [status, code] = await refusalOf(
        service.registry.updateModuleTwin(DEVICE, MODULE, { tags: { a: 2 } }, twin.etag),
      );
      assert.deepEqual([status, code, hub.tags(DEVICE, MODULE)], [412, 'PreconditionFailed', { a: 1 }]);
      hub.patchReported(DEVICE, MODULE, { x: 1 }); // a report changes the version, not the etag
      await service.registry.updateModuleTwin(DEVICE, MODULE, { tags: { a: 3 } }, 'AAAAAAAAAAI=');
    });

    it('stores device tags that modules do not see', async () => {
      await service.registry.updateTwin(DEVICE, { tags: { site: 7 } }, '*');
      assert.deepEqual((await service.registry.getTwin(DEVICE)).responseBody.tags, { site: 7 });
      assert.deepEqual(hub.tags(DEVICE, MODULE), {});
      assert.equal((await refusalOf(service.registry.getTwin('none')))[1], 'DeviceNotFound');
      assert.equal((await refusalOf(service.registry.getModuleTwin(DEVICE, 'none')))[1], 'ModuleNotFound');
    });

    it('enforces the limits of twins', async () => {
      const long = { tags: Object.fromEntries(Array.from({ length: 9 }, (_, n) => [`t${n}`, 'x'.repeat(1_000)])) };
      assert.equal((await refusalOf(service.registry.updateModuleTwin(DEVICE, MODULE, long, '*')))[0], 413);
      const name = { tags: { 'a.b': 1 } };
      assert.equal((await refusalOf(service.registry.updateModuleTwin(DEVICE, MODULE, name, '*')))[0], 400);
    });
  });

  describe('queries', () => {
    it('come in pages of the size that is asked for, of all devices', async () => {
      addSimulatedDevices(hub, 2_500);
      const { rows, pages } = await service.query('SELECT deviceId, tags.site FROM devices WHERE tags.site = 3', 100);
      assert.deepEqual([rows.length, pages, rows[0]], [250, 3, { deviceId: 'sim-000003', site: 3 }]);
      assert.equal(new Set(rows.map(({ deviceId }) => deviceId)).size, 250);
      assert.deepEqual((await service.query('SELECT COUNT() AS n FROM devices')).rows, [{ n: 2_501 }]);
    });

    it('find modules by what they report, and whether they are connected', async () => {
      hub.patchReported(DEVICE, MODULE, { securityAgent: { state: 'degraded' } });
      const agent = bareClient(hub);
      connected.push(agent);
      await once(agent, 'connect');
      const sql =
        "SELECT deviceId, connectionState FROM devices.modules WHERE properties.reported.securityAgent.state = 'degraded'";
      assert.deepEqual((await service.query(sql)).rows, [{ deviceId: DEVICE, connectionState: 'Connected' }]);
    });

    it('rejects invalid requests as a hub does', async () => {
      const [status, code, text] = await refusalOf(service.query('SELECT * FROM devices WHERE tags.site ='));
      assert.deepEqual([status, code], [400, 'ArgumentInvalid']);
      assert.match(text, /Syntax error at position 40: the query ends/);
      assert.equal((await refusalOf(service.query('SELECT * FROM devices', 1_001)))[1], 'ArgumentInvalid');
      const strange = service.registry.createQuery('SELECT * FROM devices').next('Zm9vLjE');
      assert.match((await refusalOf(strange))[2], /continuation token is not one of this query/);
    });
  });

  describe('direct methods', () => {
    const answering = async () => {
      const agent = bareClient(hub);
      connected.push(agent);
      agent.on('message', (topic, body) => {
        const id = /\$rid=(.+)$/.exec(topic)?.[1];
        agent.publish(
          `$iothub/methods/res/200/?$rid=${id}`,
          JSON.stringify({ notification: JSON.parse(body.toString()) }),
        );
      });
      await once(agent, 'connect');
      await subscribed(agent, '$iothub/methods/POST/#');
      return agent;
    };

    it('returns the module’s answer to a method call', async () => {
      await answering();
      const answer = await service.call(DEVICE, MODULE, { methodName: 'ping', payload: { a: 1 } });
      assert.deepEqual(answer, { status: 200, payload: { notification: { a: 1 } } });
    });

    it('answers 404 if the module does not connect within the connect timeout', async () => {
      const ping = { methodName: 'ping', responseTimeoutInSeconds: 5 };
      assert.deepEqual((await refusalOf(service.call(DEVICE, MODULE, ping))).slice(0, 2), [404, 'DeviceNotOnline']);
      const waiting = service.call(DEVICE, MODULE, { ...ping, connectTimeoutInSeconds: 60 });
      await answering();
      assert.deepEqual(await waiting, { status: 200, payload: { notification: null } });
      assert.equal((await refusalOf(service.call('none', MODULE, ping)))[1], 'DeviceNotFound');
    });

    it('answers 504 if the module is silent, and 400 for an invalid call', async () => {
      const agent = bareClient(hub);
      connected.push(agent);
      await once(agent, 'connect');
      await subscribed(agent, '$iothub/methods/POST/#');
      const silent = { methodName: 'ping', responseTimeoutInSeconds: 5 };
      assert.deepEqual((await refusalOf(service.call(DEVICE, MODULE, silent))).slice(0, 2), [504, 'GatewayTimeout']);
      const soon = { methodName: 'ping', responseTimeoutInSeconds: 1 };
      assert.equal((await refusalOf(service.call(DEVICE, MODULE, soon)))[1], 'ArgumentInvalid');
      assert.equal((await refusalOf(service.call(DEVICE, MODULE, { methodName: 'a/b' })))[1], 'ArgumentInvalid');
    });
  });

  describe('policies', () => {
    const operations: Readonly<Record<string, (by: ServiceClient) => Promise<unknown>>> = {
      read: ({ registry }) => registry.get(DEVICE),
      write: ({ registry }) => registry.addModule({ deviceId: DEVICE, moduleId: 'm' }),
      twin: ({ registry }) => registry.getModuleTwin(DEVICE, MODULE),
      query: (by) => by.query('SELECT deviceId FROM devices'),
    };
    const may: Readonly<Record<string, string[]>> = {
      iothubowner: ['read', 'write', 'twin', 'query'],
      service: ['twin', 'query'],
      registryRead: ['read'],
      registryReadWrite: ['read', 'write'],
      device: [],
    };
    for (const [policy, allowed] of Object.entries(may)) {
      it(`${policy} may ${allowed.join(', ') || 'do nothing'}`, async () => {
        const by = client(policy);
        for (const [name, operation] of Object.entries(operations)) {
          if (allowed.includes(name)) await operation(by);
          else assert.deepEqual((await refusalOf(operation(by))).slice(0, 2), [401, 'IotHubUnauthorizedAccess'], name);
        }
      });
    }
  });

  describe('faults', () => {
    it('throttle what is more than some requests a second', async () => {
      hub.faults.inject({ kind: 'throttleRest', perSecond: 2, retryAfter: 7 });
      const answers = await Promise.allSettled(Array.from({ length: 12 }, () => service.registry.get(DEVICE)));
      const refused = answers.filter(({ status }) => status === 'rejected') as PromiseRejectedResult[];
      assert.ok(refused.length >= 12 - 2 * 5 && refused.length > 0, String(refused.length));
      assert.deepEqual(
        [refused[0]?.reason.name, refused[0]?.reason.response.headers['retry-after']],
        ['ThrottlingError', '7'],
      );
    });

    it('concern only requests whose path contains a text', async () => {
      hub.addDevice({ deviceId: 'dev2' });
      hub.faults.inject({ kind: 'restStatus', status: 500, text: 'dev2' });
      assert.equal((await refusalOf(service.registry.get('dev2')))[0], 500);
      await service.registry.get(DEVICE);
    });
  });
});
