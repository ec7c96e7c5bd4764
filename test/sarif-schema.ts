import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { Ajv, type ValidateFunction } from 'ajv';
import formats from 'ajv-formats';

let validate: ValidateFunction | undefined;

/** Validates a parsed SARIF log against the schema of SARIF 2.1.0. @returns the errors, each with its location */
export function faultsOfSarif(log: unknown): string[] {
  validate ??= compile();
  if (validate(log)) return [];
  return (validate.errors ?? []).map(({ instancePath, message }) => `${instancePath} ${message}`);
}

/**
 * The schema in `@microsoft/jest-sarif`, which is the last draft of the standard's. OASIS's later changes are added
 * here, see https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json.
 */
function compile(): ValidateFunction {
  const path = createRequire(import.meta.url).resolve('@microsoft/jest-sarif/lib/schemas/sarif-2.1.0-rtm.5.json');
  // The schema uses JSON Schema draft 4. `id` is its only keyword with another meaning in later drafts.
  const { $schema: _draft, id: _id, ...schema } = JSON.parse(readFileSync(path, 'utf8'));
  const { region, run, toolComponent } = schema.definitions;
  region.anyOf = [{ required: ['startLine'] }, { required: ['charOffset'] }, { required: ['byteOffset'] }];
  for (const { properties } of [run, toolComponent]) properties.language.pattern = '^[a-zA-Z]{2}(-[a-zA-Z]{2})?$';
  const ajv = new Ajv({ strict: false, allErrors: true });
  formats.default(ajv);
  return ajv.compile(schema);
}
