import { readFileSync, writeSync } from 'node:fs';
import device from 'azure-iot-device';
import transport from 'azure-iot-device-mqtt';

/* A process with the unmodified device SDK, connected as a module, with its twin and a listener for changes. */

const { BENCH_CONNECTION_STRING: connectionString = '', BENCH_CA: ca = '' } = process.env;
const client = device.ModuleClient.fromConnectionString(connectionString, transport.Mqtt);
await client.setOptions({ ca: readFileSync(ca, 'utf8') });
await client.open();
const twin = await client.getTwin();
twin.on('properties.desired', () => {});
writeSync(1, 'connected\n');
