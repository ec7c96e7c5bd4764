import { applyPatch, isMembers, type Members, patchTo } from '../../core/twin/merge-patch.ts';
import type { DesiredFile } from './desired-file.ts';

/* A hub merges a patch also within values (RFC 7396): what an object, such as exceptions by their ids, has beyond the patch
 * would stay in force. So the patch follows from what the twin has. */

/**
 * The patch after which a configuration object has what a file states; empty if it has it already. A property gets exactly
 * the value of the file, and `null` unsets it. Other properties, and members beside `value`, stay.
 */
function patchFor(stated: Members, document: unknown): Members {
  const now = isMembers(document) ? document : {};
  const changes = Object.entries(stated).flatMap(([name, wanted]): [string, unknown][] => {
    const has = Object.hasOwn(now, name) ? now[name] : undefined;
    if (!isMembers(wanted) || !isMembers(has)) {
      return Object.entries(patchTo(Object.fromEntries([[name, wanted]]), Object.fromEntries([[name, has]])));
    }
    const patch = patchTo(wanted, has);
    return Object.keys(patch).length === 0 ? [] : [[name, patch]];
  });
  return Object.fromEntries(changes);
}

/** Whether a configuration object has all that a file states. */
export const isSo = (stated: Members, document: unknown): boolean =>
  Object.keys(patchFor(stated, document)).length === 0;

/** The patch, and what agents would say of the twin that it makes. */
export function mergeInto(document: unknown, { document: stated, faultsOf }: DesiredFile) {
  const patch = patchFor(stated, document);
  return { patch, faults: faultsOf(applyPatch(isMembers(document) ? document : {}, patch)) };
}
