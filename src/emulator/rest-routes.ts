import { isPlainObject } from '../core/base/values.ts';
import { MethodError } from './method-calls.ts';
import type { RestAnswer, RestCall, RestRoute } from './rest-call.ts';
import { DEVICE_ROUTES } from './rest-devices.ts';
import { RestError } from './rest-errors.ts';
import { MODULE_ROUTES } from './rest-modules.ts';
import { QUERY_ROUTES } from './rest-query.ts';
import { TWIN_ROUTES, twinAt } from './rest-twins.ts';

/* Direct methods. Source: "Understand and invoke direct methods from IoT Hub". */

export const METHOD_ROUTES: readonly RestRoute[] = [
  {
    method: 'POST',
    path: '/twins/{deviceId}/modules/{moduleId}/methods',
    right: 'ServiceConnect',
    run: callMethod,
  },
];

/** Names that need no encoding in a topic. */
const METHOD_NAME = /^[\w.~-]{1,100}$/;

async function callMethod({ hub, parameters, body }: RestCall): Promise<RestAnswer> {
  const wanted = await body();
  if (!isPlainObject(wanted)) throw new RestError(400004, 'The body is not a JSON object.');
  const { methodName, payload, responseTimeoutInSeconds = 30, connectTimeoutInSeconds = 0 } = wanted;
  if (typeof methodName !== 'string' || !METHOD_NAME.test(methodName))
    throw new RestError(400004, '"methodName" must be a name of letters, digits and -._~');
  const responseSeconds = within('responseTimeoutInSeconds', responseTimeoutInSeconds, 5);
  const connectSeconds = within('connectTimeoutInSeconds', connectTimeoutInSeconds, 0);
  twinAt(hub, parameters);
  const [deviceId = '', moduleId = ''] = parameters;
  try {
    const call = { name: methodName, payload: payload ?? null, responseSeconds, connectSeconds };
    return { status: 200, body: await hub.callMethod({ deviceId, moduleId }, call) };
  } catch (error) {
    if (error instanceof MethodError) throw new RestError(error.errorCode, error.message);
    throw error;
  }
}

function within(name: string, value: unknown, least: number): number {
  if (typeof value === 'number' && value >= least && value <= 300) return value;
  throw new RestError(400004, `"${name}" must be from ${least} to 300.`);
}

/** `/devices/query` comes before `/devices/{deviceId}`. */
const ROUTES: readonly RestRoute[] = [
  ...QUERY_ROUTES,
  ...DEVICE_ROUTES,
  ...MODULE_ROUTES,
  ...TWIN_ROUTES,
  ...METHOD_ROUTES,
];

/** A route for a path, and the values of its `{…}` parts. */
export interface RouteMatch {
  readonly route: RestRoute;
  readonly parameters: readonly string[];
}

/** The routes for a path, for any method. @param decoded segments; the SDK ends `/devices/` with an empty one */
export function routesOf(decoded: readonly string[]): RouteMatch[] {
  const path = decoded.at(-1) === '' ? decoded.slice(0, -1) : decoded;
  return ROUTES.flatMap((route) => {
    const pattern = route.path.split('/').slice(1);
    const isMatch =
      pattern.length === path.length &&
      pattern.every((part, index) => (part.startsWith('{') ? path[index] !== '' : part === path[index]));
    return isMatch ? [{ route, parameters: path.filter((_, index) => pattern[index]?.startsWith('{')) }] : [];
  });
}
