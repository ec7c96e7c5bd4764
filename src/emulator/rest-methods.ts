import { isPlainObject } from '../core/base/values.ts';
import { MethodError } from './method-calls.ts';
import type { RestAnswer, RestCall, RestRoute } from './rest-call.ts';
import { RestError } from './rest-errors.ts';
import { twinAt } from './rest-twins.ts';

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
