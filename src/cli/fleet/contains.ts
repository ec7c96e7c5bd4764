import { isDeepStrictEqual } from 'node:util';
import { isPlainObject } from '../../config/dialect.ts';

/** Whether merging `patch` (RFC 7396) would change nothing. */
export function contains(document: unknown, patch: unknown): boolean {
  if (!isPlainObject(patch)) return patch === null ? document === undefined : isDeepStrictEqual(document, patch);
  if (!isPlainObject(document)) return false;
  return Object.entries(patch).every(([name, value]) =>
    contains(Object.hasOwn(document, name) ? document[name] : undefined, value),
  );
}
