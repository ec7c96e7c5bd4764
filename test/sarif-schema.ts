import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { Ajv, type ValidateFunction } from 'ajv';
import formats from 'ajv-formats';

let validate: ValidateFunction | undefined;

/** Holds a SARIF log, parsed, against the schema of SARIF 2.1.0. @returns what is wrong with it, each with its place */
export function faultsOfSarif(log: unknown): string[] {
  validate ??= compile();
  if (validate(log)) return [];
  return (validate.errors ?? []).map(({ instancePath, message }) => `${instancePath} ${message}`);
}

/**
 * The schema as `@microsoft/jest-sarif` has it: the last draft of the standard's. What OASIS changed since is added here, see
 * https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json.
 */
function compile(): ValidateFunction {
  const path = createRequire(import.meta.url).resolve('@microsoft/jest-sarif/lib/schemas/sarif-2.1.0-rtm.5.json');
  // Of draft 4 of JSON Schema, with no keyword that a later one reads otherwise but `id`.
  const { $schema: _draft, id: _id, ...schema } = JSON.parse(readFileSync(path, 'utf8'));
  const { region, run, toolComponent } = schema.definitions;
  region.anyOf = [{ required: ['startLine'] }, { required: ['charOffset'] }, { required: ['byteOffset'] }];
  for (const { properties } of [run, toolComponent]) properties.language.pattern = '^[a-zA-Z]{2}(-[a-zA-Z]{2})?$';
  const ajv = new Ajv({ strict: false, allErrors: true });
  formats.default(ajv);
  return ajv.compile(schema);
}
