import { ControlError, type ControlRoute, known, object, strings } from './control-call.ts';
import type { Credential } from './identity.ts';

/** Routes that show and change devices and modules. */
export const REGISTRY_ROUTES: readonly ControlRoute[] = [
  {
    method: 'GET',
    path: '/devices',
    help: 'Lists the devices, without their keys.',
    run: ({ hub }) => ({
      devices: hub.devices.map(({ credential, ...device }) => ({ ...device, credential: credential.type })),
    }),
  },
  {
    method: 'PUT',
    path: '/devices/{deviceId}',
    help: 'Adds a device, or replaces its credential: {"credential": {"type": "sas", "primaryKey": …, "secondaryKey": …}}, {"credential": {"type": "selfSigned", "primaryThumbprint": …}}, {"credential": {"type": "certificateAuthority"}}, or {} for random keys.',
    takesBody: true,
    run: ({ hub, parameters: [deviceId = ''], body }) => {
      const { credential } = object(body);
      return hub.addDevice({ deviceId, ...(credential === undefined ? {} : { credential: credentialIn(credential) }) });
    },
  },
  {
    method: 'DELETE',
    path: '/devices/{deviceId}',
    help: 'Removes a device with its modules, and closes their connections.',
    run: ({ hub, parameters: [deviceId = ''] }) => {
      if (!hub.removeDevice(deviceId)) throw new ControlError(404, `Device ${deviceId} does not exist.`);
    },
  },
  {
    method: 'PUT',
    path: '/devices/{deviceId}/status',
    help: 'Enables or disables a device: {"status": "disabled"} closes its connections.',
    takesBody: true,
    run: ({ hub, parameters: [deviceId = ''], body }) => {
      const { status } = object(body);
      if (status !== 'enabled' && status !== 'disabled')
        throw new ControlError(400, '"status" must be "enabled" or "disabled".');
      hub.setStatus(status, deviceId);
    },
  },
  {
    method: 'POST',
    path: '/devices/{deviceId}/keys',
    help: 'Replaces the keys of a device with random ones.',
    run: ({ hub, parameters: [deviceId = ''] }) => hub.regenerateKeys({ deviceId }),
  },
  {
    method: 'POST',
    path: '/client-authorities',
    help: 'Registers an authority for client certificates: {"pem": …}.',
    takesBody: true,
    run: ({ hub, body }) => {
      const { pem } = object(body);
      if (typeof pem !== 'string' || !pem.includes('BEGIN CERTIFICATE'))
        throw new ControlError(400, '"pem" must be a certificate in PEM.');
      hub.addClientAuthority(pem);
    },
  },
  {
    method: 'GET',
    path: '/modules',
    help: 'Lists the modules, and whether each is connected.',
    run: ({ hub }) => {
      const { hostName, port, restPort, webSocketPort, isOnline: online, modules } = hub;
      return { hostName, port, restPort, webSocketPort, online, modules };
    },
  },
  {
    method: 'PUT',
    path: '/modules/{deviceId}/{moduleId}',
    help: 'Adds a module, or replaces its credential: {"primaryKey": base64, "secondaryKey": base64}, {"credential": as for a device}, or {} for random keys.',
    takesBody: true,
    run: ({ hub, parameters: [deviceId = '', moduleId = ''], body }) => {
      const { credential, ...keys } = object(body);
      if (credential !== undefined) return hub.addModule({ deviceId, moduleId, credential: credentialIn(credential) });
      hub.addModule({ deviceId, moduleId, ...strings(keys) });
      return { deviceId, moduleId, connectionString: hub.connectionString(deviceId, moduleId) };
    },
  },
  {
    method: 'DELETE',
    path: '/modules/{deviceId}/{moduleId}',
    help: 'Removes a module and its twin, and closes its connection.',
    run: ({ hub, parameters }) => void hub.removeModule(...known(hub, parameters)),
  },
  {
    method: 'POST',
    path: '/modules/{deviceId}/{moduleId}/keys',
    help: 'Replaces the keys of a module with random ones, and closes its connection.',
    run: ({ hub, parameters }) => {
      const [deviceId, moduleId] = known(hub, parameters);
      return hub.regenerateKeys({ deviceId, moduleId });
    },
  },
];

/** The registry checks keys and thumbprints. @throws ControlError */
function credentialIn(value: unknown): Credential {
  const { type, ...fields } = object(value);
  const { primaryKey = '', secondaryKey = '', primaryThumbprint = '', secondaryThumbprint } = strings(fields);
  if (type === 'sas') return { type, primaryKey, secondaryKey };
  if (type === 'selfSigned')
    return { type, primaryThumbprint, ...(secondaryThumbprint ? { secondaryThumbprint } : {}) };
  if (type === 'certificateAuthority') return { type };
  throw new ControlError(400, '"type" must be "sas", "selfSigned" or "certificateAuthority".');
}
