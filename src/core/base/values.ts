/** Whether a value, such as one parsed from JSON, is a non-negative safe integer. */
export const isCount = (value: unknown): value is number =>
  typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;

/** Whether a value parsed from JSON or YAML is an object, not an array or null. */
export const isPlainObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

type Defined<T> = { [K in keyof T]?: Exclude<T[K], undefined> };

/** A copy without the members that are undefined. */
export const defined = <T extends object>(members: T): Defined<T> =>
  Object.fromEntries(Object.entries(members).filter(([, value]) => value !== undefined)) as Defined<T>;

/**
 * A copy that shares no memory. V8 represents a substring or a concatenation as references to its parents, so a short
 * excerpt would keep a whole audit record alive. The copy takes one byte per character where that is enough.
 */
export const copied = (text: string): string => Buffer.from(text, 'utf16le').toString('utf16le');
