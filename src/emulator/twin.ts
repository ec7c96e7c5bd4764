import type { TwinDocument, TwinSection } from '../contract/hub.ts';
import { checkProperties, checkSize, isObject, type Properties, TwinError } from './twin-limits.ts';

/** A module twin as the module sees it: without tags and metadata. */
export class Twin {
  #desired: TwinSection = { $version: 1 };
  #reported: TwinSection = { $version: 1 };

  /** A copy of both sections. */
  document(): TwinDocument {
    return structuredClone({ desired: this.#desired, reported: this.#reported });
  }

  /** @returns the new version @throws TwinError without a change */
  patchReported(patch: unknown, baseVersion?: number): number {
    if (baseVersion !== undefined && baseVersion !== this.#reported.$version)
      throw new TwinError(412, 412001, `The version is ${this.#reported.$version}, not ${baseVersion}.`);
    this.#reported = changed(this.#reported, (now) => mergePatch(now, checked(patch)) as Properties);
    return this.#reported.$version;
  }

  /** @returns the notification for subscribers: the patch, nulls included, with the new version @throws TwinError */
  patchDesired(patch: unknown): TwinSection {
    this.#desired = changed(this.#desired, (now) => mergePatch(now, checked(patch)) as Properties);
    return { ...(patch as Properties), $version: this.#desired.$version };
  }

  /**
   * @returns the notification for subscribers: the new properties, without removed ones. Whether a real hub includes removed
   * ones is not documented, so clients must not rely on it.
   * @throws TwinError
   */
  replaceDesired(properties: unknown): TwinSection {
    const next = checked(properties);
    this.#desired = changed(this.#desired, () => mergePatch({}, next) as Properties);
    return this.#desired;
  }
}

/** RFC 7396. Creates new objects by `Object.fromEntries`, so that a property named `__proto__` is an ordinary one. */
export function mergePatch(target: unknown, patch: unknown): unknown {
  if (!isObject(patch)) return patch;
  const merged = new Map(Object.entries(isObject(target) ? target : {}));
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) merged.delete(key);
    else merged.set(key, mergePatch(merged.get(key), value));
  }
  return Object.fromEntries(merged);
}

function checked(properties: unknown): Properties {
  if (!isObject(properties)) throw new TwinError(400, 400004, 'The properties must be a JSON object.');
  checkProperties(properties);
  return structuredClone(properties);
}

/** The section after a change, with the next version. */
function changed({ $version, ...now }: TwinSection, change: (now: Properties) => Properties): TwinSection {
  const next = change(now);
  checkSize(next);
  return { ...next, $version: $version + 1 };
}
