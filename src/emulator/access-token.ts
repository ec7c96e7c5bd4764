import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';

/* The token of the control API and of the page. Every user of the machine can reach a loopback port. */

/** 256 random bits, in characters that need no encoding in a URL's fragment. */
export const randomToken = (): string => randomBytes(32).toString('base64url');

/** Whether a request's Authorization header has the token. */
export const hasToken = (authorization: string | undefined, token: string): boolean =>
  // Digests have equal length, and reveal nothing about how much of a token is right.
  timingSafeEqual(digest(authorization ?? ''), digest(`Bearer ${token}`));

const digest = (text: string) => createHash('sha256').update(text).digest();
