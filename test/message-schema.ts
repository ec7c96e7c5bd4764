import { readFileSync } from 'node:fs';
import { Ajv } from 'ajv';
import formats from 'ajv-formats';
import { collectors } from '../src/agent/collectors/index.ts';
import { publishedSchemas, validateMessage } from './published-schemas.ts';

/** The schema of messages that is published in config/. */
export const MESSAGE_SCHEMA = JSON.parse(
  readFileSync(new URL('../../config/schemas/message.schema.json', import.meta.url), 'utf8'),
) as object;

const ajv = new Ajv({ allErrors: true });
formats.default(ajv);
const validate = ajv.compile(MESSAGE_SCHEMA);

const EXTENSIONS = new Set(collectors.filter(({ extension }) => extension).map(({ name }) => name));

interface Body {
  readonly Events?: readonly { readonly Name?: string }[];
}

/**
 * Validates a message's parsed body. A message that is marked for the security service is validated against the
 * published schema. Any other is validated against our schema and, without the events that only our schema has, also
 * against the published one. The published schema is skipped if it isn't available.
 *
 * @returns the errors, one line each; empty if the message is valid
 */
export function faultsIn(body: unknown, { isMarked }: { isMarked: boolean }): string[] {
  if (isMarked) return publishedFaults(body);
  const own = validate(body)
    ? []
    : (validate.errors ?? []).map(({ instancePath, message, params }) =>
        [instancePath || '(root)', message, JSON.stringify(params)].join(' '),
      );
  const { Events: events = [] } = body as Body;
  const published = events.filter(({ Name = '' }) => !EXTENSIONS.has(Name));
  return published.length === 0 && events.length > 0
    ? own
    : [...own, ...publishedFaults({ ...(body as Body), Events: published })];
}

const publishedFaults = (body: unknown): string[] => (publishedSchemas === undefined ? [] : validateMessage(body));
