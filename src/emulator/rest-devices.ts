import { isPlainObject } from '../core/base/values.ts';
import type { EmulatedDevice, Status } from './identity.ts';
import { type RegisteredDevice, randomKeys } from './registry.ts';
import { authenticationOf, checkMatch, credentialIn, registering } from './rest-bodies.ts';
import type { RestAnswer, RestModules, RestRoute } from './rest-call.ts';
import { RestError } from './rest-errors.ts';
import type { Properties } from './twin-limits.ts';

/* `/devices` and `/devices/{d}`. Source: "IoT Hub REST API", Devices and Bulk Registry. */

/** Sources: "List devices" (at most 1000 are listed), "IoT Hub quotas and throttling" (100 in a bulk operation). */
const MAX_LISTED = 1_000;
const MAX_IN_BULK = 100;

const DEVICE = '/devices/{deviceId}';

export const DEVICE_ROUTES: readonly RestRoute[] = [
  { method: 'GET', path: '/devices', right: 'RegistryRead', run: ({ hub, query }) => listDevices(hub, query) },
  {
    method: 'POST',
    path: '/devices',
    right: 'RegistryWrite',
    run: async ({ hub, body }) => changeInBulk(hub, await body()),
  },
  {
    method: 'GET',
    path: DEVICE,
    right: 'RegistryRead',
    run: ({ hub, parameters: [deviceId = ''] }) => answer(known(hub, deviceId), 200),
  },
  {
    method: 'PUT',
    path: DEVICE,
    right: 'RegistryWrite',
    run: async ({ hub, parameters: [deviceId = ''], header, body }) =>
      putDevice(hub, deviceId, await body(), header('if-match')),
  },
  {
    method: 'DELETE',
    path: DEVICE,
    right: 'RegistryWrite',
    run: ({ hub, parameters: [deviceId = ''], header }) => deleteDevice(hub, deviceId, header('if-match')),
  },
  {
    method: 'GET',
    path: '/statistics/devices',
    right: 'RegistryRead',
    run: ({ hub }) => ({ status: 200, body: statistics(hub) }),
  },
];

function listDevices({ registry }: RestModules, query: URLSearchParams): RestAnswer {
  const top = Number(query.get('top') ?? MAX_LISTED);
  if (!Number.isInteger(top) || top < 1 || top > MAX_LISTED)
    throw new RestError(400004, `"top" must be from 1 to ${MAX_LISTED}.`);
  const listed: unknown[] = [];
  for (const { device } of registry.deviceTwins()) if (listed.push(describe(device)) === top) break;
  return { status: 200, body: listed };
}

/** With If-Match it replaces a device, without it adds one. */
function putDevice(hub: RestModules, deviceId: string, body: unknown, ifMatch: string | undefined): RestAnswer {
  const device = hub.registry.device(deviceId);
  if (!isPlainObject(body)) throw new RestError(400004, 'The body is not a JSON object.');
  if ((body.deviceId ?? deviceId) !== deviceId)
    throw new RestError(400004, 'The ids in the body and in the path differ.');
  if (device !== undefined && ifMatch === undefined) throw new RestError(409001, deviceId);
  checkMatch(device?.etag, ifMatch, deviceId);
  return answer(register(hub, deviceId, body), device === undefined ? 201 : 200);
}

function deleteDevice(hub: RestModules, deviceId: string, ifMatch: string | undefined): RestAnswer {
  checkMatch(known(hub, deviceId).etag, ifMatch, deviceId);
  hub.disconnect({ deviceId }, 'the device was removed');
  hub.registry.removeDevice(deviceId);
  return { status: 204 };
}

function register(hub: RestModules, deviceId: string, body: Properties): RegisteredDevice {
  const before = hub.registry.device(deviceId);
  const status = statusIn(body);
  const credential = credentialIn(body) ?? before?.credential ?? randomKeys();
  const device: EmulatedDevice = { deviceId, credential, ...(status === undefined ? {} : { status }) };
  const registered = registering(() => hub.registry.addDevice(device));
  if (status === 'disabled') hub.disconnect({ deviceId }, 'the device was disabled');
  return registered;
}

function statusIn({ status }: Properties): Status | undefined {
  if (status === undefined || status === 'enabled' || status === 'disabled') return status;
  throw new RestError(400004, '"status" must be "enabled" or "disabled".');
}

/** The operations on one device of a bulk request, keyed by `importMode` in lower case. */
const MODES: Readonly<Record<string, (hub: RestModules, deviceId: string, item: Properties) => void>> = {
  create: (hub, deviceId, item) => void putDevice(hub, deviceId, item, undefined),
  update: (hub, deviceId, item) => void putDevice(hub, deviceId, item, '*'),
  updateifmatchetag: (hub, deviceId, item) => void putDevice(hub, deviceId, item, String(item.etag ?? item.eTag)),
  delete: (hub, deviceId) => void deleteDevice(hub, deviceId, '*'),
  deleteifmatchetag: (hub, deviceId, item) => void deleteDevice(hub, deviceId, String(item.etag ?? item.eTag)),
};

/** Changes up to 100 devices; the answer names each refused one, and the rest are changed. */
function changeInBulk(hub: RestModules, body: unknown): RestAnswer {
  if (!Array.isArray(body) || body.length === 0 || body.length > MAX_IN_BULK)
    throw new RestError(400004, `The body must be a list of 1 to ${MAX_IN_BULK} devices.`);
  const errors = body.flatMap((item: unknown) => {
    const deviceId = isPlainObject(item) ? String(item.id) : '';
    try {
      if (!isPlainObject(item) || deviceId === '') throw new RestError(400004, 'A device has no id.');
      const mode = String(item.importMode).toLowerCase();
      const change = Object.hasOwn(MODES, mode) ? MODES[mode] : undefined;
      if (change === undefined) throw new RestError(400004, `"${item.importMode}" is not a mode of import.`);
      change(hub, deviceId, item);
      return [];
    } catch (error) {
      if (!(error instanceof RestError)) throw error;
      return [{ deviceId, errorCode: error.codeName, errorStatus: error.message }];
    }
  });
  return { status: 200, body: { isSuccessful: errors.length === 0, errors, warnings: [] } };
}

function statistics({ registry }: RestModules) {
  let disabled = 0;
  for (const { device } of registry.deviceTwins()) if (device.status === 'disabled') disabled += 1;
  const { size } = registry;
  return { totalDeviceCount: size, enabledDeviceCount: size - disabled, disabledDeviceCount: disabled };
}

/** @throws RestError 404001 */
function known({ registry }: RestModules, deviceId: string): RegisteredDevice {
  const device = registry.device(deviceId);
  if (device === undefined) throw new RestError(404001, deviceId);
  return device;
}

const answer = (device: RegisteredDevice, status: 200 | 201): RestAnswer => ({
  status,
  body: describe(device),
  etag: device.etag,
});

const describe = ({ deviceId, generationId, etag, status, credential }: RegisteredDevice) => ({
  deviceId,
  generationId,
  etag,
  connectionState: 'Disconnected', // devices themselves cannot connect to the emulator
  status,
  statusReason: null,
  connectionStateUpdatedTime: '0001-01-01T00:00:00',
  statusUpdatedTime: '0001-01-01T00:00:00',
  lastActivityTime: '0001-01-01T00:00:00',
  cloudToDeviceMessageCount: 0,
  authentication: authenticationOf(credential),
  capabilities: { iotEdge: false },
});
