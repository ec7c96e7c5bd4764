import type { ModuleId } from './identity.ts';

/** A request that a module publishes. Source: "Communicate with an IoT hub using the MQTT protocol". */
export type Request =
  | { readonly kind: 'telemetry'; readonly propertyBag: string }
  | { readonly kind: 'getTwin'; readonly requestId: string }
  | { readonly kind: 'patchReported'; readonly requestId: string; readonly baseVersion: number | undefined }
  | { readonly kind: 'methodResponse'; readonly requestId: string; readonly status: number };

export const TWIN_RESPONSES = '$iothub/twin/res/#';
export const DESIRED_CHANGES = '$iothub/twin/PATCH/properties/desired/#';
export const METHOD_CALLS = '$iothub/methods/POST/#';

/** @returns `undefined` for a topic that this module may not publish to */
export function parseTopic(topic: string, module: ModuleId): Request | undefined {
  for (const home of homesOf(module)) {
    const telemetry = `${home}messages/events`;
    if (topic === telemetry || topic.startsWith(`${telemetry}/`))
      return { kind: 'telemetry', propertyBag: topic.slice(telemetry.length + 1) };
  }
  const [path = '', query = ''] = cut(topic, '?');
  const parameters = new URLSearchParams(query);
  const requestId = requestIdIn(query) ?? '';
  if (path === '$iothub/twin/GET/') return { kind: 'getTwin', requestId };
  if (path === '$iothub/twin/PATCH/properties/reported/') {
    const version = parameters.get('$version');
    return { kind: 'patchReported', requestId, baseVersion: version === null ? undefined : Number(version) };
  }
  const [, status] = /^\$iothub\/methods\/res\/(\d{1,9})\/$/.exec(path) ?? [];
  return status === undefined ? undefined : { kind: 'methodResponse', requestId, status: Number(status) };
}

/** `$rid` of a topic's query. It is not decoded, since it is returned unchanged. */
export const requestIdIn = (query: string): string | undefined => /(?:^|&)(?:\$|%24)rid=([^&]*)/.exec(query)?.[1];

/** Whether a module may subscribe to this filter: only its own documented filters are allowed, exactly as documented. */
export const maySubscribe = (filter: string, module: ModuleId): boolean =>
  [TWIN_RESPONSES, DESIRED_CHANGES, METHOD_CALLS].includes(filter) ||
  homesOf(module).some((home) => filter === `${home}inputs/#` || filter === `${home}#`);

export const twinResponseTopic = (status: number, requestId: string, version?: number) =>
  `$iothub/twin/res/${status}/?$rid=${requestId}${version === undefined ? '' : `&$version=${version}`}`;

export const desiredChangeTopic = (version: number) => `$iothub/twin/PATCH/properties/desired/?$version=${version}`;

export const methodCallTopic = (name: string, requestId: string) => `$iothub/methods/POST/${name}/?$rid=${requestId}`;

/** Prefixes of a module's own topics: its ids unchanged, or percent-encoded as by the SDK for Python. */
function homesOf({ deviceId, moduleId }: ModuleId): string[] {
  const home = (device: string, module: string) => `devices/${device}/modules/${module}/`;
  const plain = home(deviceId, moduleId);
  const encoded = home(percentEncoded(deviceId), percentEncoded(moduleId));
  return encoded === plain ? [plain] : [plain, encoded];
}

/** As `urllib.parse.quote(text, safe="")` does it: encodeURIComponent leaves five more characters. */
const percentEncoded = (text: string) =>
  encodeURIComponent(text).replace(/[!'()*]/g, (each) => `%${each.charCodeAt(0).toString(16).toUpperCase()}`);

function cut(text: string, at: string): [string, string] {
  const index = text.indexOf(at);
  return index === -1 ? [text, ''] : [text.slice(0, index), text.slice(index + 1)];
}
