import { ServiceFailure } from '../service-failure.ts';
import type { DesiredFile } from './desired-file.ts';
import { mergeInto } from './merge.ts';
import type { Task } from './task.ts';

/** If others write to a twin at the same moment, again and again, this device fails. */
const MAX_ATTEMPTS = 5;

export interface Written {
  /** Whether something was to be written. */
  readonly isChanged: boolean;
  /** `$version` of the desired properties that have the configuration; in a dry run the one before. */
  readonly version: number;
}

/**
 * Gives a module's twin the configuration, unless it has it, in a dry run too up to the writing. The patch follows from the
 * twin itself: queries lag. Warns if agents will refuse what the twin then has.
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
    // Not by the file, which has been checked: the twin has something else that agents refuse.
    if (hasPatch && attempt === 1 && faults.length > 0)
      report.warn(deviceId, `agents refuse all of it for what else is in the twin: ${faults.join('; ')}`);
    if (isDryRun) return { isChanged: true, version: before };
    const twin = { tags, ...(hasPatch ? { properties: { desired: { [objectName]: patch } } } : {}) };
    const version = await patchIfSame({ hub, moduleId }, deviceId, twin, etag, attempt === MAX_ATTEMPTS);
    if (version !== undefined) return { isChanged: true, version };
  }
}

/**
 * @param isLast whether a twin that has changed is a failure
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
