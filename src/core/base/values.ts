/** Whether a value, of JSON for example, is a whole number from 0. */
export const isCount = (value: unknown): value is number =>
  typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;

/** Whether a value of JSON or YAML is an object: neither a list nor null. */
export const isPlainObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

type Defined<T> = { [K in keyof T]?: Exclude<T[K], undefined> };

/** A copy without the members that are undefined. */
export const defined = <T extends object>(members: T): Defined<T> =>
  Object.fromEntries(Object.entries(members).filter(([, value]) => value !== undefined)) as Defined<T>;

/**
 * A text of its own: one that was cut out of another, such as an audit record, or joined of several, keeps all of these in
 * memory. V8 gives the copy one byte for each character where that is enough.
 */
export const copied = (text: string): string => Buffer.from(text, 'utf16le').toString('utf16le');
