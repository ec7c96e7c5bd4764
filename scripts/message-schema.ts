/* The JSON Schema of messages, generated from the collectors' declarations: the published schema's messages, and the events
 * that are not in it. */

import { toJsonSchema } from '@valibot/to-json-schema';
import { collectors } from '../src/agent/collectors/index.ts';
import type { Collector } from '../src/core/contract/collector.ts';
import type { DocumentGenerator } from './documents.ts';

const uuid = { type: 'string', format: 'uuid' };
const time = { type: 'string', format: 'date-time' };

/** Every event may have it: the pipeline adds facts of its own, such as HitCount or ClockNotSet. */
const EXTRA_DETAILS = { type: 'object', additionalProperties: { type: 'string' } };

const closed = (properties: object, optionalProperties: object = {}) => ({
  type: 'object',
  properties,
  required: Object.keys(properties),
  additionalProperties: false,
  ...optionalProperties,
});

/** One element of an event's payload. */
function element({ payload, summary }: Collector): object {
  const { $schema: _, properties = {}, ...schema } = toJsonSchema(payload);
  return {
    description: summary,
    ...schema,
    properties: { ...properties, ExtraDetails: properties.ExtraDetails ?? EXTRA_DETAILS },
  };
}

/** What an event of a collector's name must be. A snapshot may have found nothing. */
const ofName = ({ name, category, type, version }: Collector) => ({
  if: { properties: { Name: { const: name } } },
  // biome-ignore lint/suspicious/noThenProperty: a keyword of JSON Schema
  then: {
    properties: {
      Category: { const: category },
      EventType: { const: type },
      PayloadSchemaVersion: { const: version },
      ...(category === 'Triggered' ? { IsEmpty: { const: false } } : {}),
      Payload: { type: 'array', items: { $ref: `#/definitions/${name}` } },
    },
  },
});

const emptiness = {
  if: { properties: { IsEmpty: { const: true } } },
  // biome-ignore lint/suspicious/noThenProperty: a keyword of JSON Schema
  then: { properties: { Payload: { type: 'array', maxItems: 0 } } },
  else: { properties: { Payload: { type: 'array', minItems: 1 } } },
};

export function messageSchema(all: readonly Collector[]): object {
  const extensions = all.filter(({ extension }) => extension).map(({ name }) => name);
  const event = closed(
    {
      Id: uuid,
      TimestampLocal: time,
      TimestampUTC: time,
      Category: { enum: ['Periodic', 'Triggered'] },
      Name: { enum: all.map(({ name }) => name) },
      EventType: { enum: ['Security', 'Operational', 'Diagnostic'] },
      IsEmpty: { type: 'boolean' },
      PayloadSchemaVersion: { type: 'string' },
      Payload: { type: 'array' },
    },
    { allOf: [emptiness, ...all.map(ofName)] },
  );
  return {
    $schema: 'http://json-schema.org/draft-07/schema#',
    title: "Body of a message for the hub owner's own routes",
    description: `The messages of the published schema of the Defender for IoT security module, version 1.0, with further events: ${extensions.join(', ')}. Messages that are marked for the security service have none of these.`,
    ...closed({
      AgentVersion: { type: 'string' },
      AgentId: uuid,
      MessageSchemaVersion: { const: '1.0' },
      Events: { type: 'array', minItems: 1, items: event },
    }),
    definitions: Object.fromEntries(all.map((collector) => [collector.name, element(collector)])),
  };
}

export const messageSchemaDocument: DocumentGenerator = {
  path: 'config/schemas/message.schema.json',
  generate: () => `${JSON.stringify(messageSchema(collectors), null, 2)}\n`,
};
