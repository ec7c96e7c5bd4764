import type { MessageProperties } from '../core/contract/message.ts';

/**
 * System properties: their names in MQTT topics, and in the hub's routing queries.
 * Sources: "Communicate with an IoT hub using the MQTT protocol"; "Create and read IoT Hub messages".
 */
const SYSTEM: Readonly<Record<string, string>> = {
  '$.mid': 'messageId',
  '$.cid': 'correlationId',
  '$.uid': 'userId',
  '$.to': 'to',
  '$.ct': 'contentType',
  '$.ce': 'contentEncoding',
  '$.on': 'outputName',
  '$.exp': 'expiryTimeUtc',
  '$.ifid': 'interfaceId',
  '$.sub': 'subject',
  'iothub-creation-time-utc': 'creationTimeUtc',
};

/**
 * Reads the last level of a telemetry topic, `name=value&…`, both percent-encoded. A name without `=` has an empty value.
 *
 * @throws URIError if the encoding is invalid
 */
export function parsePropertyBag(bag: string): MessageProperties {
  const system: [string, string][] = [];
  const application: [string, string][] = [];
  for (const pair of bag.split('&')) {
    if (pair === '') continue;
    const [name = '', ...value] = pair.split('=').map(decodeURIComponent);
    const known = Object.hasOwn(SYSTEM, name) ? SYSTEM[name] : undefined;
    if (known !== undefined || name.startsWith('$.')) system.push([known ?? name, value.join('=')]);
    else application.push([name, value.join('=')]);
  }
  return { system: Object.fromEntries(system), application: Object.fromEntries(application) };
}

/**
 * The size of a message as the hub counts it: body, values of system properties, names and values of application
 * properties. Source: "Create and read IoT Hub messages".
 */
export function sizeInBytes(body: Buffer, { system, application }: MessageProperties): number {
  const texts = [...Object.values(system), ...Object.entries(application).flat()];
  return texts.reduce((size, text) => size + Buffer.byteLength(text), body.length);
}
