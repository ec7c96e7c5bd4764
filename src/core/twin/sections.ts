import { isPlainObject } from '../base/values.ts';

/* JSON Merge Patch (RFC 7396), the format of twin updates: members are merged, `null` removes one. */

/** A JSON object. In a patch, `null` means absent. */
export type Members = Readonly<Record<string, unknown>>;

/** `target` with `patch` merged into it. Neither is changed. */
export function applyPatch(target: Members, patch: Members): Members {
  const merged = new Map(Object.entries(target));
  for (const [name, value] of Object.entries(patch)) {
    if (value === null) merged.delete(name);
    else if (isPlainObject(value)) merged.set(name, applyPatch(objectOr(merged.get(name)), value));
    else merged.set(name, value);
  }
  return Object.fromEntries(merged); // unlike assignment, it creates an own member even for __proto__
}

/**
 * The smallest patch after which each top-level member of `wanted` has the same value in `current`. Members of nested
 * objects that `wanted` lacks are removed; other top-level members are not touched. Empty if nothing differs.
 */
export function patchTo(wanted: Members, current: Members): Members {
  const patch: [string, unknown][] = [];
  for (const [name, value] of Object.entries(wanted)) {
    const have = Object.hasOwn(current, name) ? current[name] : undefined;
    if (value === null || value === undefined) {
      if (have !== undefined) patch.push([name, null]);
    } else if (isPlainObject(value)) {
      const inner = isPlainObject(have) ? { ...patchTo(value, have), ...removals(value, have) } : patchTo(value, {});
      if (!isPlainObject(have) || Object.keys(inner).length > 0) patch.push([name, inner]);
    } else if (!isSame(value, have)) {
      patch.push([name, value]);
    }
  }
  return Object.fromEntries(patch);
}

const removals = (wanted: Members, have: Members): Members =>
  Object.fromEntries(
    Object.keys(have)
      .filter((name) => !Object.hasOwn(wanted, name))
      .map((name) => [name, null]),
  );

const objectOr = (value: unknown): Members => (isPlainObject(value) ? value : {});

const isSame = (a: unknown, b: unknown) =>
  a === b || (typeof a === 'object' && typeof b === 'object' && JSON.stringify(a) === JSON.stringify(b));

/* Limits of a twin. Source: "Understand and use device twins in IoT Hub", Azure IoT Hub developer guide. The page doesn't
 * say whether KB is 1,000 or 1,024 bytes; the smaller one is used. */

/** Limit for a section, in bytes as `sizeInTwin` counts. */
export const LARGEST_SECTION = 32_000;
/**
 * Maximum size of the effective configuration in the reported section. The rest is for the status, which shows what
 * that configuration hides.
 */
export const LARGEST_MIRROR = 20_000;

/** The size of a part of a twin in bytes, as the hub counts: names and strings in UTF-8, numbers as 8, booleans as 4. */
export function sizeInTwin(value: unknown): number {
  if (typeof value === 'string') return Buffer.byteLength(value);
  if (typeof value === 'number') return 8;
  if (typeof value === 'boolean') return 4;
  if (typeof value !== 'object' || value === null) return 0;
  let size = 0;
  for (const [name, member] of Object.entries(value)) size += Buffer.byteLength(name) + sizeInTwin(member);
  return size;
}
