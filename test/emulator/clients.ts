import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import device from 'azure-iot-device';
import transport from 'azure-iot-device-mqtt';
import mqtt from 'mqtt';
import { systemClock } from '../../src/core/base/clock.ts';
import { hours } from '../../src/core/base/duration.ts';
import type { HubEmulator } from '../../src/emulator/hub.ts';
import { signSasToken } from '../../src/emulator/sas.ts';

export const DEVICE = 'dev1';
export const MODULE = 'azureiotsecurity';
export const KEY = Buffer.from('0123456789abcdef0123456789abcdef').toString('base64');
export const OTHER_KEY = Buffer.from('fedcba9876543210fedcba9876543210').toString('base64');
export const module = { deviceId: DEVICE, moduleId: MODULE, primaryKey: KEY };

/** The device SDK's own client, as applications use it. */
export async function sdkClient(hub: HubEmulator, connectionString = hub.connectionString(DEVICE, MODULE)) {
  const folder = mkdtempSync(join(tmpdir(), 'vakt-emulator-test-'));
  const ca = join(folder, 'ca.pem');
  writeFileSync(ca, hub.caPem);
  const client = device.ModuleClient.fromConnectionString(connectionString, transport.Mqtt);
  client.setRetryPolicy({ shouldRetry: () => false, nextRetryTimeout: () => 0 });
  client.on('error', () => {});
  await client.setOptions({ ca });
  return { client, remove: () => rmSync(folder, { recursive: true }) };
}

/** A token of the module under test, good for an hour. */
export const token = (hub: HubEmulator, { key = KEY, expiresAt = inAnHour(), moduleId = MODULE } = {}) =>
  signSasToken(`${hub.hostName}/devices/${DEVICE}/modules/${moduleId}`, key, expiresAt);

const inAnHour = () => new Date(systemClock.now().getTime() + hours(1));

/** A bare MQTT client, which sends exactly the packets of the test. It never reconnects. */
export function bareClient(hub: HubEmulator, options: mqtt.IClientOptions = {}): mqtt.MqttClient {
  const client = mqtt.connect({
    protocol: 'mqtts',
    host: 'localhost',
    port: hub.port,
    ca: hub.caPem,
    reconnectPeriod: 0,
    protocolVersion: 4,
    clientId: `${DEVICE}/${MODULE}`,
    username: `${hub.hostName}/${DEVICE}/${MODULE}/?api-version=2021-04-12`,
    password: token(hub),
    ...options,
  });
  client.on('error', () => {});
  return client;
}

/** The stream under an MQTT.js client, which its types leave out. */
export const streamOf = (client: mqtt.MqttClient) => (client as unknown as { stream: Duplex }).stream;
