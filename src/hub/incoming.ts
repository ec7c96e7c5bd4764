import { isDeeperThan } from './json-depth.ts';

/**
 * What is to be done with a message that the hub sent to this module. `response`: the SDK gets this body instead of
 * the one that came. `desired`: desired properties changed. `call`: somebody calls a direct method. `ignore`: nothing that was asked for.
 */
export type Incoming =
  | { readonly kind: 'call'; readonly method: string; readonly requestId: string }
  | { readonly kind: 'response'; readonly status: number; readonly version?: number; readonly body: string }
  | { readonly kind: 'desired' }
  | { readonly kind: 'ignore' };

/** How the topics of answers about the twin begin. */
export const TWIN_RESPONSE = '$iothub/twin/res/';
/** `$iothub/twin/res/{status}/?$rid={request}[&$version={version}]`; the SDK's request ids are UUIDs. */
const RESPONSE = /^\$iothub\/twin\/res\/(\d{3})\/\?(?:\$version=\d+&)?\$rid=[0-9a-fA-F-]{36}(?:&.*)?$/;
const VERSION = /[?&]\$version=(\d{1,15})(?:&|$)/;
/** `$iothub/methods/POST/{name}/?$rid={request}`. The request's id goes into the answer's topic, where it must not do harm. */
const CALL = /^\$iothub\/methods\/POST\/([^/?#+]{1,128})\/?\?\$rid=([\w.~-]{1,128})(?:&.*)?$/;
const DESIRED = '$iothub/twin/PATCH/properties/desired/';

/** Above what a twin can be: 32 KB a section, 8 KB of tags, metadata with a time for every property. */
const LARGEST_BODY = 1_000_000;
/** A twin has ten levels at most, and two above them. */
const DEEPEST = 32;

/**
 * Makes the hub's twin responses say what they mean, before the SDK (azure-iot-device-mqtt 1.16) sees them. The SDK
 *
 * - ignores the status: a 429 with an empty body counts as success, so every error gets a body that it takes for one;
 * - parses the body without a guard, where an exception ends the process, so what isn't JSON becomes such an error too;
 * - parses notifications of desired properties likewise, and other topics worse, so it never gets to see either;
 * - answers only those direct methods that it has a listener for, and parses their payload, of any depth, by itself. So
 *   calls don't go through it, only their answers.
 */
export function readIncoming(topic: string, payload: Buffer): Incoming {
  if (topic.startsWith(DESIRED)) return { kind: 'desired' };
  const [, method, requestId] = CALL.exec(topic) ?? [];
  if (method !== undefined && requestId !== undefined) return { kind: 'call', method, requestId };
  const match = RESPONSE.exec(topic);
  if (match === null) return { kind: 'ignore' };
  const status = Number(match[1]);
  if (status < 200 || status > 299) {
    const code = /"errorCode"\s*:\s*(\d{6})\b/.exec(payload.subarray(0, 4096).toString())?.[1];
    return errorResponse(status, `the hub answered ${code ?? status}`);
  }
  const fault = faultOf(payload);
  if (fault !== undefined) return errorResponse(MALFORMED, fault);
  const version = VERSION.exec(topic)?.[1];
  return {
    kind: 'response',
    status,
    ...(version === undefined ? {} : { version: Number(version) }),
    body: payload.toString(),
  };
}

/** The status of a response that claims success but can't be read; no status of HTTP. */
export const MALFORMED = 999;

/** What the SDK takes for an error: `errorCode` decides, `message` becomes the Error's. */
const errorResponse = (status: number, message: string): Incoming => ({
  kind: 'response',
  status,
  body: JSON.stringify({ errorCode: status, message }),
});

function faultOf(payload: Buffer): string | undefined {
  if (payload.length === 0) return undefined; // 204
  if (payload.length > LARGEST_BODY) return `the hub's answer has ${payload.length} bytes`;
  const text = payload.toString();
  if (isDeeperThan(DEEPEST, text)) return `the hub's answer has more than ${DEEPEST} levels`;
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? undefined
      : "the hub's answer is not a JSON object";
  } catch {
    return "the hub's answer is not JSON";
  }
}
