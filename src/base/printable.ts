/** Other people's text on a terminal: without the control characters that could move its cursor or recolour it. */
export const printable = (line: string): string => line.replace(/\p{Cc}/gu, '·');

/**
 * JSON text, also other people's, without the control characters that JSON.stringify leaves as they are: DEL, and the
 * C1 set, among which is a terminal's CSI. It stays the same JSON.
 */
export const printableJson = (json: string): string =>
  json.replace(/[\u007f-\u009f]/g, (control) => `\\u00${control.charCodeAt(0).toString(16)}`);
