import { isPlainObject } from '../core/base/values.ts';
import type { TwinDocument, TwinSection } from '../core/contract/hub.ts';
import { applyPatch } from '../core/twin/sections.ts';
import { checkProperties, checkSize, type Properties, TAGS_LIMIT, TwinError } from './twin-limits.ts';

/** The parts of a twin that the service can change in one request. */
export interface TwinChange {
  readonly tags?: unknown;
  readonly desired?: unknown;
}

/** Section of an unchanged twin; shared, since there may be 100,000 of them. */
const EMPTY: TwinSection = Object.freeze({ $version: 1 });
const NO_TAGS: Properties = Object.freeze({});

/**
 * The twin of a module or a device, without metadata. A module sees desired and reported; the service sees the tags, too.
 *
 * Sections are replaced, never mutated: a getter's result does not change later.
 */
export class Twin {
  #tags = NO_TAGS;
  #desired = EMPTY;
  #reported = EMPTY;
  /** Number of changes of tags and desired, for the etag. Changes of reported are counted separately. */
  #changes = 1;
  #reports = 0;

  get tags(): Properties {
    return this.#tags;
  }

  get desired(): TwinSection {
    return this.#desired;
  }

  get reported(): TwinSection {
    return this.#reported;
  }

  /** Counts every change. */
  get version(): number {
    return this.#changes + this.#reports;
  }

  /** Changes with tags and desired; without quotation marks, in the form of a hub: `AAAAAAAAAAE=`. */
  get etag(): string {
    const bytes = Buffer.alloc(8);
    bytes.writeBigUInt64BE(BigInt(this.#changes));
    return bytes.toString('base64');
  }

  /** A copy of both sections that the module sees. */
  document(): TwinDocument {
    return structuredClone({ desired: this.#desired, reported: this.#reported });
  }

  /** @returns the new version @throws TwinError without a change */
  patchReported(patch: unknown, baseVersion?: number): number {
    if (baseVersion !== undefined && baseVersion !== this.#reported.$version)
      throw new TwinError(412, 412001, `The version is ${this.#reported.$version}, not ${baseVersion}.`);
    this.#reported = changed(this.#reported, (now) => applyPatch(now, checked(patch)));
    this.#reports += 1;
    return this.#reported.$version;
  }

  /** @returns the notification for subscribers: the patch, nulls included, with the new version @throws TwinError */
  patchDesired(patch: unknown): TwinSection {
    return this.patch({ desired: patch }) as TwinSection;
  }

  /**
   * @returns the notification for subscribers: the new properties, without removed ones. Whether a real hub includes removed
   * ones is not documented, so clients must not rely on it.
   * @throws TwinError
   */
  replaceDesired(properties: unknown): TwinSection {
    this.#desired = replaced(this.#desired, properties);
    this.#changes += 1;
    return this.#desired;
  }

  /**
   * Merges into tags and desired (RFC 7396), both or neither.
   *
   * @returns the notification for subscribers; `undefined` if desired is not among the changes
   * @throws TwinError without a change
   */
  patch({ tags, desired }: TwinChange): TwinSection | undefined {
    const nextTags = tags === undefined ? this.#tags : checkedTags(applyPatch(this.#tags, checked(tags)));
    if (desired !== undefined) this.#desired = changed(this.#desired, (now) => applyPatch(now, checked(desired)));
    this.#tags = nextTags;
    this.#changes += 1;
    return desired === undefined ? undefined : { ...(desired as Properties), $version: this.#desired.$version };
  }

  /** Replaces tags and desired; omitted ones become empty. @returns the notification @throws TwinError */
  replace({ tags = {}, desired = {} }: TwinChange): TwinSection {
    const nextTags = checkedTags(applyPatch({}, checked(tags)));
    this.#desired = replaced(this.#desired, desired);
    this.#tags = nextTags;
    this.#changes += 1;
    return this.#desired;
  }
}

function checked(properties: unknown): Properties {
  if (!isPlainObject(properties)) throw new TwinError(400, 400004, 'The properties must be a JSON object.');
  checkProperties(properties);
  return structuredClone(properties);
}

function checkedTags(tags: Properties): Properties {
  checkSize(tags, TAGS_LIMIT);
  return tags;
}

/** The section after a change, with the next version. */
function changed({ $version, ...now }: TwinSection, change: (now: Properties) => Properties): TwinSection {
  const next = change(now);
  checkSize(next);
  return { ...next, $version: $version + 1 };
}

function replaced(section: TwinSection, properties: unknown): TwinSection {
  const next = checked(properties);
  return changed(section, () => applyPatch({}, next));
}
