import * as v from 'valibot';

/** An HMAC-SHA256 in base64, as the answer of a service: 32 bytes. */
export const HMAC_SHA256 = v.pipe(v.string(), v.regex(/^[A-Za-z0-9+/]{43}=$/));
