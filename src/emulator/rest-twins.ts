import { isPlainObject } from '../core/base/values.ts';
import { QueryDocument } from './query/documents.ts';
import { checkMatch } from './rest-bodies.ts';
import type { RestAnswer, RestCall, RestModules, RestRoute } from './rest-call.ts';
import { RestError } from './rest-errors.ts';
import type { Twin, TwinChange } from './twin.ts';
import { type Properties, TwinError } from './twin-limits.ts';

/* `/twins/{d}` and `/twins/{d}/modules/{m}`. Source: "IoT Hub REST API", Devices and Modules: get, update and replace twin. */

const PATHS = ['/twins/{deviceId}', '/twins/{deviceId}/modules/{moduleId}'] as const;

export const TWIN_ROUTES: readonly RestRoute[] = PATHS.flatMap((path): RestRoute[] => [
  { method: 'GET', path, right: 'ServiceConnect', run: ({ hub, parameters }) => shown(hub, parameters) },
  { method: 'PATCH', path, right: 'ServiceConnect', run: (call) => change(call, (twin, wanted) => twin.patch(wanted)) },
  { method: 'PUT', path, right: 'ServiceConnect', run: (call) => change(call, (twin, wanted) => twin.replace(wanted)) },
]);

/** The twin of the path's device or module. @throws RestError 404001, 404010 */
export function twinAt({ registry }: RestModules, [deviceId = '', moduleId]: readonly string[]): Twin {
  if (registry.device(deviceId) === undefined) throw new RestError(404001, deviceId);
  if (moduleId === undefined) return registry.twinOfDevice(deviceId);
  if (registry.module({ deviceId, moduleId }) === undefined) throw new RestError(404010, moduleId);
  return registry.twinOf({ deviceId, moduleId });
}

function shown(hub: RestModules, parameters: readonly string[]): RestAnswer {
  const twin = twinAt(hub, parameters);
  const [deviceId = '', moduleId] = parameters;
  const id = { deviceId, moduleId: moduleId ?? '' };
  const owner = moduleId === undefined ? hub.registry.device(deviceId) : hub.registry.module(id);
  if (owner === undefined) throw new RestError(404001, deviceId);
  const document = new QueryDocument(owner, twin, () => moduleId !== undefined && hub.isConnected(id));
  return { status: 200, body: document.whole(), etag: twin.etag };
}

/** Changes both sections or neither, then notifies the module. */
async function change(
  { hub, parameters, header, body }: RestCall,
  apply: (twin: Twin, wanted: TwinChange) => ReturnType<Twin['patch']>,
): Promise<RestAnswer> {
  const wanted = changeIn(await body());
  const twin = twinAt(hub, parameters);
  const [deviceId = '', moduleId] = parameters;
  checkMatch(twin.etag, header('if-match'), parameters.join('/'));
  try {
    const notification = apply(twin, wanted);
    if (notification !== undefined && moduleId !== undefined) hub.notify({ deviceId, moduleId }, notification);
  } catch (error) {
    if (error instanceof TwinError) throw new RestError(error.errorCode, error.message);
    throw error;
  }
  return shown(hub, parameters);
}

/** @throws RestError 400004 */
function changeIn(body: unknown): TwinChange {
  const { tags, properties = {} } = objectIn(body, 'body');
  const { desired } = objectIn(properties, 'member "properties"');
  return {
    ...(tags === undefined ? {} : { tags }),
    ...(desired === undefined ? {} : { desired: isPlainObject(desired) ? withoutOwn(desired) : desired }),
  };
}

/** A twin can be sent back as it was read: the hub's own members are ignored. */
const withoutOwn = ({ $metadata: _metadata, $version: _version, ...properties }: Properties): Properties => properties;

function objectIn(value: unknown, label: string): Properties {
  if (!isPlainObject(value)) throw new RestError(400004, `The ${label} is not a JSON object.`);
  return value;
}
