import { readFileSync } from 'node:fs';
import { Ajv } from 'ajv';
import formats from 'ajv-formats';
import { collectors } from '../src/agent/collectors/index.ts';
import { publishedSchemas, validateMessage } from './published-schemas.ts';

/** As it is published in config/. */
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
 * Holds a message's body, parsed, against the schemas: one that is marked for the security service against the published
 * one; any other against ours, and without the events that are only there against the published one, too. The published
 * one is left out where it isn't at hand.
 *
 * @returns what is wrong with it, one line each; empty when nothing is
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
