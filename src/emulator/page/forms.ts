import { readFileSync } from 'node:fs';
import type { SettingRow } from '../../core/contract/settings.ts';
import type { Field, MethodForm, SettingForm } from './protocol.ts';

/* Forms for the agent's settings and the payloads of its direct methods. */

/** Kinds, keyed by JSON Schema type and by the JavaScript type of a default. Other types are edited as JSON. */
const KINDS: Readonly<Record<string, Field['kind']>> = {
  string: 'text',
  integer: 'number',
  number: 'number',
  boolean: 'flag',
};

/** A setting of the module twin as a field. */
export function settingForm({ name, kind: { range, choices }, purpose, fallback }: SettingRow): SettingForm {
  const kind =
    choices !== undefined ? 'choice' : (KINDS[fallback === undefined ? 'string' : typeof fallback] ?? 'json');
  return {
    name,
    kind,
    about: purpose,
    required: false,
    range,
    ...(choices === undefined ? {} : { choices }),
    ...(fallback === undefined ? {} : { fallback }),
  };
}

/** The schemas that `npm run docs` generates from the methods' declarations. */
const SCHEMAS = new URL('../../../../config/methods.schema.json', import.meta.url);

interface Schema {
  readonly type?: string;
  readonly description?: string;
  readonly enum?: readonly string[];
  readonly items?: Schema;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
}

/** A form for each direct method, in the order of the documentation. */
export function methodForms(): readonly MethodForm[] {
  const { properties = {} } = JSON.parse(readFileSync(SCHEMAS, 'utf8')) as Schema;
  return Object.entries(properties).map(([name, { description = '', properties: parts = {} }]) => {
    const { properties: members = {}, required = [] } = parts.request ?? {};
    const fields = Object.entries(members).map(([member, schema]) => field(member, schema, required.includes(member)));
    return { name, about: description, fields };
  });
}

function field(name: string, schema: Schema, required: boolean): Field {
  const { type, description: about = '', enum: choices, items } = schema;
  if (choices !== undefined) return { name, kind: 'choice', about, required, choices };
  if (type === 'array' && items?.enum !== undefined) {
    return { name, kind: 'names', about, required, choices: items.enum };
  }
  return { name, kind: KINDS[type ?? ''] ?? 'json', about, required };
}
