import { hash } from 'node:crypto';

/** A UUID derived from a text: the same text has the same id, so that consumers can recognise duplicates. */
export const stableId = (text: string): string => uuidOf(hash('sha256', text, 'hex'));

/**
 * A UUID made from the first 128 bits of a digest. Layout: RFC 9562, version 8.
 *
 * @param digest at least 128 bits in hexadecimal
 */
export function uuidOf(digest: string): string {
  const variant = ((Number.parseInt(digest.charAt(16), 16) & 0x3) | 0x8).toString(16);
  return `${digest.slice(0, 8)}-${digest.slice(8, 12)}-8${digest.slice(13, 16)}-${variant}${digest.slice(17, 20)}-${digest.slice(20, 32)}`;
}
