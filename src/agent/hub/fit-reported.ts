import { isPlainObject } from '../../core/base/values.ts';
import { LARGEST_SECTION, type Members, sizeInTwin } from '../../core/twin/sections.ts';

/* Further limits of a twin, see core/twin/sections.ts for their source. */

/** Limit for a string, in bytes of UTF-8. */
const LARGEST_STRING = 4_000;
/** Levels of nested objects. */
const MAX_DEPTH = 10;
/** Limit for a name, in bytes of UTF-8. */
const LARGEST_KEY = 1_000;
/** Characters that a name must not contain: white space, dot, dollar and control characters. */
const FORBIDDEN_IN_KEY = /[\s.$\p{Cc}]/u;

/**
 * Makes reported properties fit a twin, since the hub refuses a whole patch for one invalid value. Strings that are too
 * long are cut. Arrays, nulls, NaN and infinities, members with forbidden names and levels that are too deep are left out.
 * If the result is still too large, parts of `optional` are left out: those that `first` names, in its order, then the largest
 * ones.
 *
 * @param optional the top-level name of what may be left out
 * @param first `name` or `name.name`, within `optional`
 * @param space bytes available, as `sizeInTwin` counts
 */
export function fitReported(
  wanted: Members,
  optional: string,
  first: readonly string[] = [],
  space = LARGEST_SECTION,
): Members {
  const fitting = fitMembers(wanted, 1);
  const status = fitting[optional];
  if (!isPlainObject(status)) return fitting;
  let left = status;
  const isTooLarge = () => sizeInTwin({ ...fitting, [optional]: left }) > space;
  const bySize = Object.entries(status).sort(([, a], [, b]) => sizeInTwin(b) - sizeInTwin(a));
  for (const path of [...first, ...bySize.map(([name]) => name)]) {
    if (!isTooLarge()) break;
    left = without(left, path.split('.'));
  }
  return { ...fitting, [optional]: left };
}

function without(members: Members, [name = '', ...below]: readonly string[]): Members {
  const { [name]: part, ...others } = members;
  if (below.length === 0) return others;
  return isPlainObject(part) ? { ...members, [name]: without(part, below) } : members;
}

function fitMembers(members: Members, depth: number): Members {
  const fitting: [string, unknown][] = [];
  for (const [name, value] of Object.entries(members)) {
    if (FORBIDDEN_IN_KEY.test(name) || Buffer.byteLength(name) > LARGEST_KEY) continue;
    if (isPlainObject(value)) {
      if (depth < MAX_DEPTH) fitting.push([name, fitMembers(value, depth + 1)]);
    } else if (typeof value === 'string') {
      fitting.push([name, cut(value)]);
    } else if (typeof value === 'boolean' || (typeof value === 'number' && Number.isFinite(value))) {
      fitting.push([name, value]);
    }
  }
  return Object.fromEntries(fitting);
}

function cut(text: string): string {
  const bytes = Buffer.from(text);
  if (bytes.length <= LARGEST_STRING) return text;
  // Decoding as a stream holds back a character that was cut in two.
  return `${new TextDecoder().decode(bytes.subarray(0, LARGEST_STRING - 3), { stream: true })}…`;
}
