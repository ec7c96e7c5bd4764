import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect as connectTcp } from 'node:net';
import { connect as connectTls } from 'node:tls';
import type mqtt from 'mqtt';
import { type Clock, systemClock } from '../../src/core/base/clock.ts';
import { hours, minutes, seconds } from '../../src/core/base/duration.ts';
import type { ConnectionRecord } from '../../src/emulator/connection-log.ts';
import { HubEmulator } from '../../src/emulator/hub.ts';
import { signSasToken } from '../../src/emulator/sas.ts';
import { bareClient, DEVICE, KEY, MODULE, module, OTHER_KEY, streamOf, token } from './clients.ts';

const TELEMETRY = `devices/${DEVICE}/modules/${MODULE}/messages/events/`;
const at = (offset: number) => new Date(systemClock.now().getTime() + offset);

describe('the hub emulator, over bare MQTT', () => {
  let hub: HubEmulator;
  const opened: mqtt.MqttClient[] = [];

  const open = (options: mqtt.IClientOptions = {}) => {
    const client = bareClient(hub, options);
    opened.push(client);
    return client;
  };
  const connected = async (options: mqtt.IClientOptions = {}) => {
    const client = open(options);
    await once(client, 'connect');
    return client;
  };
  /** Resolves with why the hub closed the connection. */
  const closing = async () => {
    const [record] = (await once(hub, 'disconnection')) as [ConnectionRecord];
    return record.closedBecause ?? '';
  };
  const refusal = async (options: mqtt.IClientOptions) => {
    const client = open(options);
    const [error] = (await once(client, 'error')) as [Error & { code: number }];
    return { code: error.code, reason: hub.connections.at(-1)?.reason ?? '' };
  };
  const publish = (client: mqtt.MqttClient, topic: string, body: string, qos: 0 | 1 | 2 = 1) =>
    new Promise<void>((resolve, reject) => client.publish(topic, body, { qos }, (e) => (e ? reject(e) : resolve())));
  const subscribe = (client: mqtt.MqttClient, topic: string, qos: 0 | 1 | 2 = 0) =>
    new Promise<mqtt.ISubscriptionGrant[]>((resolve, reject) =>
      client.subscribe(topic, { qos }, (error, granted) => (error ? reject(error) : resolve(granted))),
    );
  /** Asks something of the twin. @returns the topic and the body of the answer */
  const ask = async (client: mqtt.MqttClient, topic: string, body = '') => {
    const answer = once(client, 'message') as Promise<[string, Buffer]>;
    await publish(client, topic, body, 0);
    const [answered, payload] = await answer;
    return { topic: answered, body: payload.toString() };
  };
  const report = (client: mqtt.MqttClient, patch: unknown, version = '') =>
    ask(client, `$iothub/twin/PATCH/properties/reported/?$rid=7${version}`, JSON.stringify(patch));

  beforeEach(async () => {
    hub = await HubEmulator.start({ modules: [module] });
  });
  afterEach(async () => {
    for (const client of opened.splice(0)) client.end(true);
    await hub.stop();
  });

  describe('admission', () => {
    for (const [what, options] of Object.entries({
      'the module with its key': () => ({}),
      'an older user name, without "?"': () => ({
        username: `${hub.hostName}/${DEVICE}/${MODULE}/api-version=2016-11-14`,
      }),
      'a hub name in capitals': () => ({
        username: `${hub.hostName.toUpperCase()}/${DEVICE}/${MODULE}/?api-version=2018-06-30`,
      }),
      'the hub’s name for devices': () => ({
        username: `emulator.device.azure-devices.net/${DEVICE}/${MODULE}/?api-version=2021-04-12`,
        password: signSasToken(
          `emulator.device.azure-devices.net/devices/${DEVICE}/modules/${MODULE}`,
          KEY,
          at(hours(1)),
        ),
      }),
      'a user name without parameters': () => ({ username: `${hub.hostName}/${DEVICE}/${MODULE}` }),
      'a user name that ends after the slash': () => ({ username: `${hub.hostName}/${DEVICE}/${MODULE}/` }),
      'a user name whose parameters are in another order': () => ({
        username: `${hub.hostName}/${DEVICE}/${MODULE}/?DeviceClientType=x%2F1&api-version=2021-04-12`,
      }),
      'a token for the whole hub, signed with the module key': () => ({
        password: signSasToken(hub.hostName, KEY, at(hours(1))),
      }),
    })) {
      it(`accepts ${what}`, async () => {
        await connected(options());
        assert.equal(hub.connections.at(-1)?.admitted, true);
      });
    }

    it('accepts the secondary key, too', async () => {
      hub.addModule({ ...module, secondaryKey: OTHER_KEY });
      await connected({ password: token(hub, { key: OTHER_KEY }) });
    });
  });

  describe('refusals', () => {
    for (const [what, [code, reason, options]] of Object.entries<[number, RegExp, () => mqtt.IClientOptions]>({
      'a key that is not the module’s': [5, /not signed/, () => ({ password: token(hub, { key: OTHER_KEY }) })],
      'an expired token': [5, /expired at/, () => ({ password: token(hub, { expiresAt: at(-1_000) }) })],
      'a token for another module': [5, /the token is for/, () => ({ password: token(hub, { moduleId: 'azure' }) })],
      'a password that is no token': [5, /not a shared access signature/, () => ({ password: 'secret' })],
      'a client without a password': [5, /password is missing/, () => ({ password: '' })],
      'an unknown module': [
        5,
        /does not exist/,
        () => ({ clientId: `${DEVICE}/x`, username: `${hub.hostName}/${DEVICE}/x/?api-version=2021-04-12` }),
      ],
      'a client id that is not in the user name': [2, /client id/, () => ({ clientId: `${DEVICE}/x` })],
      'the name of another hub': [
        5,
        /is for hub other/,
        () => ({ username: `other.azure-devices.net/${DEVICE}/${MODULE}/?api-version=2021-04-12` }),
      ],
      'the hub’s name for service APIs': [
        5,
        /is for hub emulator\.service\./,
        () => ({ username: `emulator.service.azure-devices.net/${DEVICE}/${MODULE}/?api-version=2021-04-12` }),
      ],
      'a token for another form of the name than the user name’s': [
        5,
        /the token is for emulator\.azure-devices\.net/,
        () => ({ username: `emulator.device.azure-devices.net/${DEVICE}/${MODULE}/?api-version=2021-04-12` }),
      ],
      'the user name of a device': [
        5,
        /user name is not/,
        () => ({ username: `${hub.hostName}/${DEVICE}/?api-version=2021-04-12` }),
      ],
      'a user name of another form': [5, /user name is not/, () => ({ username: MODULE })],
      'MQTT 3.1': [1, /^$/, () => ({ protocolVersion: 3, protocolId: 'MQIsdp' })],
    })) {
      it(`rejects ${what}`, async () => {
        const refused = await refusal(options());
        assert.equal(refused.code, code);
        assert.match(refused.reason, reason);
      });
    }

    it('a client that does not trust its authority, in the client’s own TLS', async () => {
      const untrusting = connectTls({ port: hub.port, host: 'localhost' });
      const [error] = (await once(untrusting, 'error')) as [Error];
      assert.match(error.message, /certificate/);
    });

    it('TLS 1.1', async () => {
      const ciphers = 'DEFAULT:@SECLEVEL=0'; // or OpenSSL would not even offer it
      const versions = { minVersion: 'TLSv1', maxVersion: 'TLSv1.1' } as const;
      const old = connectTls({ port: hub.port, host: 'localhost', ca: hub.caPem, ciphers, ...versions });
      const [error] = (await once(old, 'error')) as [NodeJS.ErrnoException];
      assert.equal(error.code, 'ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION');
    });
  });

  it('serves the hub’s own name with its certificate as well', async () => {
    const client = connectTls({ port: hub.port, host: 'localhost', ca: hub.caPem, servername: hub.hostName });
    await once(client, 'secureConnect');
    client.destroy();
  });

  describe('closed connections', () => {
    it('closes the connection when its token expires', async () => {
      await hub.stop();
      let wait = 0;
      let expire = () => {};
      const sleep: Clock['sleep'] = (asked) =>
        new Promise((resolve) => {
          wait = asked;
          expire = resolve;
        });
      hub = await HubEmulator.start({ modules: [module], clock: { ...systemClock, sleep } });
      await connected({ password: token(hub, { expiresAt: at(minutes(5)) }) });
      assert.ok(wait > minutes(4) && wait <= minutes(5));
      const closeReason = closing();
      expire();
      assert.equal(await closeReason, 'its token expired');
    });

    it('closes the connection at a message with QoS 2', async () => {
      const client = await connected();
      const closeReason = closing();
      client.publish(TELEMETRY, 'x', { qos: 2 });
      assert.match(await closeReason, /QoS 2/);
      assert.equal(hub.messages.length, 0);
    });

    for (const topic of [
      `devices/${DEVICE}/modules/other/messages/events/`,
      `devices/${DEVICE}/messages/events/`,
      '$iothub/twin/PATCH/properties/desired/?$rid=1',
      'hello',
    ]) {
      it(`closes the connection at a message to ${topic}`, async () => {
        const client = await connected();
        const closeReason = closing();
        client.publish(topic, 'x', { qos: 1 });
        assert.equal(await closeReason, `published to ${topic}`);
        assert.equal(hub.messages.length, 0);
      });
    }

    for (const filter of ['#', '$iothub/#', '$iothub/twin/res/200/#', `devices/${DEVICE}/modules/other/#`]) {
      it(`closes the connection at a subscription to ${filter}`, async () => {
        const client = await connected();
        const closeReason = closing();
        client.subscribe(filter);
        assert.match(await closeReason, /not a documented filter/);
      });
    }

    it('closes the connection at a message larger than 256 KiB, properties included', async () => {
      const client = await connected();
      await publish(client, TELEMETRY, 'x'.repeat(256 * 1024));
      const closeReason = closing();
      client.publish(`${TELEMETRY}a=1`, 'x'.repeat(256 * 1024), { qos: 1 });
      assert.match(await closeReason, /262146 bytes; the limit is 262144/);
      assert.deepEqual(
        hub.messages.map(({ sizeBytes }) => sizeBytes),
        [262_144],
      );
    });

    it('closes the connection at properties with broken encoding', async () => {
      const client = await connected();
      const closeReason = closing();
      client.publish(`${TELEMETRY}a=%E0%A4%A`, 'x', { qos: 1 });
      assert.match(await closeReason, /malformed/);
    });

    it('closes the connection when its module is removed', async () => {
      await connected();
      const closeReason = closing();
      assert.equal(hub.removeModule(DEVICE, MODULE), true);
      assert.equal(await closeReason, 'the module was removed');
    });

    it('closes the connection when the same module connects again', async () => {
      await connected();
      const closeReason = closing();
      await connected();
      assert.equal(await closeReason, 'a newer connection of the same module');
      assert.equal(hub.modules[0]?.connected, true);
    });
  });

  it('marks a message whose id it has seen, and keeps both', async () => {
    const client = await connected();
    await publish(client, `${TELEMETRY}%24.mid=m1`, 'a');
    await publish(client, `${TELEMETRY}%24.mid=m1`, 'b');
    assert.deepEqual(
      hub.messages.map(({ sequence, body, duplicate }) => [sequence, body, duplicate]),
      [
        [1, 'a', false],
        [2, 'b', true],
      ],
    );
  });

  it('takes a client’s will when its connection breaks', async () => {
    const client = await connected({ will: { topic: TELEMETRY, payload: 'gone', qos: 1, retain: true } });
    streamOf(client).destroy();
    const will = await hub.waitForMessage(({ body }) => body === 'gone');
    assert.deepEqual(will.applicationProperties, { 'iothub-MessageType': 'Will', 'mqtt-retain': 'true' });
  });

  it('marks a message with RETAIN', async () => {
    const client = await connected();
    client.publish(`${TELEMETRY}a=b`, 'kept?', { qos: 1, retain: true });
    const { applicationProperties } = await hub.waitForMessage(({ body }) => body === 'kept?');
    assert.deepEqual(applicationProperties, { a: 'b', 'mqtt-retain': 'true' });
  });

  describe('with ids that are percent-encoded in topics, as by the SDK for Python,', () => {
    const ids = { deviceId: 'aa:bb', moduleId: "m(1)'s" };
    const home = 'devices/aa%3Abb/modules/m%281%29%27s/';
    const encoded = async () => {
      hub.addModule({ ...ids, primaryKey: KEY });
      const { deviceId, moduleId } = ids;
      return connected({
        clientId: `${deviceId}/${moduleId}`,
        username: `${hub.hostName}/${deviceId}/${moduleId}/?api-version=2021-04-12`,
        password: signSasToken(`${hub.hostName}/devices/${deviceId}/modules/${moduleId}`, KEY, at(hours(1))),
      });
    };

    it('takes messages', async () => {
      await publish(await encoded(), `${home}messages/events/%24.ct=application%2Fjson`, 'one');
      const { deviceId, systemProperties } = await hub.waitForMessage(({ body }) => body === 'one');
      assert.deepEqual([deviceId, systemProperties.contentType], [ids.deviceId, 'application/json']);
    });

    it('takes messages to topics with the ids as they are, too', async () => {
      await publish(await encoded(), `devices/aa:bb/modules/m(1)'s/messages/events/`, 'two');
      await hub.waitForMessage(({ body }) => body === 'two');
    });

    it('grants its filters', async () => {
      assert.deepEqual(await subscribe(await encoded(), `${home}inputs/#`, 1), [{ topic: `${home}inputs/#`, qos: 1 }]);
    });

    it('closes the connection at another encoding', async () => {
      const client = await encoded();
      const closeReason = closing();
      client.publish('devices/%61a:bb/modules/m(1)%27s/messages/events/', 'three', { qos: 1 });
      assert.match(await closeReason, /published to/);
    });
  });

  it('grants QoS 1 to who subscribes with QoS 2', async () => {
    const client = await connected();
    const [granted] = await subscribe(client, '$iothub/twin/res/#', 2);
    assert.equal(granted?.qos, 1);
  });

  it('keeps the subscriptions of a session that is not clean', async () => {
    const first = await connected({ clean: false });
    await subscribe(first, '$iothub/twin/PATCH/properties/desired/#', 1);
    first.end(true);
    await once(hub, 'disconnection');
    hub.patchDesired(DEVICE, MODULE, { missed: 1 });
    const second = open({ clean: false });
    const change = once(second, 'message') as Promise<[string, Buffer, { qos: number }]>;
    await hub.waitForSubscription(DEVICE, MODULE);
    hub.patchDesired(DEVICE, MODULE, { received: 1 });
    const [topic, payload, packet] = await change;
    assert.deepEqual([topic, packet.qos], ['$iothub/twin/PATCH/properties/desired/?$version=3', 1]);
    assert.deepEqual(JSON.parse(payload.toString()), { received: 1, $version: 3 });
  });

  describe('twin requests', () => {
    let client: mqtt.MqttClient;
    beforeEach(async () => {
      client = await connected();
      await subscribe(client, '$iothub/twin/res/#');
    });

    it('answers a request with the whole twin', async () => {
      hub.replaceDesired(DEVICE, MODULE, { a: { b: 1 } });
      const { topic, body } = await ask(client, '$iothub/twin/GET/?$rid=42');
      assert.equal(topic, '$iothub/twin/res/200/?$rid=42');
      assert.deepEqual(JSON.parse(body), { desired: { a: { b: 1 }, $version: 2 }, reported: { $version: 1 } });
      assert.deepEqual(
        hub.twinOperations.map(({ kind, status }) => [kind, status]),
        [['getTwin', 200]],
      );
    });

    it('answers a request with its unchanged request id, including the encoding', async () => {
      const client = await connected();
      await subscribe(client, '$iothub/twin/res/#');
      const { topic } = await ask(client, '$iothub/twin/GET/?$rid=a%2Fb%20c');
      assert.match(topic, /\$rid=a%2Fb%20c$/);
    });

    it('answers a reported patch with the new version', async () => {
      await report(client, { a: { b: 1, c: 2 }, d: 'e' });
      const { topic, body } = await report(client, { a: { b: null, f: true }, d: null });
      assert.equal(topic, '$iothub/twin/res/204/?$rid=7&$version=3');
      assert.equal(body, '');
      assert.deepEqual(hub.twin(DEVICE, MODULE).reported, { a: { c: 2, f: true }, $version: 3 });
    });

    it('answers 412 if the twin has a newer version', async () => {
      const { topic, body } = await report(client, { a: 1 }, '&$version=9');
      assert.equal(topic, '$iothub/twin/res/412/?$rid=7');
      assert.equal((JSON.parse(body) as { errorCode: number }).errorCode, 412_001);
      assert.equal((await report(client, { a: 1 }, '&$version=1')).topic, '$iothub/twin/res/204/?$rid=7&$version=2');
    });

    it('answers 400 or 413 if the twin can’t store the patch, and changes nothing', async () => {
      assert.match((await report(client, { a: [1] })).topic, /res\/400/);
      assert.match((await report(client, 'text')).topic, /res\/400/);
      assert.match((await ask(client, '$iothub/twin/PATCH/properties/reported/?$rid=1', '{')).topic, /res\/400/);
      const large = Object.fromEntries(Array.from({ length: 9 }, (_, n) => [`k${n}`, 'x'.repeat(4_000)]));
      assert.match((await report(client, large)).topic, /res\/413/);
      assert.deepEqual(hub.twin(DEVICE, MODULE).reported, { $version: 1 });
    });
  });

  describe('with faults', () => {
    it('takes a message and keeps the acknowledgement back', async () => {
      hub.faults.inject({ kind: 'dropAcknowledgements', count: 1 });
      const client = await connected();
      let acknowledged = false;
      void publish(client, TELEMETRY, 'first').then(() => {
        acknowledged = true;
      });
      await publish(client, TELEMETRY, 'second');
      assert.equal(acknowledged, false);
      assert.deepEqual(
        hub.messages.map(({ body }) => body),
        ['first', 'second'],
      );
    });

    it('neither accepts nor acknowledges messages', async () => {
      hub.faults.inject({ kind: 'ignoreMessages', count: 1 });
      const client = await connected();
      void publish(client, TELEMETRY, 'first');
      await publish(client, TELEMETRY, 'second');
      assert.deepEqual(
        hub.messages.map(({ body }) => body),
        ['second'],
      );
    });

    it('acknowledges late, without holding up the rest', async () => {
      hub.faults.inject({ kind: 'delayAcknowledgements', count: 1, ms: 150 });
      const client = await connected();
      const order: string[] = [];
      const first = publish(client, TELEMETRY, 'first').then(() => order.push('first'));
      await publish(client, TELEMETRY, 'second').then(() => order.push('second'));
      await first;
      assert.deepEqual(order, ['second', 'first']);
    });

    it('resets the connection at a message', async () => {
      hub.faults.inject({ kind: 'resetOnPublish', count: 1 });
      const client = await connected();
      const closeReason = closing();
      const error = once(streamOf(client), 'error') as Promise<[NodeJS.ErrnoException]>;
      client.publish(TELEMETRY, 'x', { qos: 1 });
      assert.equal(await closeReason, 'reset by a fault');
      assert.equal((await error)[0].code, 'ECONNRESET');
      assert.equal(hub.messages.length, 0);
    });

    it('closes the connection at messages that contain a text, and takes others', async () => {
      hub.faults.inject({ kind: 'closeOnText', text: 'poison' });
      const client = await connected();
      await publish(client, TELEMETRY, 'food');
      const closed = closing();
      client.publish(TELEMETRY, 'a poisoned message', { qos: 1 });
      assert.equal(await closed, 'closed by a fault: the message contains its text');
      await publish(await connected(), TELEMETRY, 'more food');
      assert.deepEqual(
        hub.messages.map(({ body }) => body),
        ['food', 'more food'],
      );
    });

    it('closes the connection at more messages a minute than it was told to take', async () => {
      hub.faults.inject({ kind: 'throttleMessages', perMinute: 2 });
      const client = await connected();
      await publish(client, TELEMETRY, '1');
      await publish(client, TELEMETRY, '2');
      const closed = closing();
      client.publish(TELEMETRY, '3', { qos: 1 });
      assert.equal(await closed, '429002 by a fault');
      assert.equal(hub.messages.length, 2);
    });

    it('closes the connection at any message or twin request when the quota is used up', async () => {
      hub.faults.inject({ kind: 'quotaExceeded' });
      for (const topic of [TELEMETRY, '$iothub/twin/GET/?$rid=1']) {
        const client = await connected();
        const closed = closing();
        client.publish(topic, '', { qos: 1 });
        assert.equal(await closed, '403002 by a fault');
      }
      assert.equal(hub.messages.length, 0);
      hub.faults.inject({ kind: 'quotaExceeded', twinSays: true });
      const client = await connected();
      await subscribe(client, '$iothub/twin/res/#');
      const { topic, body } = await ask(client, '$iothub/twin/GET/?$rid=1');
      assert.equal(topic, '$iothub/twin/res/403/?$rid=1');
      assert.equal(JSON.parse(body).errorCode, 403002);
    });

    it('resets new connections', async () => {
      hub.faults.inject({ kind: 'resetOnConnect', count: 1 });
      const client = open();
      client.on('error', () => {}); // newer Nodes call a reset one
      await new Promise<void>((resolve) => client.once('close', () => resolve()));
      await connected();
      assert.deepEqual(
        hub.connections.map(({ admitted, returnCode }) => [admitted, returnCode]),
        [
          [false, undefined],
          [true, 0],
        ],
      );
    });

    it('refuses with 5, or with 3', async () => {
      hub.faults.inject({ kind: 'refuseConnections', count: 1 });
      assert.equal((await refusal({})).code, 5);
      hub.faults.inject({ kind: 'serverUnavailable', count: 1 });
      assert.equal((await refusal({})).code, 3);
      await connected();
    });

    it('answers twin requests with another status, with rubbish, or never', async () => {
      const client = await connected();
      await subscribe(client, '$iothub/twin/res/#');
      hub.faults.inject({ kind: 'twinStatus', count: 1, status: 429 });
      const throttled = await ask(client, '$iothub/twin/GET/?$rid=1');
      assert.equal(throttled.topic, '$iothub/twin/res/429/?$rid=1');
      assert.equal((JSON.parse(throttled.body) as { errorCode: number }).errorCode, 429_001);
      hub.faults.inject({ kind: 'twinStatus', count: 1, status: 500, emptyBody: true });
      assert.deepEqual(await report(client, {}), { topic: '$iothub/twin/res/500/?$rid=7', body: '' });
      hub.faults.inject({ kind: 'twinGarbage', count: 1 });
      assert.throws(JSON.parse.bind(undefined, (await ask(client, '$iothub/twin/GET/?$rid=2')).body));
      hub.faults.inject({ kind: 'twinSilence', count: 1 });
      await publish(client, '$iothub/twin/GET/?$rid=3', '', 0);
      assert.equal((await ask(client, '$iothub/twin/GET/?$rid=4')).topic, '$iothub/twin/res/200/?$rid=4');
    });
  });

  it('can keep a change of desired properties to itself', async () => {
    const client = await connected();
    await subscribe(client, '$iothub/twin/PATCH/properties/desired/#');
    hub.faults.inject({ kind: 'desiredSilence', count: 1 });
    hub.patchDesired(DEVICE, MODULE, { a: 1 });
    const change = once(client, 'message') as Promise<[string]>;
    hub.patchDesired(DEVICE, MODULE, { a: 2 });
    assert.match((await change)[0], /\$version=3$/);
  });

  it('does not notify clients that have not subscribed', async () => {
    const client = await connected();
    await subscribe(client, '$iothub/twin/res/#');
    const first = once(client, 'message') as Promise<[string]>;
    hub.patchDesired(DEVICE, MODULE, { a: 1 });
    await publish(client, '$iothub/twin/GET/?$rid=1', '', 0);
    assert.match((await first)[0], /twin\/res\/200/);
  });

  it('does not notify clients that have unsubscribed', async () => {
    const client = await connected();
    await subscribe(client, '$iothub/twin/res/#');
    await subscribe(client, '$iothub/twin/PATCH/properties/desired/#');
    await new Promise<void>((resolve) =>
      client.unsubscribe('$iothub/twin/PATCH/properties/desired/#', () => resolve()),
    );
    const first = once(client, 'message') as Promise<[string]>;
    hub.patchDesired(DEVICE, MODULE, { a: 1 });
    await publish(client, '$iothub/twin/GET/?$rid=1', '', 0);
    assert.match((await first)[0], /twin\/res\/200/);
  });

  it('does not forward telemetry, not even to its sender', async () => {
    const client = await connected();
    await subscribe(client, `devices/${DEVICE}/modules/${MODULE}/#`);
    await subscribe(client, '$iothub/twin/res/#');
    const first = once(client, 'message') as Promise<[string]>;
    await publish(client, TELEMETRY, 'x');
    await publish(client, '$iothub/twin/GET/?$rid=1', '', 0);
    assert.match((await first)[0], /twin\/res\/200/);
  });

  it('accepts expired tokens within skewTolerance', async () => {
    await hub.stop();
    hub = await HubEmulator.start({ modules: [module], skewTolerance: minutes(5) });
    await connected({ password: token(hub, { expiresAt: at(-minutes(4)) }) });
    assert.match((await refusal({ password: token(hub, { expiresAt: at(-minutes(6)) }) })).reason, /expired/);
  });

  describe('offline', () => {
    it('cuts connections and refuses new ones, then listens again with everything kept', async () => {
      const client = await connected();
      await publish(client, TELEMETRY, 'kept');
      const { port } = hub;
      const closeReason = closing();
      await hub.offline();
      assert.equal(await closeReason, 'the hub went offline');
      const [error] = (await once(connectTcp(port, '127.0.0.1'), 'error')) as [NodeJS.ErrnoException];
      assert.equal(error.code, 'ECONNREFUSED');
      await hub.online();
      assert.equal(hub.port, port);
      await connected();
      assert.equal(hub.messages.length, 1);
    });

    it('can be said twice, and online too', async () => {
      await hub.offline();
      await hub.offline();
      assert.equal(hub.isOnline, false);
      await hub.online();
      await hub.online();
      assert.equal(hub.isOnline, true);
    });
  });

  it('gives up waiting after the limit', async () => {
    await assert.rejects(
      hub.waitForMessage(() => true, seconds(0.01)),
      { name: 'TimeLimitError' },
    );
    assert.equal(hub.listenerCount('message'), 0);
  });

  it('passes an exception of a predicate to its caller, and continues', async () => {
    const client = await connected();
    const waiting = assert.rejects(
      hub.waitForMessage(({ body }) => JSON.parse(body) === 1),
      { name: 'SyntaxError' },
    );
    await publish(client, TELEMETRY, 'not JSON');
    await publish(client, TELEMETRY, 'taken as well');
    await waiting;
    assert.equal(hub.messages.length, 2);
  });

  it('refuses a port that is taken, and leaves nothing behind', async () => {
    await assert.rejects(HubEmulator.start({ port: hub.port }), { code: 'EADDRINUSE' });
  });
});
