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
