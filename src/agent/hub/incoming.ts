import { isPlainObject } from '../../core/base/values.ts';

/**
 * A message of the hub to this module. `response`: an answer to a twin request, with the body to pass to the SDK.
 * `desired`: desired properties changed. `call`: a direct method call. `ignore`: any other topic.
 */
export type Incoming =
  | { readonly kind: 'call'; readonly method: string; readonly requestId: string }
  | { readonly kind: 'response'; readonly status: number; readonly version?: number; readonly body: string }
  | { readonly kind: 'desired' }
  | { readonly kind: 'ignore' };

/** Prefix of the topics of answers to twin requests. */
export const TWIN_RESPONSE = '$iothub/twin/res/';
/** `$iothub/twin/res/{status}/?$rid={request}[&$version={version}]`; the SDK's request ids are UUIDs. */
const RESPONSE = /^\$iothub\/twin\/res\/(\d{3})\/\?(?:\$version=\d+&)?\$rid=[0-9a-fA-F-]{36}(?:&.*)?$/;
const VERSION = /[?&]\$version=(\d{1,15})(?:&|$)/;
/** `$iothub/methods/POST/{name}/?$rid={request}`. The request id is restricted because it is copied into the answer's topic. */
const CALL = /^\$iothub\/methods\/POST\/([^/?#+]{1,128})\/?\?\$rid=([\w.~-]{1,128})(?:&.*)?$/;
const DESIRED = '$iothub/twin/PATCH/properties/desired/';

/** In bytes; more than a twin can have: 32 KB per section, 8 KB of tags, metadata with a time for every property. */
const LARGEST_BODY = 1_000_000;
/** A twin section has at most ten levels, in two enclosing ones. */
const MAX_DEPTH = 32;

/**
 * Classifies messages from the hub, and corrects twin responses before the SDK (azure-iot-device-mqtt 1.16) sees them:
 *
 * - The SDK ignores the status: a 429 with an empty body counts as success. So every error response gets a body that the
 *   SDK recognizes as an error.
 * - It parses the body without catching exceptions, and one would end the process. So a body that isn't JSON becomes an
 *   error response, too.
 * - It parses notifications of desired properties and other topics in the same way. So neither is passed to it.
 * - It answers only direct methods that have a listener, and parses payloads of any depth. So calls bypass it; only the
 *   answers are sent through it.
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

/** Status for a response that reports success but can't be parsed; not an HTTP status. */
export const MALFORMED = 999;

/** The SDK recognizes an error by `errorCode`, and makes an Error with this `message`. */
const errorResponse = (status: number, message: string): Incoming => ({
  kind: 'response',
  status,
  body: JSON.stringify({ errorCode: status, message }),
});

function faultOf(payload: Buffer): string | undefined {
  if (payload.length === 0) return undefined; // 204
  if (payload.length > LARGEST_BODY) return `the hub's answer has ${payload.length} bytes`;
  const text = payload.toString();
  if (isDeeperThan(MAX_DEPTH, text)) return `the hub's answer is nested deeper than ${MAX_DEPTH} levels`;
  try {
    const value: unknown = JSON.parse(text);
    return isPlainObject(value) ? undefined : "the hub's answer is not a JSON object";
  } catch {
    return "the hub's answer is not JSON";
  }
}

/** Whether JSON text is nested deeper than `max` levels. Linear time; the text needn't be valid JSON. */
export function isDeeperThan(max: number, text: string): boolean {
  let depth = 0;
  let quoted = false;
  for (let at = 0; at < text.length; at += 1) {
    const sign = text[at];
    if (sign === '"') quoted = !quoted;
    else if (sign === '\\') at += 1;
    else if (!quoted && (sign === '{' || sign === '[')) depth += 1;
    else if (!quoted && (sign === '}' || sign === ']')) depth -= 1;
    if (depth > max) return true;
  }
  return false;
}
