import { isPlainObject } from '../core/base/values.ts';
import { HubError } from './hub-error.ts';

/* Limits of a module twin. Sources: "Understand and use module twins in IoT Hub" and "… device twins …"; if they differ,
 * the page on module twins is followed (no arrays). */

const SECTION_LIMIT = 32 * 1024;
export const TAGS_LIMIT = 8 * 1024;
const STRING_LIMIT = 4 * 1024;
const KEY_LIMIT = 1024;
const DEPTH_LIMIT = 10;
const LARGEST_INTEGER = 4503599627370495;
const SMALLEST_INTEGER = -4503599627370496;

export type Properties = Readonly<Record<string, unknown>>;

/** The hub refuses a twin request; with the status and error code that it answers. */
export class TwinError extends HubError {
  override readonly name = 'TwinError';
}

/** @throws TwinError (400) if a twin can't contain these properties */
export function checkProperties(properties: Properties, path = '', depth = 1): void {
  if (depth > DEPTH_LIMIT) throw invalid(path, `is nested deeper than ${DEPTH_LIMIT} levels`);
  for (const [key, value] of Object.entries(properties)) {
    const at = path === '' ? key : `${path}.${key}`;
    checkKey(key, at);
    if (Array.isArray(value)) throw invalid(at, 'is an array, which module twins do not support');
    if (typeof value === 'string' && Buffer.byteLength(value) > STRING_LIMIT)
      throw invalid(at, `is longer than ${STRING_LIMIT} bytes`);
    if (Number.isInteger(value) && ((value as number) > LARGEST_INTEGER || (value as number) < SMALLEST_INTEGER))
      throw invalid(at, `is not from ${SMALLEST_INTEGER} to ${LARGEST_INTEGER}`);
    if (isPlainObject(value)) checkProperties(value, at, depth + 1);
  }
}

/** @throws TwinError (413) if the section is too large */
export function checkSize(section: Properties, limit = SECTION_LIMIT): void {
  const size = twinSize(section);
  if (size > limit) throw new TwinError(413, 413002, `The section would be ${size} bytes; the limit is ${limit}.`);
}

/** The bytes of all keys and values: strings as UTF-8 without control characters, numbers 8, booleans 4. */
export function twinSize(value: unknown): number {
  if (typeof value === 'string') return Buffer.byteLength(value.replace(CONTROLS, ''));
  if (typeof value === 'number') return 8;
  if (typeof value === 'boolean') return 4;
  if (Array.isArray(value)) return value.reduce((size: number, element) => size + twinSize(element), 0);
  if (!isPlainObject(value)) return 0;
  return Object.entries(value).reduce((size, [key, inner]) => size + twinSize(key) + twinSize(inner), 0);
}

/** Control characters of Unicode, segments C0 and C1. */
const CONTROLS = /\p{Cc}/gu;

function checkKey(key: string, at: string): void {
  if (key === '') throw invalid(at, 'has an empty name');
  if (Buffer.byteLength(key) > KEY_LIMIT) throw invalid(at, `has a name longer than ${KEY_LIMIT} bytes`);
  if (/[.$ ]|\p{Cc}/u.test(key)) throw invalid(at, 'has a name with ".", "$", a space or a control character');
}

const invalid = (at: string, problem: string) =>
  new TwinError(400, 400004, `${JSON.stringify(at.slice(0, 200))} ${problem}.`);
