/**
 * A text of its own: one that was cut out of another, such as an audit record, or joined of several, keeps all of these in
 * memory. V8 gives the copy one byte for each character where that is enough.
 */
export const copied = (text: string): string => Buffer.from(text, 'utf16le').toString('utf16le');
