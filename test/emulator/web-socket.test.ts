import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect as connectTls } from 'node:tls';
import type mqtt from 'mqtt';
import WebSocket from 'ws';
import type { ConnectionRecord } from '../../src/emulator/connection-log.ts';
import { HubEmulator } from '../../src/emulator/hub.ts';
import { bareClient, DEVICE, MODULE, module } from './clients.ts';

const PATH = '/$iothub/websocket';
const TELEMETRY = `devices/${DEVICE}/modules/${MODULE}/messages/events/`;

describe('the hub emulator, over WebSocket', () => {
  let hub: HubEmulator;
  const opened: mqtt.MqttClient[] = [];

  beforeEach(async () => {
    hub = await HubEmulator.start({ modules: [module] });
  });
  afterEach(async () => {
    for (const client of opened.splice(0)) client.end(true);
    await hub.stop();
  });

  const open = (options: mqtt.IClientOptions = {}) => {
    const client = bareClient(hub, { protocol: 'wss', port: hub.webSocketPort, path: PATH, ...options });
    opened.push(client);
    return client;
  };
  const publish = (client: mqtt.MqttClient, body: string) =>
    new Promise<void>((resolve, reject) =>
      client.publish(TELEMETRY, body, { qos: 1 }, (e) => (e ? reject(e) : resolve())),
    );
  /** Opens a WebSocket that is refused. @returns the error's text */
  const refused = async (path: string, subProtocols: string[]) => {
    const socket = new WebSocket(`wss://localhost:${hub.webSocketPort}${path}`, subProtocols, { ca: hub.caPem });
    const [error] = (await once(socket, 'error')) as [Error];
    return error.message;
  };

  it('takes messages, large ones in several frames too, and records the transport', async () => {
    const client = open();
    await once(client, 'connect');
    await publish(client, 'short');
    await publish(client, 'x'.repeat(200_000));
    assert.deepEqual(
      hub.messages.map(({ body }) => body.length),
      [5, 200_000],
    );
    assert.equal(hub.connections.at(-1)?.transport, 'mqttWebSocket');
  });

  it('closes the connection over 8883 for one over WebSocket of the same module', async () => {
    const first = bareClient(hub);
    opened.push(first);
    await once(first, 'connect');
    const closing = once(hub, 'disconnection');
    await once(open(), 'connect');
    const [record] = (await closing) as [ConnectionRecord];
    assert.deepEqual([record.transport, record.closedBecause], ['mqtt', 'a newer connection of the same module']);
  });

  it('accepts the query that SDKs append', async () => {
    await once(open({ path: `${PATH}?iothub-no-client-cert=true` }), 'connect');
  });

  it('offers TLS 1.3, or 1.2 alone', async () => {
    await once(open(), 'connect');
    assert.equal(hub.connections.at(-1)?.tlsVersion, 'TLSv1.3');
    await hub.stop();
    hub = await HubEmulator.start({ modules: [module], maxTlsVersion: 'TLSv1.2' });
    for (const make of [open, () => bareClient(hub)]) {
      const client = make();
      opened.push(client);
      await once(client, 'connect');
      assert.equal(hub.connections.at(-1)?.tlsVersion, 'TLSv1.2');
    }
  });

  it('refuses another path, and another sub-protocol', async () => {
    assert.match(await refused('/', ['mqtt']), /\b404$/);
    assert.match(await refused(PATH, ['amqp']), /\b400$/);
    assert.match(await refused(PATH, []), /\b400$/);
  });

  describe('apart from 8883', () => {
    it('goes offline alone, and online again on the same port', async () => {
      const { webSocketPort } = hub;
      const client = bareClient(hub);
      opened.push(client);
      await once(client, 'connect');
      await hub.offline('mqttWebSocket');
      await assert.rejects(once(open(), 'connect'), { code: 'ECONNREFUSED' });
      assert.equal(client.connected, true);
      assert.equal(hub.isOnline, false);
      await hub.online();
      assert.equal(hub.webSocketPort, webSocketPort);
      const evicted = once(hub, 'disconnection');
      await once(open(), 'connect');
      const [{ closedBecause }] = (await evicted) as [ConnectionRecord];
      assert.equal(closedBecause, 'a newer connection of the same module');
    });

    for (const [kind, port] of [
      ['mqttSilence', () => hub.port],
      ['webSocketSilence', () => hub.webSocketPort],
    ] as const) {
      it(`is silent by ${kind}, where the other is not`, async () => {
        hub.faults.inject({ kind, count: 1 });
        const hello = connectTls({ port: port(), host: 'localhost', ca: hub.caPem });
        let answered = false;
        for (const event of ['secureConnect', 'error', 'close']) {
          hello.on(event, () => {
            answered = true;
          });
        }
        await once(hello, 'connect');
        const other = kind === 'mqttSilence' ? open() : bareClient(hub);
        opened.push(other);
        await once(other, 'connect');
        assert.deepEqual(hub.faults.active(), []);
        const next = kind === 'mqttSilence' ? bareClient(hub) : open();
        opened.push(next);
        await once(next, 'connect');
        assert.equal(answered, false);
        hello.destroy();
      });
    }
  });
});
