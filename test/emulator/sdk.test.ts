import assert from 'node:assert/strict';
import device from 'azure-iot-device';
import { HubEmulator } from '../../src/emulator/hub.ts';
import { DEVICE, MODULE, module, sdkClient } from './clients.ts';

describe('the hub emulator, with the device SDK', () => {
  let hub: HubEmulator;
  const opened: Awaited<ReturnType<typeof sdkClient>>[] = [];

  const connect = async () => {
    const sdk = await sdkClient(hub);
    opened.push(sdk);
    await sdk.client.open();
    return sdk.client;
  };

  beforeEach(async () => {
    hub = await HubEmulator.start({ modules: [module] });
  });
  afterEach(async () => {
    for (const { client, remove } of opened.splice(0)) {
      await client.close().catch(() => {});
      remove();
    }
    await hub.stop();
  });

  it('takes a message with its properties', async () => {
    const client = await connect();
    const message = new device.Message('{"a":1}');
    message.messageId = 'm1';
    message.contentType = 'application/json';
    message.contentEncoding = 'utf-8';
    message.setAsSecurityMessage();
    message.properties.add('Måttet är', 'rågat & fullt');
    await client.sendEvent(message);
    const [received] = hub.messages;
    assert.equal(received?.body, '{"a":1}');
    assert.deepEqual(received.systemProperties, {
      messageId: 'm1',
      contentType: 'application/json',
      contentEncoding: 'utf-8',
      interfaceId: 'urn:azureiot:Security:SecurityAgent:1',
    });
    assert.deepEqual(received.applicationProperties, { 'Måttet är': 'rågat & fullt' });
  });

  it('returns the twin, stores reported properties, and notifies the client of desired changes', async () => {
    hub.patchDesired(DEVICE, MODULE, { interval: 1 });
    const client = await connect();
    const twin = await client.getTwin();
    assert.deepEqual(JSON.parse(JSON.stringify(twin.properties.desired)), { interval: 1, $version: 2 });

    const reported = hub.waitForReported(({ state }) => state === 'well');
    await new Promise<void>((resolve, reject) =>
      twin.properties.reported.update({ state: 'well' }, (error?: Error) => (error ? reject(error) : resolve())),
    );
    assert.deepEqual(await reported, { state: 'well', $version: 2 });

    const changes: unknown[] = [];
    const notified = new Promise<void>((resolve) => {
      twin.on('properties.desired', (change: { $version: number }) => {
        changes.push(structuredClone(change));
        if (change.$version === 3) resolve();
      });
    });
    await hub.waitForSubscription(DEVICE, MODULE);
    hub.patchDesired(DEVICE, MODULE, { interval: 2, colour: null });
    await notified;
    assert.deepEqual(changes.at(-1), { interval: 2, colour: null, $version: 3 });
  });
});
