/** A command line without what shells use to quote and to separate, so that a line is found in a line which quotes it. */
export const plainLine = (line: string): string => line.replace(/["'\\\s]/g, '');
