import { readFileSync } from 'node:fs';
import { Ajv } from 'ajv';
import formats from 'ajv-formats';

/** The schema of `securityAgent` in the reported properties, as it is published in config/. */
export const STATUS_SCHEMA = JSON.parse(
  readFileSync(new URL('../../../../config/status.schema.json', import.meta.url), 'utf8'),
) as object;

const ajv = new Ajv({ allErrors: true });
formats.default(ajv);
const validate = ajv.compile(STATUS_SCHEMA);

/** Lists the faults of a reported status; empty if it is valid. */
export const validateStatus = (status: unknown): string[] =>
  validate(status) ? [] : (validate.errors ?? []).map(({ instancePath, message }) => `${instancePath} ${message}`);
