/* Generates the page and the schema of direct methods from their declarations. */

import { toJsonSchema } from '@valibot/to-json-schema';
import type * as v from 'valibot';
import { methods } from '../src/agent/methods/index.ts';
import { StatusSchema } from '../src/agent/status/schema.ts';
import { type DocumentGenerator, GENERATED, table } from './documents.ts';

const schemaOf = (schema: v.GenericSchema) => {
  const { $schema: _, ...rest } = toJsonSchema(schema, { errorMode: 'ignore', typeMode: 'input' });
  return rest;
};

type Property = ReturnType<typeof schemaOf>;

function typeOf({ type, enum: values, items, anyOf }: Property): string {
  if (values !== undefined) return values.join(', ');
  if (items !== undefined) return `list of ${typeOf(items as Property)}`;
  return type === undefined ? (anyOf ?? []).map((option) => typeOf(option as Property)).join(' or ') : String(type);
}

function members(schema: v.GenericSchema): string {
  const { properties = {}, required = [], description } = schemaOf(schema);
  const rows = Object.entries(properties).map(([name, property]) => {
    if (typeof property === 'boolean') throw new TypeError(`${name} has no type`);
    return [`\`${name}\``, typeOf(property), required.includes(name) ? 'yes' : 'no', property.description ?? ''];
  });
  if (rows.length === 0) return description ?? 'Nothing.';
  return table(['Member', 'Type', 'Required', 'Meaning'], rows);
}

const page = () => `<!-- ${GENERATED} -->

# Direct methods

A direct method makes the agent do something and returns the result to the caller. Each one is a file in this folder that
declares everything about it; this page and [the JSON Schemas](../../../config/methods.schema.json) are generated from the
declarations.

\`\`\`
az iot hub invoke-module-method --hub-name contoso --device-id device1 --module-id azureiotsecurity \\
  --method-name pause --method-payload '{"duration":"PT2H","reason":"Update of the firmware"}'
\`\`\`

${table(
  ['Method', 'Switched off by', 'What it does'],
  methods.map(({ name, permission, summary }) => [
    `[${name}](#${name.toLowerCase()})`,
    `\`directMethods.${permission}\``,
    summary,
  ]),
)}

Every answer has a status and a body:

| Status | When | Body |
| ------ | ---- | ---- |
| 200 | done | as below |
| 400 | the payload is not valid | \`error\`, and \`faults\`: every fault with its path |
| 403 | switched off in the local file | \`error\` |
| 404 | no such method | \`error\`, \`methods\` |
| 409 | already running, or not possible now | \`error\` |
| 429 | called again too early | \`error\`, \`retryAfterSeconds\` |
| 500 | internal error, or the method took longer than 25 s | \`error\` |

A payload is a JSON object of at most 16 KiB and 8 levels; a missing one counts as \`{}\`. A call is answered within 25 s, so
leave the hub's response time-out at 30 s. Calls are not queued: one that does not reach the agent at once fails at the hub.

${methods.map(section).join('\n')}`;

function section({ name, summary, request, answer, rest }: (typeof methods)[number]): string {
  return `## ${name}

${summary}${rest === undefined ? '' : ` Callable at most once in ${rest / 1_000} s.`}

Request:

${members(request)}

Answer:

${members(answer)}
`;
}

/** The schema of an answer. For parts of the status it refers to the schema of the status. */
function answerSchema(answer: v.GenericSchema): Property {
  const schema = schemaOf(answer);
  const entries = 'entries' in answer ? (answer.entries as Readonly<Record<string, unknown>>) : {};
  const isOfStatus = (name: string) => name in statusEntries && entries[name] === statusEntries[name];
  const properties = Object.entries(schema.properties ?? {}).map(([name, property]) => [
    name,
    isOfStatus(name) ? { $ref: `status.schema.json#/properties/${name}` } : property,
  ]);
  return { ...schema, ...(schema.properties === undefined ? {} : { properties: Object.fromEntries(properties) }) };
}

const statusEntries: Readonly<Record<string, unknown>> = StatusSchema.entries;

const schemas = () =>
  `${JSON.stringify(
    {
      $schema: 'http://json-schema.org/draft-07/schema#',
      title: 'Payloads of the direct methods of Vakt, and the bodies of their answers with status 200',
      type: 'object',
      properties: Object.fromEntries(
        methods.map(({ name, summary, request, answer }) => [
          name,
          {
            description: summary,
            type: 'object',
            properties: { request: schemaOf(request), answer: answerSchema(answer) },
          },
        ]),
      ),
    },
    null,
    2,
  )}\n`;

export const methodDocuments: readonly DocumentGenerator[] = [
  { path: 'src/agent/methods/README.md', generate: page },
  { path: 'config/methods.schema.json', generate: schemas },
];
