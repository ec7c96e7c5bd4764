/* JSON Merge Patch (RFC 7396), which is what a twin's updates are: members are merged, `null` removes. */

/** A JSON object, without the nulls it can't tell apart from absence. */
export type Members = Readonly<Record<string, unknown>>;

export const isMembers = (value: unknown): value is Members =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** `target` with `patch` merged into it. Neither is changed. */
export function applyPatch(target: Members, patch: Members): Members {
  const merged = new Map(Object.entries(target));
  for (const [name, value] of Object.entries(patch)) {
    if (value === null) merged.delete(name);
    else if (isMembers(value)) merged.set(name, applyPatch(objectOr(merged.get(name)), value));
    else merged.set(name, value);
  }
  return Object.fromEntries(merged); // which, unlike assignment, makes a member even of the name __proto__
}

/**
 * The least patch that makes the members `wanted` names in `current` what `wanted` says; other names are left alone.
 * Below those names, what `wanted` doesn't hold is removed. An empty patch: nothing to do.
 */
export function patchTo(wanted: Members, current: Members): Members {
  const patch: [string, unknown][] = [];
  for (const [name, value] of Object.entries(wanted)) {
    const have = Object.hasOwn(current, name) ? current[name] : undefined;
    if (value === null || value === undefined) {
      if (have !== undefined) patch.push([name, null]);
    } else if (isMembers(value)) {
      const inner = isMembers(have) ? { ...patchTo(value, have), ...removals(value, have) } : patchTo(value, {});
      if (!isMembers(have) || Object.keys(inner).length > 0) patch.push([name, inner]);
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

const objectOr = (value: unknown): Members => (isMembers(value) ? value : {});

const isSame = (a: unknown, b: unknown) =>
  a === b || (typeof a === 'object' && typeof b === 'object' && JSON.stringify(a) === JSON.stringify(b));
