import assert from 'node:assert/strict';
import { once } from 'node:events';
import mqtt from 'mqtt';
import { HubEmulator } from '../../../src/emulator/hub.ts';
import { ProvisioningEmulator } from '../../../src/emulator/provisioning/service.ts';
import { ask, token } from './clients.ts';

const KEY = Buffer.from('0123456789abcdef0123456789abcdef').toString('base64');
const RESPONSES = '$dps/registrations/res/#';
const REGISTER = '$dps/registrations/PUT/iotdps-register/';
const STATUS = '$dps/registrations/GET/iotdps-get-operationstatus/';

/** What the SDK never does, by a bare client. */
describe('the provisioning service emulator, over MQTT', () => {
  let hub: HubEmulator;
  let service: ProvisioningEmulator;
  const clients: mqtt.MqttClient[] = [];

  before(async () => {
    hub = await HubEmulator.start();
  });
  after(() => hub.stop());
  beforeEach(async () => {
    service = await ProvisioningEmulator.start({
      hubs: [hub],
      polls: 1,
      retryAfterSeconds: 7,
      individuals: [{ registrationId: 'dev-1', primaryKey: KEY }],
    });
  });
  afterEach(async () => {
    for (const client of clients.splice(0)) client.end(true);
    await service.stop();
  });

  const open = (options: mqtt.IClientOptions = {}) => {
    const client = mqtt.connect({
      protocol: 'mqtts',
      host: 'localhost',
      port: service.port,
      ca: service.caPem,
      reconnectPeriod: 0,
      protocolVersion: 4,
      clientId: 'dev-1',
      username: '0ne00000001/registrations/dev-1/api-version=2019-03-31',
      password: token('dev-1', KEY),
      ...options,
    });
    client.on('error', () => {});
    clients.push(client);
    return client;
  };

  /** A client that has subscribed to responses. */
  const subscribed = async (options?: mqtt.IClientOptions) => {
    const client = open(options);
    await once(client, 'connect');
    const granted = await new Promise<mqtt.ISubscriptionGrant[]>((resolve, reject) => {
      client.subscribe(RESPONSES, { qos: 2 }, (error, grants) => (error ? reject(error) : resolve(grants)));
    });
    assert.deepEqual(granted, [{ topic: RESPONSES, qos: 1 }]);
    return client;
  };
  const send = (client: mqtt.MqttClient, topic: string, body: unknown = {}) =>
    client.publish(topic, JSON.stringify(body));
  const register = (client: mqtt.MqttClient, id = '1') =>
    send(client, `${REGISTER}?$rid=${id}`, { registrationId: 'dev-1' });
  const response = async (client: mqtt.MqttClient) => {
    const [topic, payload] = await once(client, 'message');
    return { topic, text: String(payload) };
  };

  it('answers as documented, with Retry-After in the topic', async () => {
    const client = await subscribed();
    register(client, 'a');
    const first = await response(client);
    assert.equal(first.topic, '$dps/registrations/res/202/?$rid=a&retry-after=7');
    const { operationId } = JSON.parse(first.text);
    assert.deepEqual(JSON.parse(first.text), { operationId, status: 'assigning' });
    send(client, `${STATUS}?$rid=b&operationId=${operationId}`);
    const second = await response(client);
    assert.equal(second.topic, '$dps/registrations/res/200/?$rid=b');
    assert.equal(JSON.parse(second.text).registrationState.assignedHub, hub.hostName);
  });

  it('answers errors with their status and body', async () => {
    const client = await subscribed();
    send(client, `${STATUS}?$rid=a%2Fb%20c&operationId=5.0`);
    const { topic, text } = await response(client);
    assert.equal(topic, '$dps/registrations/res/404/?$rid=a%2Fb%20c');
    assert.equal(JSON.parse(text).errorCode, 404202);
    send(client, `${REGISTER}?$rid=2`, { registrationId: 'dev-2' });
    assert.equal((await response(client)).topic, '$dps/registrations/res/400/?$rid=2');
  });

  const refusedConnects: Record<string, [mqtt.IClientOptions, RegExp]> = {
    'another client id': [{ clientId: 'dev-2' }, /^the client id is "dev-2", not "dev-1"$/],
    'a user name that is none': [{ username: 'dev-1' }, /^the user name is not/],
    'a missing password': [{ password: undefined as never }, /^neither a token nor a client certificate/],
    'an unknown enrolment': [
      {
        clientId: 'dev-9',
        username: '0ne00000001/registrations/dev-9/api-version=2019-03-31',
        password: token('dev-9', KEY),
      },
      /^dev-9 is not enrolled$/,
    ],
  };
  for (const [what, [options, reason]] of Object.entries(refusedConnects)) {
    it(`refuses ${what}`, async () => {
      const [error] = await once(open(options), 'error');
      assert.equal(error.code, 5);
      assert.match(service.requests[0]?.reason ?? '', reason);
    });
  }

  it('refuses another version of MQTT', async () => {
    const [error] = await once(open({ protocolVersion: 5 }), 'error');
    assert.equal(error.code, 1);
    assert.deepEqual(service.requests, []);
  });

  const closing: Record<string, (client: mqtt.MqttClient) => void> = {
    'another filter': (client) => client.subscribe('$dps/#'),
    'another topic': (client) => void send(client, 'devices/dev-1/messages/events/'),
    'a topic without a request id': (client) => void send(client, REGISTER),
    'QoS 2': (client) => void client.publish(`${REGISTER}?$rid=1`, '{}', { qos: 2 }),
  };
  for (const [what, act] of Object.entries(closing)) {
    it(`closes the connection after ${what}`, async () => {
      const client = await subscribed();
      const closed = once(client, 'close');
      act(client);
      await closed;
    });
  }

  it('keeps no session, and sends nothing without a subscription', async () => {
    const client = await subscribed({ clean: false });
    client.end(true);
    const again = open({ clean: false });
    const [connack] = await once(again, 'connect');
    assert.equal(connack.sessionPresent, false);
    const messages: string[] = [];
    again.on('message', (topic) => messages.push(topic));
    register(again, '1');
    await service.waitForRequest(({ operation }) => operation === 'register');
    again.subscribe(RESPONSES, { qos: 0 });
    register(again, '2');
    await once(again, 'message');
    assert.deepEqual(messages, ['$dps/registrations/res/202/?$rid=2&retry-after=7']);
  });

  it('has faults: garbage, a status, silence, a closed connection, and a refused one', async () => {
    const client = await subscribed();
    service.faults.inject({ kind: 'garbage', operation: 'register', count: 1 });
    register(client, '1');
    assert.match((await response(client)).text, /^<html>/);
    service.faults.inject({ kind: 'status', status: 429, retryAfterSeconds: 3, count: 1 });
    register(client, '2');
    const throttled = await response(client);
    assert.equal(throttled.topic, '$dps/registrations/res/429/?$rid=2&retry-after=3');
    assert.equal(JSON.parse(throttled.text).errorCode, 429001);
    service.faults.inject({ kind: 'silence', count: 1 });
    register(client, '3');
    register(client, '4');
    assert.match((await response(client)).topic, /rid=4&/);
    service.faults.inject({ kind: 'reset', operation: 'register', count: 1 });
    const closed = once(client, 'close');
    register(client, '5');
    await closed;
    service.faults.inject({ kind: 'status', operation: 'connect', count: 1 });
    assert.equal((await once(open(), 'error'))[0].code, 5);
    service.faults.inject({ kind: 'reset', operation: 'connect', count: 1 });
    await once(open(), 'close');
    const faults = service.requests.map(({ fault }) => fault).filter((fault) => fault !== undefined);
    assert.deepEqual(faults, ['garbage', 'status', 'silence', 'reset', 'status', 'reset']);
  });

  it('answers 500 when the hub does not take the device', async () => {
    const hubOfError = { hostName: 'x', getDevice: () => undefined, removeDevice: () => false };
    const addDevice = () => {
      throw new RangeError('the registry is full');
    };
    service.settings.polls = 0;
    service.enroll({ registrationId: 'dev-1', primaryKey: KEY, hub: { ...hubOfError, addDevice } });
    const client = await subscribed();
    register(client);
    const { topic, text } = await response(client);
    assert.equal(topic, '$dps/registrations/res/500/?$rid=1');
    assert.equal(JSON.parse(text).message, 'the registry is full');
    assert.equal(service.requests.at(-1)?.reason, 'the registry is full');
  });

  it('can fail over one transport only', async () => {
    service.faults.inject({ kind: 'reset', transport: 'https' });
    await assert.rejects(ask(service, 'POST', '/x/registrations/dev-1?api-version=1'), { code: 'ECONNRESET' });
    const client = await subscribed();
    register(client);
    assert.match((await response(client)).topic, /res\/202/);
  });
});
