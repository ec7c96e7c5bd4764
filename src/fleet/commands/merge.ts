import { isPlainObject } from '../../core/base/values.ts';
import { applyPatch, type Members, patchTo } from '../../core/twin/sections.ts';
import type { DesiredFile } from './desired-file.ts';

/* A hub merges patches within values, too (RFC 7396): members of an object, such as exceptions keyed by id, that are not in
 * the patch would stay. So the patch is computed from the current twin. */

/**
 * The patch that makes a configuration object match a file; empty if it already matches. A property gets exactly the file's
 * value, and `null` unsets it. Other properties, and siblings of `value`, stay.
 */
function patchFor(stated: Members, document: unknown): Members {
  const now = isPlainObject(document) ? document : {};
  const changes = Object.entries(stated).flatMap(([name, wanted]): [string, unknown][] => {
    const has = Object.hasOwn(now, name) ? now[name] : undefined;
    if (!isPlainObject(wanted) || !isPlainObject(has)) {
      return Object.entries(patchTo(Object.fromEntries([[name, wanted]]), Object.fromEntries([[name, has]])));
    }
    const patch = patchTo(wanted, has);
    return Object.keys(patch).length === 0 ? [] : [[name, patch]];
  });
  return Object.fromEntries(changes);
}

/** Whether a configuration object matches a file. */
export const isSo = (stated: Members, document: unknown): boolean =>
  Object.keys(patchFor(stated, document)).length === 0;

/** The patch, and the faults that agents would find in the resulting twin. */
export function mergeInto(document: unknown, { document: stated, faultsOf }: DesiredFile) {
  const patch = patchFor(stated, document);
  return { patch, faults: faultsOf(applyPatch(isPlainObject(document) ? document : {}, patch)) };
}
