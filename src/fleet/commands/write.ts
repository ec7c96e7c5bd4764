import { isPlainObject } from '../../core/base/values.ts';
import { applyPatch, type Members, patchTo } from '../../core/twin/sections.ts';
import { ServiceFailure } from '../service-failure.ts';
import type { DesiredFile } from './desired-file.ts';
import type { Task } from './task.ts';

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

/** Attempts before the device fails because other writers keep changing its twin. */
const MAX_ATTEMPTS = 5;

export interface Written {
  /** Whether a change was necessary. */
  readonly isChanged: boolean;
  /** `$version` of the desired properties with the configuration; in a dry run, the current one. */
  readonly version: number;
}

/**
 * Writes the configuration to a module's twin unless it already has it; a dry run stops before the write. The patch is
 * computed from the twin, since queries lag. Warns if agents will reject the resulting twin.
 *
 * @param tags to merge at the same time
 */
export async function writeConfiguration(
  { hub, moduleId, isDryRun, report }: Task,
  deviceId: string,
  wanted: DesiredFile,
  tags: object = {},
): Promise<Written> {
  const { objectName } = wanted;
  for (let attempt = 1; ; attempt += 1) {
    const { desired, etag } = await hub.moduleTwin(deviceId, moduleId);
    const before = Number(desired.$version);
    const { patch, faults } = mergeInto(Object.hasOwn(desired, objectName) ? desired[objectName] : undefined, wanted);
    const hasPatch = Object.keys(patch).length > 0;
    if (!hasPatch && Object.keys(tags).length === 0) return { isChanged: false, version: before };
    // The file itself is valid, so other properties in the twin cause these faults.
    if (hasPatch && attempt === 1 && faults.length > 0)
      report.warn(deviceId, `agents will reject it because of other properties in the twin: ${faults.join('; ')}`);
    if (isDryRun) return { isChanged: true, version: before };
    const twin = { tags, ...(hasPatch ? { properties: { desired: { [objectName]: patch } } } : {}) };
    const version = await patchIfSame({ hub, moduleId }, deviceId, twin, etag, attempt === MAX_ATTEMPTS);
    if (version !== undefined) return { isChanged: true, version };
  }
}

/**
 * @param isLast whether a changed twin is a failure
 * @returns the new `$version` of desired; `undefined` if the twin no longer had the etag
 */
export async function patchIfSame(
  { hub, moduleId }: Pick<Task, 'hub' | 'moduleId'>,
  deviceId: string,
  patch: object,
  etag: string,
  isLast = false,
): Promise<number | undefined> {
  try {
    return await hub.patchTwin(deviceId, moduleId, patch, etag);
  } catch (error) {
    if (!isLast && error instanceof ServiceFailure && error.status === 412) return undefined;
    throw error;
  }
}
