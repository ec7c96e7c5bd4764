import { isMembers, type Members } from './merge-patch.ts';

/* Limits of a twin. Source: "Understand and use device twins in IoT Hub", Azure IoT Hub developer guide. The page doesn't
 * say whether KB is 1,000 or 1,024 bytes; the smaller one is used. */

/** Limit for a section, in bytes as `sizeOf` counts. */
export const LARGEST_SECTION = 32_000;
/** Limit for a string, in bytes of UTF-8. */
const LARGEST_STRING = 4_000;
/** Levels of nested objects. */
const DEEPEST = 10;
/** Limit for a name, in bytes of UTF-8. */
const LARGEST_KEY = 1_000;
/** Characters that a name must not contain: white space, dot, dollar and control characters. */
const FORBIDDEN_IN_KEY = /[\s.$\p{Cc}]/u;

/**
 * Makes reported properties fit a twin, since the hub refuses a whole patch for one invalid value. Strings that are too
 * long are cut. Arrays, nulls, NaN and infinities, members with forbidden names and levels that are too deep are left out.
 * If the result is still too large, the largest members of `optional` are left out.
 *
 * @param optional the top-level name whose members may be left out
 * @param space bytes available, as `sizeOf` counts
 */
export function fitReported(wanted: Members, optional: string, space = LARGEST_SECTION): Members {
  const fitting = fitMembers(wanted, 1);
  const status = fitting[optional];
  if (!isMembers(status)) return fitting;
  const parts = Object.entries(status).sort(([, a], [, b]) => sizeOf(b) - sizeOf(a));
  let excess = sizeOf(fitting) - space;
  while (excess > 0) {
    const largest = parts.shift();
    if (largest === undefined) break;
    excess -= sizeOf(Object.fromEntries([largest]));
  }
  const kept = new Set(parts.map(([name]) => name));
  return { ...fitting, [optional]: Object.fromEntries(Object.entries(status).filter(([name]) => kept.has(name))) };
}

/** The size of a twin section in bytes, as the hub counts: names and strings in UTF-8, numbers as 8, booleans as 4. */
export function sizeOf(value: unknown): number {
  if (typeof value === 'string') return Buffer.byteLength(value);
  if (typeof value === 'number') return 8;
  if (typeof value === 'boolean') return 4;
  if (typeof value !== 'object' || value === null) return 0;
  let size = 0;
  for (const [name, member] of Object.entries(value)) size += Buffer.byteLength(name) + sizeOf(member);
  return size;
}

function fitMembers(members: Members, depth: number): Members {
  const fitting: [string, unknown][] = [];
  for (const [name, value] of Object.entries(members)) {
    if (FORBIDDEN_IN_KEY.test(name) || Buffer.byteLength(name) > LARGEST_KEY) continue;
    if (isMembers(value)) {
      if (depth < DEEPEST) fitting.push([name, fitMembers(value, depth + 1)]);
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
