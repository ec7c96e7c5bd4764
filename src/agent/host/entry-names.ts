import { type Dir, opendirSync } from 'node:fs';

/* The names in a folder are bytes, which need not be UTF-8. A byte that is not becomes U+FFFD in a text, and a lookup of that
 * text finds nothing. So entries are looked up by the bytes of their names, read as `latin1`: one character a byte. */

/** Reads the entries of an open folder, by its descriptor. Their names are for `placeIn` and `textOf`. */
export const openEntries = (folder: number): Dir => opendirSync(`/proc/self/fd/${folder}`, { encoding: 'latin1' });

/** Where an entry of an open folder can be accessed, whatever its name, and also if the folder has been renamed. */
export const placeIn = (folder: number, name: string): Buffer =>
  Buffer.from(`/proc/self/fd/${folder}/${name}`, 'latin1');

/** The text of a name. Different names that are not UTF-8 may have the same text. */
export const textOf = (name: string): string => Buffer.from(name, 'latin1').toString('utf8');

/** Whether a text may stand for bytes that are not UTF-8. */
export const isLossy = (text: string): boolean => text.includes('\u{fffd}');
