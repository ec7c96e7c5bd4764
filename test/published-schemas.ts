import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Ajv, type ValidateFunction } from 'ajv';
import formats from 'ajv-formats';

/**
 * The folder with the published contract's JSON Schemas (`security-message/*.json`), from the variable
 * VAKT_PUBLISHED_SCHEMAS; `undefined` if it is not set. The schemas are not ours, and not in this repository.
 */
export const publishedSchemas: string | undefined = process.env.VAKT_PUBLISHED_SCHEMAS || undefined;

/** Why a test that needs them is skipped. */
export const NO_PUBLISHED_SCHEMAS = 'VAKT_PUBLISHED_SCHEMAS names no folder with the published schemas';

/** A schema by its file name. */
export function publishedSchema(name: string): Record<string, unknown> {
  if (publishedSchemas === undefined) throw new Error(NO_PUBLISHED_SCHEMAS);
  return JSON.parse(readFileSync(join(publishedSchemas, 'security-message', name), 'utf8'));
}

let validate: ValidateFunction | undefined;

/**
 * Validates a message's parsed body against the published messageRoot.json.
 *
 * @returns the errors, one line each; empty if the message is valid
 * @throws when `publishedSchemas` is undefined
 */
export function validateMessage(body: unknown): string[] {
  validate ??= compile();
  if (validate(body)) return [];
  return (validate.errors ?? []).map(({ instancePath, message = '', params }) =>
    [instancePath || '(root)', message, JSON.stringify(params)].join(' '),
  );
}

function compile(): ValidateFunction {
  if (publishedSchemas === undefined) throw new Error(NO_PUBLISHED_SCHEMAS);
  // Not strict: the published schemas have members next to $ref, and a keyword `boolean`.
  const ajv = new Ajv({ strict: false, allErrors: true });
  formats.default(ajv);
  for (const name of readdirSync(join(publishedSchemas, 'security-message'))) {
    if (name.endsWith('.json')) ajv.addSchema(publishedSchema(name));
  }
  const root = ajv.getSchema('messageRoot.json');
  if (root === undefined) throw new Error(`There is no messageRoot.json in ${publishedSchemas}`);
  return root;
}
