/** A command line without quotes and separators, so that a line is found within another line that quotes it. */
export const plainLine = (line: string): string => line.replace(/["'\\\s]/g, '');
