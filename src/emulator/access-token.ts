import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';

/* The token of the control API and of the page. A loopback port can be reached by every user of the machine. */

/** 256 random bits, in characters that a URL's fragment may have as they are. */
export const randomToken = (): string => randomBytes(32).toString('base64url');

/** Whether a request's Authorization header has the token. */
export const hasToken = (authorization: string | undefined, token: string): boolean =>
  // Digests have one length, and say nothing about how much of a token is right.
  timingSafeEqual(digest(authorization ?? ''), digest(`Bearer ${token}`));

const digest = (text: string) => createHash('sha256').update(text).digest();
