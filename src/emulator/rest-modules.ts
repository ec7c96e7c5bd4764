import type { Credential, ModuleId } from './identity.ts';
import { type RegisteredModule, type Registry, randomKeys } from './registry.ts';
import { RestError } from './rest-errors.ts';
import { isObject, type Properties } from './twin-limits.ts';

/** Source: "IoT Hub quotas and throttling". */
const MOST_MODULES = 50;

/** An answer without an error. */
export interface RestAnswer {
  readonly status: 200 | 201 | 204;
  readonly body?: unknown;
  readonly etag?: string;
}

/** What the routes need of the hub. */
export interface RestModules {
  readonly registry: Registry;
  isConnected(module: ModuleId): boolean;
  /** Closes the module's connection. */
  disconnect(module: ModuleId, because: string): void;
}

/** `GET /devices/{d}/modules` */
export const listModules = ({ registry, isConnected }: RestModules, deviceId: string): RestAnswer => ({
  status: 200,
  body: registry.modulesOf(deviceId).map((module) => describe(module, isConnected(module))),
});

/** `GET /devices/{d}/modules/{m}` */
export function getModule(hub: RestModules, id: ModuleId): RestAnswer {
  const module = hub.registry.module(id);
  if (module === undefined) throw new RestError(404010, id.moduleId);
  return answer(hub, module, 200);
}

/** `PUT /devices/{d}/modules/{m}`: with If-Match it replaces a module, without it adds one. */
export function putModule(hub: RestModules, id: ModuleId, body: unknown, ifMatch: string | undefined): RestAnswer {
  const { registry } = hub;
  const known = registry.module(id);
  const credential = credentialIn(body, id);
  if (known !== undefined && ifMatch === undefined) throw new RestError(409301, id.moduleId);
  checkMatch(known, ifMatch, id);
  if (known === undefined && registry.modulesOf(id.deviceId).length >= MOST_MODULES)
    throw new RestError(413003, `${id.deviceId} has ${MOST_MODULES} modules.`);
  return answer(
    hub,
    add(registry, id, credential ?? known?.credential ?? randomKeys()),
    known === undefined ? 201 : 200,
  );
}

/** `DELETE /devices/{d}/modules/{m}` */
export function deleteModule(hub: RestModules, id: ModuleId, ifMatch: string | undefined): RestAnswer {
  const known = hub.registry.module(id);
  if (known === undefined) throw new RestError(404010, id.moduleId);
  checkMatch(known, ifMatch, id);
  hub.disconnect(id, 'the module was removed');
  hub.registry.removeModule(id);
  return { status: 204 };
}

function checkMatch(known: RegisteredModule | undefined, ifMatch: string | undefined, { moduleId }: ModuleId): void {
  if (ifMatch === undefined || (ifMatch === '*' && known !== undefined)) return;
  if (known === undefined || ifMatch.replaceAll('"', '') !== known.etag)
    throw new RestError(412001, `The If-Match header does not match the etag of ${moduleId}.`);
}

function add(registry: Registry, id: ModuleId, credential: Credential): RegisteredModule {
  try {
    return registry.addModule({ ...id, credential });
  } catch (error) {
    if (error instanceof RangeError) throw new RestError(400004, error.message);
    throw error;
  }
}

/** Reads the module that a client wants. Without keys or thumbprints the hub makes keys, or keeps them. */
function credentialIn(body: unknown, { deviceId, moduleId }: ModuleId): Credential | undefined {
  if (!isObject(body)) throw new RestError(400004, 'The body is not a JSON object.');
  if ((body.deviceId ?? deviceId) !== deviceId || (body.moduleId ?? moduleId) !== moduleId)
    throw new RestError(400004, 'The ids in the body and in the path differ.');
  const authentication = body.authentication ?? {};
  if (!isObject(authentication)) throw new RestError(400004, '"authentication" is not an object.');
  const { type = 'sas' } = authentication;
  if (type === 'certificateAuthority') return { type };
  if (type === 'selfSigned') {
    const { primaryThumbprint, secondaryThumbprint } = strings(authentication, 'x509Thumbprint');
    if (primaryThumbprint === undefined) throw new RestError(400004, '"primaryThumbprint" is missing.');
    return { type, primaryThumbprint, ...(secondaryThumbprint === undefined ? {} : { secondaryThumbprint }) };
  }
  if (type !== 'sas') throw new RestError(400004, `"${type}" is not a type of authentication.`);
  const { primaryKey, secondaryKey } = strings(authentication, 'symmetricKey');
  if (primaryKey === undefined && secondaryKey === undefined) return undefined;
  if (primaryKey === undefined || secondaryKey === undefined)
    throw new RestError(400004, 'One of the two keys is missing.');
  return { type, primaryKey, secondaryKey };
}

function strings(authentication: Properties, member: string): Readonly<Record<string, string | undefined>> {
  const value = authentication[member] ?? {};
  if (!isObject(value)) throw new RestError(400004, `"${member}" is not an object.`);
  return Object.fromEntries(
    Object.entries(value).map(([name, text]) => {
      if (text !== null && typeof text !== 'string') throw new RestError(400004, `"${name}" is not a string.`);
      return [name, text || undefined];
    }),
  );
}

const answer = (hub: RestModules, module: RegisteredModule, status: 200 | 201): RestAnswer => ({
  status,
  body: describe(module, hub.isConnected(module)),
  etag: module.etag,
});

function describe({ deviceId, moduleId, generationId, etag, credential }: RegisteredModule, isConnected: boolean) {
  const { primaryKey = null, secondaryKey = null } = credential.type === 'sas' ? credential : {};
  const { primaryThumbprint = null, secondaryThumbprint = null } = credential.type === 'selfSigned' ? credential : {};
  return {
    moduleId,
    managedBy: '',
    deviceId,
    generationId,
    etag,
    connectionState: isConnected ? 'Connected' : 'Disconnected',
    connectionStateUpdatedTime: '0001-01-01T00:00:00',
    lastActivityTime: '0001-01-01T00:00:00',
    cloudToDeviceMessageCount: 0,
    authentication: {
      symmetricKey: { primaryKey, secondaryKey },
      x509Thumbprint: { primaryThumbprint, secondaryThumbprint },
      type: credential.type,
    },
  };
}
