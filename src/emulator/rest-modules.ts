import { isPlainObject } from '../core/base/values.ts';
import type { ModuleId } from './identity.ts';
import { type RegisteredModule, randomKeys } from './registry.ts';
import { authenticationOf, checkMatch, credentialIn, registering } from './rest-bodies.ts';
import type { RestAnswer, RestModules, RestRoute } from './rest-call.ts';
import { RestError } from './rest-errors.ts';

/** Source: "IoT Hub quotas and throttling". */
const MAX_MODULES = 50;

const MODULES = '/devices/{deviceId}/modules';
const MODULE = '/devices/{deviceId}/modules/{moduleId}';

const moduleAt = ([deviceId = '', moduleId = '']: readonly string[]): ModuleId => ({ deviceId, moduleId });

/** Routes that show and change the modules of a device. Source: "IoT Hub REST API", Modules. */
export const MODULE_ROUTES: readonly RestRoute[] = [
  {
    method: 'GET',
    path: MODULES,
    right: 'RegistryRead',
    isOpenToDevice: true,
    run: ({ hub, parameters: [deviceId = ''] }) => listModules(hub, deviceId),
  },
  {
    method: 'GET',
    path: MODULE,
    right: 'RegistryRead',
    isOpenToDevice: true,
    run: ({ hub, parameters }) => getModule(hub, moduleAt(parameters)),
  },
  {
    method: 'PUT',
    path: MODULE,
    right: 'RegistryWrite',
    isOpenToDevice: true,
    run: async ({ hub, parameters, header, body }) =>
      putModule(hub, moduleAt(parameters), await body(), header('if-match')),
  },
  {
    method: 'DELETE',
    path: MODULE,
    right: 'RegistryWrite',
    isOpenToDevice: true,
    run: ({ hub, parameters, header }) => deleteModule(hub, moduleAt(parameters), header('if-match')),
  },
];

function listModules({ registry, isConnected }: RestModules, deviceId: string): RestAnswer {
  const body = registry.modulesOf(deviceId).map((module) => describe(module, isConnected(module)));
  return { status: 200, body };
}

function getModule(hub: RestModules, id: ModuleId): RestAnswer {
  const module = hub.registry.module(id);
  if (module === undefined) throw new RestError(404010, id.moduleId);
  return answer(hub, module, 200);
}

/** With If-Match it replaces a module, without it adds one. */
function putModule(hub: RestModules, id: ModuleId, body: unknown, ifMatch: string | undefined): RestAnswer {
  const { registry } = hub;
  const known = registry.module(id);
  if (!isPlainObject(body)) throw new RestError(400004, 'The body is not a JSON object.');
  if ((body.deviceId ?? id.deviceId) !== id.deviceId || (body.moduleId ?? id.moduleId) !== id.moduleId)
    throw new RestError(400004, 'The ids in the body and in the path differ.');
  const wanted = credentialIn(body);
  if (known !== undefined && ifMatch === undefined) throw new RestError(409301, id.moduleId);
  checkMatch(known?.etag, ifMatch, id.moduleId);
  if (known === undefined && registry.modulesOf(id.deviceId).length >= MAX_MODULES)
    throw new RestError(413003, `${id.deviceId} has ${MAX_MODULES} modules.`);
  const credential = wanted ?? known?.credential ?? randomKeys();
  const module = registering(() => registry.addModule({ ...id, credential }));
  return answer(hub, module, known === undefined ? 201 : 200);
}

function deleteModule(hub: RestModules, id: ModuleId, ifMatch: string | undefined): RestAnswer {
  const known = hub.registry.module(id);
  if (known === undefined) throw new RestError(404010, id.moduleId);
  checkMatch(known.etag, ifMatch, id.moduleId);
  hub.disconnect(id, 'the module was removed');
  hub.registry.removeModule(id);
  return { status: 204 };
}

const answer = (hub: RestModules, module: RegisteredModule, status: 200 | 201): RestAnswer => ({
  status,
  body: describe(module, hub.isConnected(module)),
  etag: module.etag,
});

const describe = ({ deviceId, moduleId, generationId, etag, credential }: RegisteredModule, isConnected: boolean) => ({
  moduleId,
  managedBy: '',
  deviceId,
  generationId,
  etag,
  connectionState: isConnected ? 'Connected' : 'Disconnected',
  connectionStateUpdatedTime: '0001-01-01T00:00:00',
  lastActivityTime: '0001-01-01T00:00:00',
  cloudToDeviceMessageCount: 0,
  authentication: authenticationOf(credential),
});
