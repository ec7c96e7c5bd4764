/**
 * A line of comma-separated values (RFC 4180). Cells come from devices: a cell that a spreadsheet would interpret as a
 * formula is prefixed with an apostrophe.
 */
export const csvLine = (cells: readonly string[]): string => cells.map(cell).join(',');

function cell(text: string): string {
  const safe = /^[=+\-@\t\r]/.test(text) && !/^-?\d+(?:\.\d+)?$/.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}
